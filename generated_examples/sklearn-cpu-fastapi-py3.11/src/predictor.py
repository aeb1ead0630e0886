"""The web application that SageMaker talks to: /ping, /invocations, /execution-parameters and /metrics.

Most routes are FastAPI's, as are those that you add. /invocations is plain ASGI: for a small model FastAPI's
request and response objects, and a hop to a thread, would each cost more than the prediction. Where that is
known to be short, byoc/serving/shortcut.py gets its answer here before ASGI begins.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from starlette.routing import Route

from byoc.processes import end_hung_worker
from byoc.serving import affinity
from byoc.serving import loaded_model as model_service
from byoc.serving.loaded_model import Service

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

# How much of a body that is too large is read to its end.
DISCARDED_BYTES = 32 * 1024 * 1024


class Predictor:
    """An ASGI application around a loaded model."""

    def __init__(self, service: Service) -> None:
        self._service = service
        #: Whether predictions may be made on the event loop.
        self.answers_at_once = not service.batches
        self._threads = ThreadPoolExecutor(
            service.request_threads, thread_name_prefix="predict", initializer=affinity.unpin
        )
        self._hung = 0
        self.app = _other_routes(service)
        # Reached only with a wrong method, which is then refused as FastAPI does it.
        self.app.router.routes.append(Route("/invocations", self._invocations, methods=["POST"]))

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["path"] == "/invocations" and scope["method"] == "POST":
            await self._invocations(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def answer_at_once(self, body: bytes, headers: Headers) -> model_service.Response | None:
        """Answer an invocation before anything else happens; None if that may take its time.

        Cheaper than a thread, or a task. If the guess is wrong, `serve` answers /ping meanwhile, and gunicorn
        replaces a worker that never comes back.
        """
        size = len(body)
        if size > self._service.max_body_bytes or not (self.answers_at_once and self._service.is_short(size)):
            return None
        model_service.INLINE.inc()
        return self._service.invoke(body, *_types(headers))

    async def _invocations(self, scope: Message, receive: Receive, send: Send) -> None:
        body = await self._body(receive)
        if body is None:
            return  # the client left
        if isinstance(body, model_service.Response):
            response = body
        elif at_once := self.answer_at_once(body, scope["headers"]):
            response = at_once
        elif self._service.batches:
            response = await asyncio.wrap_future(self._service.submit(body, *_types(scope["headers"])))
        else:
            response = await self._invoke_in_thread(body, *_types(scope["headers"]))
        headers = [
            (b"content-type", response.media_type.encode()),
            (b"content-length", str(len(response.body)).encode()),
        ]
        if response is body:  # there may be more to come, which nobody will read
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})

    async def _body(self, receive: Receive) -> bytes | model_service.Response | None:
        """The request's body, declared or chunked; a refusal; or None if the client left."""
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            body: bytes = message["body"]
            return body if len(body) <= self._service.max_body_bytes else self._service.too_large()
        try:
            async with asyncio.timeout(self._service.timeout_seconds):
                return await self._rest(message, receive)
        except TimeoutError:
            return self._service.too_slow_a_client()

    async def _rest(self, message: Message, receive: Receive) -> bytes | model_service.Response | None:
        """Throw away what exceeds the limit, for a while: a client that still sends would miss the answer."""
        limit = self._service.max_body_bytes
        parts: list[bytes] = []
        size = 0
        while message["type"] == "http.request":
            size += len(message["body"])
            if size <= limit:
                parts.append(message["body"])
            else:
                parts.clear()
            if size > limit + DISCARDED_BYTES:
                return self._service.too_large()
            if not message.get("more_body"):
                return b"".join(parts) if size <= limit else self._service.too_large()
            message = await receive()
        return None

    async def _invoke_in_thread(
        self, body: bytes, content_type: str | None, accept: str | None
    ) -> model_service.Response:
        loop = asyncio.get_running_loop()
        answer = loop.run_in_executor(self._threads, self._service.invoke, body, content_type, accept)
        try:
            return await asyncio.wait_for(asyncio.shield(answer), self._service.timeout_seconds)
        except TimeoutError:
            self._hung += 1
            answer.add_done_callback(self._came_back)
            if self._hung >= self._service.request_threads:
                loop.call_later(1, end_hung_worker)  # once this answer is out
            return self._service.too_slow()

    def _came_back(self, answer: object) -> None:
        self._hung -= 1


def _types(headers: Headers) -> tuple[str | None, str | None]:
    """A request's Content-Type and Accept."""
    content_type = accept = None
    for name, value in headers:
        if name == b"content-type":
            content_type = value.decode("latin-1")
        elif name == b"accept":
            accept = value.decode("latin-1")
    return content_type, accept


def _other_routes(service: Service) -> FastAPI:
    app = FastAPI(openapi_url=None)

    @app.api_route("/ping", methods=["GET", "POST"])
    async def ping() -> Response:
        # Each ping on a connection of its own: a kept one could lead to a worker that is busy (S-17).
        return Response(headers={"Connection": "close"})

    @app.get("/execution-parameters")
    async def execution_parameters() -> Response:
        return JSONResponse(service.execution_parameters())

    @app.get("/metrics")
    async def metrics() -> Response:
        response = model_service.metrics()
        return Response(response.body, response.status, media_type=response.media_type)

    return app
