"""The web application that SageMaker talks to: /ping, /invocations, /execution-parameters and /metrics.

Most routes are FastAPI's, as are those that you add. /invocations is plain ASGI: for a small model FastAPI's
request and response objects, and a hop to a thread, would each cost more than the prediction.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from starlette.routing import Route

from byoc.errors import RequestError
from byoc.serving import loaded_model
from byoc.serving.loaded_model import INLINE, LoadedModel

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# How much of a body that is refused is read to its end: a client that still sends would miss the answer.
DISCARDED_BYTES = 32 * 1024 * 1024


class ClientLeft(Exception):
    """The client closed the connection before its request was complete."""


class Predictor:
    """An ASGI application around a loaded model."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._threads = ThreadPoolExecutor(model.concurrency, thread_name_prefix="predict")
        # Bytes of large bodies that have arrived and are not answered yet.
        self._waiting_bytes = 0
        self.app = _other_routes(model)
        # Reached only with another method than POST, which Starlette then refuses.
        self.app.router.routes.append(Route("/invocations", self._invocations, methods=["POST"]))

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["path"] == "/invocations" and scope["method"] == "POST":
            await self._invocations(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _invocations(self, scope: Message, receive: Receive, send: Send) -> None:
        try:
            message = await receive()
            if message.get("more_body"):
                response = await self._large(scope, message, receive)
            elif message["type"] == "http.request":
                response = await self._respond(scope, message["body"])
            else:
                return
        except ClientLeft:
            return
        except RequestError as error:  # there may be more of the body, which would look like the next request
            response = self._model.refused(error)
            await _send(send, response, closes=True)
            return
        await _send(send, response, closes=self._model.is_draining)

    async def _respond(self, scope: Message, body: bytes) -> loaded_model.Response:
        """Predict on the event loop if that is known to be short, else in a thread.

        If the guess is wrong, `serve` answers /ping meanwhile, and gunicorn replaces a worker that hangs.
        """
        if len(body) > (limit := self._model.settings.payload_bytes) and limit:
            raise self._too_large()
        headers = scope["headers"]
        content_type, accept = _types(headers)
        if self._model.is_short(len(body)):
            INLINE.inc()
            return self._model.invoke(body, content_type, accept, headers)
        seconds = self._model.settings.timeout_seconds
        loop = asyncio.get_running_loop()
        answer = loop.run_in_executor(self._threads, self._model.invoke, body, content_type, accept, headers)
        try:
            return await asyncio.wait_for(asyncio.shield(answer), seconds)
        except TimeoutError:
            raise RequestError(504, f"the prediction took longer than {seconds} s") from None

    async def _large(self, scope: Message, message: Message, receive: Receive) -> loaded_model.Response:
        """Answer a request whose body comes in several parts."""
        parts: list[bytes] = []
        try:
            seconds = self._model.settings.timeout_seconds
            try:
                async with asyncio.timeout(seconds):
                    await self._read(parts, message, receive)
            except TimeoutError:
                raise RequestError(408, f"the body was not complete after {seconds} s") from None
            body = b"".join(parts)
            parts[:] = [body]
            return await self._respond(scope, body)
        finally:
            self._waiting_bytes -= sum(map(len, parts))

    async def _read(self, parts: list[bytes], message: Message, receive: Receive) -> None:
        """Read a body to its end. One that is refused is thrown away as it comes."""
        refusal: RequestError | None = None
        size, limit = 0, self._model.settings.payload_bytes
        while message["type"] == "http.request":
            part = message["body"]
            size += len(part)
            if not refusal:
                parts.append(part)
                self._waiting_bytes += len(part)
                if limit and size > limit:
                    refusal = self._too_large()
                elif size > loaded_model.LARGE_BYTES and self._is_full(size):
                    refusal = loaded_model.no_memory()
                if refusal:
                    self._waiting_bytes -= sum(map(len, parts))
                    parts.clear()
                    refused_at = size
            if refusal and (not message.get("more_body") or size > refused_at + DISCARDED_BYTES):
                raise refusal
            if not message.get("more_body"):
                return
            message = await receive()
        raise ClientLeft

    def _is_full(self, size: int) -> bool:
        """Whether there is no memory for a body to wait. One alone may have any size within the limit."""
        return self._waiting_bytes > max(size, self._model.settings.waiting_bytes)

    def _too_large(self) -> RequestError:
        limit = self._model.settings.payload_bytes
        return RequestError(413, f"the body is larger than {limit} bytes; send smaller batches")


async def _send(send: Send, response: loaded_model.Response, closes: bool) -> None:
    headers = [
        (b"content-type", response.media_type.encode()),
        (b"content-length", str(len(response.body)).encode()),
        *((name.encode(), value.encode()) for name, value in response.headers.items()),
    ]
    if closes:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


def _types(headers: Iterable[tuple[bytes, bytes]]) -> tuple[str | None, str | None]:
    """A request's Content-Type and Accept."""
    content_type = accept = None
    for name, value in headers:
        if name == b"content-type":
            content_type = value.decode("latin-1")
        elif name == b"accept":
            accept = value.decode("latin-1")
    return content_type, accept


def _other_routes(model: LoadedModel) -> FastAPI:
    app = FastAPI(openapi_url=None)

    @app.api_route("/ping", methods=["GET", "POST"])
    async def ping() -> Response:
        # Each ping on a connection of its own: a kept one could lead to a worker that is busy (S-17).
        return Response(status_code=503 if model.is_draining else 200, headers={"Connection": "close"})

    @app.get("/execution-parameters")
    async def execution_parameters() -> Response:
        return JSONResponse(dict(model.settings.execution_parameters))

    @app.get("/metrics")
    async def metrics() -> Response:
        response = loaded_model.metrics()
        return Response(response.body, response.status, media_type=response.media_type)

    return app
