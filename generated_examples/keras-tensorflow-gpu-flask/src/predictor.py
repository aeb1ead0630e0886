"""The web application that SageMaker talks to: /ping, /invocations, /execution-parameters and /metrics.

Most routes are Flask's, as are those that you add. /invocations is plain WSGI: for a small model Flask's
request and response objects would cost more than the prediction.
"""

from collections.abc import Iterable
from http import HTTPStatus
from wsgiref.types import StartResponse, WSGIEnvironment

from flask import Flask, Response

from byoc.errors import RequestError
from byoc.processes import say
from byoc.serving import loaded_model
from byoc.serving.loaded_model import LoadedModel

STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


class Predictor:
    """A WSGI application around a loaded model."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self.app = _other_routes(model)
        if model.concurrency > (threads := model.settings.request_threads):
            say(f"batches hold {threads} requests at most: SAGEMAKER_MODEL_SERVER_THREADS")

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        if environ["PATH_INFO"] == "/invocations" and environ["REQUEST_METHOD"] == "POST":
            return self._invocations(environ, start_response)
        return self.app(environ, start_response)

    def _invocations(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        limit = self._model.settings.payload_bytes
        body = _read(environ, limit)
        if limit and len(body) > limit:
            reason = f"the body is larger than {limit} bytes; send smaller batches"
            response = self._model.refused(RequestError(413, reason))
        else:
            content_type = environ.get("CONTENT_TYPE") or None
            response = self._model.invoke(body, content_type, environ.get("HTTP_ACCEPT"), environ)
        headers = [
            ("Content-Type", response.media_type),
            ("Content-Length", str(len(response.body))),
            *response.headers.items(),
        ]
        start_response(STATUS_LINES[response.status], headers)
        return [response.body]


def _other_routes(model: LoadedModel) -> Flask:
    app = Flask(__name__, static_folder=None)

    @app.route("/ping", methods=["GET", "POST"])
    def ping() -> Response:
        return Response()

    @app.post("/invocations")
    def invocations() -> Response:
        # Only here so that Flask refuses other methods.
        raise AssertionError("answered by Predictor")

    @app.get("/execution-parameters")
    def execution_parameters() -> dict[str, int | str]:
        return dict(model.settings.execution_parameters)

    @app.get("/metrics")
    def metrics() -> Response:
        response = loaded_model.metrics()
        return Response(response.body, response.status, content_type=response.media_type)

    return app


def _read(environ: WSGIEnvironment, limit: int) -> bytes:
    """The request's body, declared or chunked. Of one over the limit, if there is one, limit + 1 bytes."""
    declared = environ.get("CONTENT_LENGTH")
    sizes = [*([int(declared)] if declared else []), *([limit + 1] if limit else [])]
    body: bytes = environ["wsgi.input"].read(min(sizes, default=-1))
    return body
