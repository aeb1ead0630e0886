"""Answers on the server's socket while no worker can.

`serve` binds the port first and loads the model second: until a worker is ready, /ping is 503; after a failed
load it is 500 with the reason; while the container stops it is 503. Workers report on a Unix socket, which
each keeps open for as long as it lives. One asyncio loop of PID 1 does all of it, without threads.
"""

import asyncio
import select
import socket
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path

from byoc.processes import say
from byoc.serving.settings import READY, SIDE_DOOR

POLL_SECONDS = 0.05
# For a request's head, and for what is left of a body that is not wanted.
READ_SECONDS = 1.0
# SageMaker allows a ping 2 s (S-12). A worker that listens accepts in far less than this.
STUCK_SECONDS = 0.25


class Standby:
    """Knows how many workers are ready, and answers HTTP in their place while none is."""

    def __init__(self, run_dir: Path, server: socket.socket) -> None:
        self.failure = ""  # why the model could not be loaded
        self.stopping = False  # /ping is 503
        self.turns_away = False  # every request is answered here: the workers accept no more
        self._ready = 0
        self._server = server
        self._server.setblocking(False)
        # A second socket of the workers, for requests that none of them accepted.
        self._side_door = run_dir / SIDE_DOOR
        self._waiting_since = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_ready(self) -> bool:
        """Whether at least one living worker has loaded the model."""
        return self._ready > 0

    async def run(self, reports: socket.socket, health: socket.socket, work: Awaitable[int]) -> int:
        """Listen to workers, and answer, while `work` runs; return its result.

        On the health socket every request is answered, for a proxy that asks there for /ping.
        """
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: say(f"PID 1 goes on after: {context['message']}"))
        # Not as contexts: to leave one waits for the end of every connection, and of a worker that lives on.
        servers = [
            await asyncio.start_unix_server(self._hear, sock=reports),
            await asyncio.start_unix_server(self._answer_health, sock=health),
        ]
        answering = asyncio.create_task(self._answer_always())
        try:
            return await work
        finally:
            answering.cancel()
            self._accept_all()  # closed unanswered, their clients would see a reset
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=READ_SECONDS)
            for server in servers:
                server.close()

    @staticmethod
    async def until(condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for a condition, at most so long, and answer meanwhile. False if it did not come."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() >= deadline:
                return False
            await asyncio.sleep(POLL_SECONDS)
        return True

    async def _hear(self, reader: StreamReader, writer: StreamWriter) -> None:
        state, _, reason = (await reader.readline()).decode(errors="replace").strip().partition(" ")
        if state != READY:
            self.failure = reason
        else:
            self._ready += 1
            writer.write(b"\n")  # the worker waits for it: no 503 can follow its first 200
            with suppress(OSError):
                await reader.read()
            self._ready -= 1
        writer.close()

    async def _answer_always(self) -> None:
        while True:
            try:
                if not self.is_ready or self.turns_away or self._is_stuck():
                    self._accept_all()
            except Exception as error:  # such as no memory for a moment: nothing may end this loop
                say(f"PID 1 goes on after: {type(error).__name__}: {error}")
            await asyncio.sleep(POLL_SECONDS)

    def _is_stuck(self) -> bool:
        """Whether connections have waited for so long that no worker can be listening (S-17, S-21)."""
        if not self._side_door.exists() or not select.select([self._server], [], [], 0)[0]:
            self._waiting_since = 0.0
            return False
        self._waiting_since = self._waiting_since or time.monotonic()
        return time.monotonic() - self._waiting_since > STUCK_SECONDS

    def _accept_all(self) -> None:
        code, reason = self._status()
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:  # none waits any more; or no descriptor is left, and the next round tries again
                return
            task = asyncio.create_task(self._answer_one(connection, code, reason))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _status(self) -> tuple[int, str]:
        if self.stopping:
            return 503, "this container is shutting down"
        if self.is_ready:
            return 200, ""
        return (500, self.failure) if self.failure else (503, "the model is loading")

    async def _answer_health(self, reader: StreamReader, writer: StreamWriter) -> None:
        await _answer(reader, writer, *self._status())

    async def _answer_one(self, connection: socket.socket, code: int, reason: str) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        await _answer(reader, writer, code, reason, self._side_door if code == 200 else None)


async def _answer(
    reader: StreamReader, writer: StreamWriter, code: int, reason: str, side_door: Path | None = None
) -> None:
    """Answer one request and close, so that the next one finds a worker. Only workers answer invocations."""
    # The client left, sent no head in time, or one of more than 64 KiB.
    with suppress(OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
        # A client that has not sent anything yet keeps its connection where a worker will answer.
        async with asyncio.timeout(None if side_door else READ_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
        if side_door and not head.startswith((b"GET /ping ", b"POST /ping ")):
            await _relay(reader, writer, head, side_door)
        else:
            writer.write(_response(head, code, reason))
            writer.write_eof()
            async with asyncio.timeout(READ_SECONDS):
                while await reader.read(65536):  # to close on unread data would reset the connection
                    pass
    writer.close()


def _response(head: bytes, code: int, reason: str) -> bytes:
    if code == 200 and not head.startswith((b"GET ", b"POST ", b"HEAD ")):
        code, reason = 405, "/ping is asked with GET or POST"
    body = f"{reason}\n" if reason else ""
    lines = [
        f"HTTP/1.1 {code} {HTTPStatus(code).phrase}",
        "Content-Type: text/plain",
        f"Content-Length: {len(body.encode())}",
        "Connection: close",
        *(["Retry-After: 1"] if code == 503 else []),
    ]
    return "\r\n".join([*lines, "", "" if head.startswith(b"HEAD ") else body]).encode()


async def _relay(reader: StreamReader, writer: StreamWriter, head: bytes, side_door: Path) -> None:
    """Pass a request on to the workers, and their answer back."""
    from_worker, to_worker = await asyncio.open_unix_connection(side_door)
    to_worker.write(head)
    forward = asyncio.create_task(_copy(reader, to_worker))
    try:
        await _copy(from_worker, writer)
    finally:
        forward.cancel()
        to_worker.close()


async def _copy(source: StreamReader, sink: StreamWriter) -> None:
    with suppress(OSError):
        try:
            while part := await source.read(65536):
                sink.write(part)
                await sink.drain()
        finally:  # after a reset, too: else the other side would wait for more
            sink.write_eof()
