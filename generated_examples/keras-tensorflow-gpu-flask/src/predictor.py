"""The web application that SageMaker talks to: /ping, /invocations, /execution-parameters and /metrics."""

from flask import Flask, Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from byoc import service as model_service
from byoc.service import Service


def create_app(service: Service) -> Flask:
    """Routes around a loaded model."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = service.max_body_bytes

    @app.route("/ping", methods=["GET", "POST"])
    def ping() -> Response:
        return Response()

    @app.post("/invocations")
    def invocations() -> Response:
        body = request.get_data(cache=False)
        headers = request.headers
        return _http(service.invoke(body, headers.get("Content-Type"), headers.get("Accept")))

    @app.errorhandler(RequestEntityTooLarge)
    def too_large(error: RequestEntityTooLarge) -> Response:
        return _http(service.too_large())

    @app.get("/execution-parameters")
    def execution_parameters() -> dict[str, int | str]:
        return service.execution_parameters()

    @app.get("/metrics")
    def metrics() -> Response:
        return _http(model_service.metrics())

    return app


def _http(response: model_service.Response) -> Response:
    return Response(response.body, response.status, content_type=response.media_type)
