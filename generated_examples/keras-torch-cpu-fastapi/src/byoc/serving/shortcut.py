"""Short predictions are answered as they are read: a task and ASGI's messages would cost as much again."""

import asyncio
from typing import Any

from byoc.serving.protocol import BoundedProtocol
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from byoc.serving.loaded_model import Response


class ShortcutProtocol(BoundedProtocol):
    """Answers what the application can answer at once, and leaves everything else to uvicorn."""

    # The body of an invocation that may be short; None while uvicorn has the request, or there is none.
    _body: bytes | None = None
    _answered = 0.0
    _idle_timer: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # None where `app` is not a Predictor, but something that was put around it.
        self._answer_at_once = getattr(self.app, "answer_at_once", None)

    def data_received(self, data: bytes) -> None:
        """Read; what has not come as a whole is uvicorn's to wait for."""
        super().data_received(data)
        if self._body is not None:
            self._hand_over()

    def on_headers_complete(self) -> None:
        """A head is complete: keep an invocation for as long as it takes to parse what has arrived of it."""
        if self._may_be_short():
            self.head_is_complete()
            self._body = b""
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of a body."""
        if self._body is None:
            super().on_body(body)
        else:
            self._body += body

    def on_message_complete(self) -> None:
        """A request is complete: answer it."""
        if self._body is not None:
            if response := self._answer_at_once(self._body, self.headers):
                self._body = None
                self._send(response)
                return
            self._hand_over()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """uvicorn has answered."""
        super().on_response_complete()
        self._answered = self.loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client left."""
        if self._idle_timer:
            self._idle_timer.cancel()
        super().connection_lost(exc)

    @property
    def _is_free(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _may_be_short(self) -> bool:
        return (
            self._answer_at_once is not None
            and self.url == b"/invocations"
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and not self.parser.should_upgrade()
            and self._is_free
            and not self.flow.write_paused  # nor is anything kept for a client that does not read
            and not self.transport.is_closing()
        )

    def _hand_over(self) -> None:
        """Let uvicorn have the request, and what has arrived of its body."""
        body, self._body = self._body, None
        if self.transport.is_closing():  # for the rest of it made no sense
            return
        super().on_headers_complete()
        if body:
            super().on_body(body)

    def _send(self, response: Response) -> None:
        keep_alive = self.parser.should_keep_alive()
        head = [STATUS_LINE[response.status]]
        for name, value in self.server_state.default_headers:
            head += (name, b": ", value, b"\r\n")
        if not keep_alive:
            head.append(b"connection: close\r\n")
        media_type, length = response.media_type.encode(), len(response.body)
        head.append(b"content-type: %b\r\ncontent-length: %d\r\n\r\n" % (media_type, length))
        self.transport.write(b"".join((*head, response.body)))
        self.server_state.total_requests += 1
        if not keep_alive:
            self.transport.close()
            return
        self._answered = self.loop.time()
        if not self._idle_timer:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._close_if_idle)

    def _close_if_idle(self) -> None:
        """One timer for many answers: to set and cancel one for each would take a tenth of their time."""
        self._idle_timer = None
        if self._reading_head or not self._is_free:
            return  # the next answer starts a timer again
        left = self._answered + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._idle_timer = self.loop.call_later(left, self._close_if_idle)
        else:
            self.transport.close()
