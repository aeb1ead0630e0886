"""The web application that SageMaker talks to: /ping, /invocations, /execution-parameters and /metrics."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect

from byoc import service as model_service
from byoc.service import Service


def create_app(service: Service) -> FastAPI:
    """Routes around a loaded model."""
    app = FastAPI(openapi_url=None)
    # Predictions run beside the event loop, so that /ping is answered while they do (S-17).
    predictions = ThreadPoolExecutor(service.request_threads, thread_name_prefix="predict")

    @app.api_route("/ping", methods=["GET", "POST"])
    async def ping() -> Response:
        return Response()

    @app.post("/invocations")
    async def invocations(request: Request) -> Response:
        body = await _read(request, service.max_body_bytes)
        if body is None:
            return _http(service.too_large())
        content_type, accept = request.headers.get("content-type"), request.headers.get("accept")
        loop = asyncio.get_running_loop()
        return _http(await loop.run_in_executor(predictions, service.invoke, body, content_type, accept))

    @app.get("/execution-parameters")
    async def execution_parameters() -> Response:
        return JSONResponse(service.execution_parameters())

    @app.get("/metrics")
    async def metrics() -> Response:
        return _http(model_service.metrics())

    @app.exception_handler(ClientDisconnect)
    async def client_left(request: Request, error: Exception) -> Response:
        return Response(status_code=400)

    return app


async def _read(request: Request, limit: int) -> bytes | None:
    """The request's body, declared or chunked; None if it exceeds the limit.

    What exceeds it is read and thrown away: closing on a client that still sends would hide the answer.
    """
    body = bytearray()
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= limit:
            body += chunk
        else:
            body.clear()
    return bytes(body) if size <= limit else None


def _http(response: model_service.Response) -> Response:
    return Response(response.body, response.status, media_type=response.media_type)
