"""uvicorn's HTTP protocol with the bounds that it leaves open: how large a head may be, and how slow."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 65536
HEAD_SECONDS = 60


class BoundedProtocol(HttpToolsProtocol):
    """Refuses an endless head, and closes on one that does not come."""

    _reading_head = False
    _head_bytes = 0
    _deadline: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Parse; a usual head comes in one piece and is not looked at again."""
        super().data_received(data)
        if not self._reading_head or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES:
            self.send_400_response(f"the request's head is larger than {HEAD_BYTES} bytes\n")
        elif not self._deadline:
            self._deadline = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def on_message_begin(self) -> None:
        """A request begins."""
        self._reading_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head is complete."""
        self._reading_head = False
        if self._head_bytes:
            self._head_bytes = 0
            self._forget_deadline()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client left."""
        self._forget_deadline()
        super().connection_lost(exc)

    def _forget_deadline(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None
