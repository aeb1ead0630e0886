"""decode() and encode() of model.py, for requests and answers that no declaration describes."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from byoc.payloads.bodies import JSON

# Headers as a stack has them: WSGI's environment, or ASGI's pairs of bytes.
RawHeaders = Mapping[str, Any] | Iterable[tuple[bytes, bytes]]
# The stacks set these themselves.
RESERVED = {"content-length", "content-type", "connection", "transfer-encoding"}


@dataclass(frozen=True)
class Response:
    """An HTTP response: the body, its media type, further headers and the status."""

    body: bytes
    media_type: str = "text/plain"
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200


class Headers(dict[str, str]):
    """A request's headers; a name's case does not matter."""

    def __init__(self, raw: RawHeaders) -> None:
        if isinstance(raw, Mapping):
            names = [n for n in raw if n.startswith("HTTP_") or n in ("CONTENT_TYPE", "CONTENT_LENGTH")]
            super().__init__((n.removeprefix("HTTP_").replace("_", "-").lower(), raw[n]) for n in names)
        else:
            super().__init__((n.decode("latin-1").lower(), v.decode("latin-1")) for n, v in raw)

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return super().__contains__(str(name).lower())

    def get(self, name: str, default: Any = None) -> Any:
        """The header's value, or `default` where the client sent none."""
        return super().get(name.lower(), default)


@dataclass(frozen=True)
class Request:
    """What decode() gets. media_type is the Content-Type's, without its parameters, in lower case."""

    body: bytes
    content_type: str
    headers: Headers

    @property
    def media_type(self) -> str:
        """Such as application/pdf; empty where the client sent none."""
        return self.content_type.partition(";")[0].strip().lower()

    @property
    def custom_attributes(self) -> str:
        """InvokeEndpoint's CustomAttributes; empty where the client sent none (S-27)."""
        return str(self.headers.get("X-Amzn-SageMaker-Custom-Attributes", ""))


Decode = Callable[[bytes, str | None, RawHeaders], Any]
Encode = Callable[[Any, str | None], Response]


def decoder(module: ModuleType) -> Decode | None:
    """model.py's decode(request), or input_fn(body, content_type) as AWS's toolkits call it."""
    if decode := getattr(module, "decode", None):
        return lambda body, content_type, raw: decode(Request(body, content_type or "", Headers(raw)))
    if input_fn := getattr(module, "input_fn", None):
        return lambda body, content_type, raw: input_fn(body, content_type or "")
    return None


def encoder(module: ModuleType) -> Encode | None:
    """model.py's encode(predictions, accept), or output_fn as AWS's toolkits call it."""
    encode = getattr(module, "encode", None) or getattr(module, "output_fn", None)
    if not encode:
        return None
    return lambda predictions, accept: _response(encode(predictions, _first(accept)), _first(accept))


def _first(accept: str | None) -> str:
    """The first media type that a client asks for by its full name; JSON if there is none."""
    types = [part.partition(";")[0].strip().lower() for part in (accept or "").split(",")]
    return next((t for t in types if t and "*" not in t), JSON)


def _response(answer: Any, media_type: str) -> Response:
    if isinstance(answer, tuple) and len(answer) == 2:  # output_fn may name the media type too
        answer, media_type = answer
    response = answer if isinstance(answer, Response) else Response(answer, media_type)
    body = response.body.encode() if isinstance(response.body, str) else response.body
    if not isinstance(body, (bytes, bytearray)):
        raise TypeError(f"encode() returned {type(body).__name__}: return bytes, str or a Response")
    for name, value in (*response.headers.items(), ("Content-Type", response.media_type)):
        if not f"{name}{value}".isascii() or not f"{name}{value}".isprintable():
            raise ValueError(f"encode() set a header that HTTP cannot hold: {name!r:.100}")
    if reserved := RESERVED & {name.lower() for name in response.headers}:
        raise ValueError(f"encode() set {', '.join(sorted(reserved))}, which the server sets itself")
    headers = {name: str(value) for name, value in response.headers.items()}
    return Response(bytes(body), response.media_type, headers, response.status)
