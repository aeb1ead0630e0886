"""Answers on the server's socket while no worker can.

`serve` binds the port first and loads the model second: until a worker is ready, /ping is 503; after a failed
load it is 500 with the reason; while the container stops it is 503. Workers report over a Unix datagram
socket that they are ready, or why they are not. One asyncio loop of PID 1 does all of it, without threads.
"""

import asyncio
import os
import select
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path

from byoc.common.processes import say
from byoc.serving.settings import READY, SIDE_DOOR

POLL_SECONDS = 0.05
# For a request's head, and for what is left of a body that gets no answer but 503.
READ_SECONDS = 1.0
# SageMaker allows a ping 2 s (S-12). A worker that listens accepts in far less than this.
STUCK_SECONDS = 0.25


class Standby:
    """Knows which workers are ready, and answers HTTP in their place while none is."""

    def __init__(
        self, run_dir: Path, server: socket.socket, reports: socket.socket, health: socket.socket
    ) -> None:
        """Takes the workers' socket, the one on which they report, and one that gets /ping at all times."""
        self.failure = ""  # why the model could not be loaded
        self.stopping = False  # /ping is 503
        self.turns_away = False  # every request is answered here: the workers accept no more
        self._server, self._reports, self._health = server, reports, health
        for each in (server, reports, health):
            each.setblocking(False)
        # A second socket of the workers, for requests that no worker came for.
        self._side_door = run_dir / SIDE_DOOR
        self._has_side_door = self._side_door.exists()
        self._reported: set[int] = set()
        self._waiting_since = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_ready(self) -> bool:
        """Whether at least one living worker has loaded the model."""
        return any(_is_alive(pid) for pid in self._reported)

    def run(self, work: Awaitable[int]) -> int:
        """Answer while `work` runs, and return its result."""

        async def both() -> int:
            answering = asyncio.create_task(self._answer_always())
            try:
                return await work
            finally:
                answering.cancel()
                self._accept_all(self._server)  # closed unanswered, their clients would see a reset
                if self._tasks:
                    await asyncio.wait(self._tasks, timeout=READ_SECONDS)

        return asyncio.run(both())

    @staticmethod
    async def until(condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for a condition, at most so long. Requests are answered meanwhile."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() >= deadline:
                return False
            await asyncio.sleep(POLL_SECONDS)
        return True

    async def _answer_always(self) -> None:
        while True:
            try:
                # A worker reports before it accepts. Heard first, no 503 can follow its first 200.
                self._hear()
                self._accept_all(self._health)
                if not self.is_ready or self.turns_away or self._is_stuck():
                    self._accept_all(self._server)
            except Exception as error:  # such as no memory for a moment: nothing may end this loop
                say(f"PID 1 could not answer: {type(error).__name__}: {error}")
            await asyncio.sleep(POLL_SECONDS)

    def _hear(self) -> None:
        with suppress(BlockingIOError):
            while True:
                pid, state, reason = self._reports.recv(4096).decode(errors="replace").split(" ", 2)
                if state == READY:
                    self._reported.add(int(pid))
                else:
                    self.failure = reason

    def _is_stuck(self) -> bool:
        """Whether connections have waited for so long that no worker can be listening (S-17, S-21)."""
        if not self._has_side_door or not select.select([self._server], [], [], 0)[0]:
            self._waiting_since = 0.0
            return False
        self._waiting_since = self._waiting_since or time.monotonic()
        return time.monotonic() - self._waiting_since > STUCK_SECONDS

    def _accept_all(self, listener: socket.socket) -> None:
        code, reason = self._status()
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # none waits any more; or no descriptor is left, and the next round tries again
                return
            task = asyncio.ensure_future(_answer(connection, code, reason, self._relay_to(code)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _relay_to(self, code: int) -> Path | None:
        return self._side_door if code == 200 and self._has_side_door else None

    def _status(self) -> tuple[int, str]:
        if self.stopping:
            return 503, "this container is shutting down"
        if self.is_ready:
            return 200, ""
        if self.failure:
            return 500, self.failure
        return 503, "the model is loading"


def _is_alive(pid: int) -> bool:
    """Whether a process runs. One that was killed and not yet collected by its parent does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except OSError:  # gone in between; or a system without /proc, where the signal has to do
        return not Path("/proc/self").exists()


async def _answer(connection: socket.socket, code: int, reason: str, side_door: Path | None) -> None:
    """Answer one request and close, so that the next one finds a worker. Only workers answer invocations."""
    writer = None
    try:
        reader, writer = await asyncio.open_connection(sock=connection)
        # A client that has not sent anything yet keeps its connection where a worker will answer.
        async with asyncio.timeout(None if side_door else READ_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
        if side_door and not head.startswith((b"GET /ping ", b"POST /ping ")):
            await _relay(reader, writer, head, side_door)
            return
        writer.write(_response(head, code, reason))
        writer.write_eof()
        async with asyncio.timeout(READ_SECONDS):
            while await reader.read(65536):  # to close on unread data would reset the connection
                pass
    except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
        pass  # the client left, sent no head in time, or one of more than 64 KiB
    finally:
        writer.close() if writer else connection.close()


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


async def _relay(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes, side_door: Path
) -> None:
    """Pass a request on to the workers, and their answer back."""
    from_worker, to_worker = await asyncio.open_unix_connection(side_door)
    to_worker.write(head)
    forward = asyncio.create_task(_copy(reader, to_worker))
    try:
        await _copy(from_worker, writer)
    finally:
        forward.cancel()
        to_worker.close()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while part := await source.read(65536):
            sink.write(part)
            await sink.drain()
        sink.write_eof()
