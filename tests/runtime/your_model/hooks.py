from byoc.errors import RequestError
from byoc.hooks import Request, Response


def decode(request: Request) -> list[str]:
    if request.media_type != "application/x-words":
        raise RequestError(415, "send application/x-words")
    return request.body.decode().split()


def predict(model, inputs):  # inputs: what decode returned
    return [word.upper() for word in inputs]


def encode(predictions: list[str], accept: str) -> Response:
    return Response(" ".join(predictions).encode(), "application/x-words", {"X-Words": str(len(predictions))})
