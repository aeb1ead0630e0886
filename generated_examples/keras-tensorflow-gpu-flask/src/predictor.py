"""The web application that SageMaker talks to: /ping, /invocations, /execution-parameters and /metrics.

Most routes are Flask's, as are those that you add. /invocations is plain WSGI: for a small model Flask's
request and response objects would cost more than the prediction.
"""

from collections.abc import Iterable
from concurrent.futures import Future
from http import HTTPStatus
from wsgiref.types import StartResponse, WSGIEnvironment

from flask import Flask, Response

from byoc.processes import say
from byoc.serving import loaded_model as model_service
from byoc.serving import turns
from byoc.serving.loaded_model import Service

STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


class Predictor:
    """A WSGI application around a loaded model."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.app = _other_routes(service)
        if service.batches:
            say(f"batches hold {service.request_threads} requests at most: SAGEMAKER_MODEL_SERVER_THREADS")

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        if environ["PATH_INFO"] == "/invocations" and environ["REQUEST_METHOD"] == "POST":
            return self._invocations(environ, start_response)
        turns.end()
        return self.app(environ, start_response)

    def _invocations(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body = _read(environ, self._service.max_body_bytes)
        if body is None:
            response = self._service.too_large()
        else:
            if not self._service.batches and self._service.is_short(len(body)):
                model_service.INLINE.inc()
            else:
                turns.end()
            ask = self._service.submit if self._service.batches else self._service.invoke
            answer = ask(body, environ.get("CONTENT_TYPE") or None, environ.get("HTTP_ACCEPT"))
            response = answer.result() if isinstance(answer, Future) else answer
        headers = [("Content-Type", response.media_type), ("Content-Length", str(len(response.body)))]
        start_response(STATUS_LINES[response.status], headers)
        return [response.body]


def _other_routes(service: Service) -> Flask:
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
        return service.execution_parameters()

    @app.get("/metrics")
    def metrics() -> Response:
        response = model_service.metrics()
        return Response(response.body, response.status, content_type=response.media_type)

    return app


def _read(environ: WSGIEnvironment, limit: int) -> bytes | None:
    """The request's body, declared or chunked, or None if it exceeds the limit."""
    declared = int(environ.get("CONTENT_LENGTH") or limit + 1)
    body: bytes = environ["wsgi.input"].read(min(declared, limit + 1))
    return body if len(body) <= limit else None
