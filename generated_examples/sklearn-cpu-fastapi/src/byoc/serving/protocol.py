"""uvicorn's HTTP protocol with the bounds that it leaves open.

How large a head may be, and how slow; and how much is read of a client that sends request after request
without waiting for an answer.
"""

import asyncio
from collections.abc import Sized

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 65536
HEAD_SECONDS = 60


class BoundedProtocol(HttpToolsProtocol):
    """Refuses an endless head, closes on one that does not come, and reads only what it can answer."""

    _reading_head = False
    _has_just_begun = False
    _head_bytes = 0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come."""
        super().connection_made(transport)
        self.flow = _PatientFlow(transport, self.pipeline)

    def data_received(self, data: bytes) -> None:
        """Parse; a usual head comes in one piece and is not looked at again."""
        self._has_just_begun = False
        super().data_received(data)
        if not self._reading_head or self.transport.is_closing():
            return
        if not self._has_just_begun:  # else most of it may have been the requests before
            self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES:
            self.send_400_response(f"the request's head is larger than {HEAD_BYTES} bytes\n")
        elif not self._deadline:
            self._deadline = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def on_message_begin(self) -> None:
        """A request begins."""
        self._reading_head = self._has_just_begun = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head is complete."""
        self.head_is_complete()
        super().on_headers_complete()

    def head_is_complete(self) -> None:
        """Stop counting."""
        self._reading_head = False
        self._forget_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client left."""
        self._forget_deadline()
        super().connection_lost(exc)

    def _forget_deadline(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None


class _PatientFlow(FlowControl):
    """Reads no further while requests wait: uvicorn would go on whenever one of them is begun."""

    def __init__(self, transport: asyncio.Transport, waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        """Go on, unless there is something to do."""
        if not self._waiting:
            super().resume_reading()
