"""Answers on the server's socket while no worker does.

`serve` binds first and loads second: until the model answers, /ping is 503, after a failed load it is 500
with the reason, and while workers drain it is 503 again. A health check never waits, and never hears a lie.
Workers report here, over a Unix datagram socket, that they are ready or why they are not.
"""

import contextlib
import os
import select
import socket
import threading
import time
from http import HTTPStatus
from pathlib import Path

READY = "ready"
FAILED = "failed"
ADDRESS_VARIABLE = "BYOC_STANDBY_SOCKET"
POLL_SECONDS = 0.05
READ_SECONDS = 1.0
# SageMaker allows a ping 2 s (S-12); a worker that listens accepts at once.
STUCK_SECONDS = 0.25


def report(state: str, reason: str = "") -> None:
    """Tell `serve` how this worker's load ended. Does nothing where no `serve` listens."""
    if address := os.environ.get(ADDRESS_VARIABLE):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out, contextlib.suppress(OSError):
            out.sendto(f"{os.getpid()} {state} {reason}"[:2000].encode(), address)


def folder() -> Path | None:
    """The folder of the `serve` that this worker belongs to, if any."""
    address = os.environ.get(ADDRESS_VARIABLE)
    return Path(address).parent if address else None


class Standby:
    """Hears when a worker is ready, and answers HTTP in the workers' place until then."""

    def __init__(self, server_socket: socket.socket, folder: Path, side_door: Path | None = None) -> None:
        """The side door is a second socket of the workers', for requests that got stuck at the first."""
        self.address = folder / "standby.sock"
        self._side_door = side_door
        self._waiting_since = 0.0
        self.failure = ""
        self.draining = False  # /ping says so
        self.turns_away = False  # requests, for the workers accept none any more
        self._ready: set[int] = set()
        self._closed = threading.Event()
        self._reports = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._reports.bind(str(self.address))
        self._reports.setblocking(False)
        self._server_socket = server_socket
        self._server_socket.setblocking(False)
        self._health_sockets: list[socket.socket] = []
        self._thread = threading.Thread(target=self._run, name="standby", daemon=True)
        self._thread.start()

    @property
    def is_ready(self) -> bool:
        """Whether at least one living worker has loaded the model."""
        return any(_is_alive(pid) for pid in self._ready.copy())

    def close(self) -> None:
        """Stop answering."""
        self._closed.set()
        self._thread.join()

    def add_health_socket(self, path: Path) -> None:
        """Answer on this Unix socket at all times: where a proxy asks for health, no worker is in the way."""
        health = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        health.bind(str(path))
        health.listen(64)
        self._health_sockets.append(health)

    def _run(self) -> None:
        while not self._closed.is_set():
            watched = [self._reports, *self._health_sockets]
            if not self.is_ready or self.turns_away:
                watched.append(self._server_socket)
            ready = select.select(watched, [], [], POLL_SECONDS)[0]
            # A worker reports before it accepts: heard first, so that no 503 can follow its first 200.
            self._hear()
            for listener in ready:
                if listener in self._health_sockets or (
                    listener is self._server_socket and (not self.is_ready or self.turns_away)
                ):
                    self._accept(listener)
            if self._side_door and self._is_stuck():
                self._accept(self._server_socket)

    def _is_stuck(self) -> bool:
        """Whether connections have been waiting for so long that no worker can be listening (S-17, S-21)."""
        if not select.select([self._server_socket], [], [], 0)[0]:
            self._waiting_since = 0.0
            return False
        self._waiting_since = self._waiting_since or time.monotonic()
        return time.monotonic() - self._waiting_since > STUCK_SECONDS

    def _hear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                pid, state, reason = self._reports.recv(4096).decode(errors="replace").split(" ", 2)
                if state == READY:
                    self._ready.add(int(pid))
                else:
                    self.failure = reason

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the client left, or a worker was faster
            connection, _ = listener.accept()
            arguments = (connection, self._status(), self._side_door)
            threading.Thread(target=_answer, args=arguments, daemon=True).start()

    def _status(self) -> tuple[int, str]:
        if self.draining:
            return 503, "this container is shutting down"
        if self.is_ready:
            return 200, ""
        if self.failure:
            return 500, self.failure
        return 503, "the model is loading"


def _is_alive(pid: int) -> bool:
    """Whether a process runs. A killed one that its parent has not collected yet answers nobody."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except OSError:  # gone in between; or a system without /proc, where the signal has to do
        return not Path("/proc/self").exists()


def _answer(connection: socket.socket, status: tuple[int, str], side_door: Path | None) -> None:
    """Answer one request and close, so that the next one finds a worker. Only they can answer invocations."""
    with connection, contextlib.suppress(OSError):
        connection.settimeout(READ_SECONDS)
        request = b""
        while b"\r\n\r\n" not in request and len(request) < 65536:
            if not (part := connection.recv(65536)):
                break
            request += part
        code, reason = status
        if code == 200 and side_door and not request.startswith((b"GET /ping ", b"POST /ping ")):
            _relay(connection, request, side_door)
            return
        if code == 200 and not request.startswith((b"GET ", b"POST ", b"HEAD ")):
            code, reason = 405, "/ping is asked with GET or POST"
        body = f"{reason}\n".encode() if reason else b""
        phrase = HTTPStatus(code).phrase
        head = (
            f"HTTP/1.1 {code} {phrase}\r\nContent-Type: text/plain\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        connection.sendall(head.encode() + (b"" if request.startswith(b"HEAD ") else body))
        # Read what is left of the body: closing on unread data would reset the connection.
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass


def _relay(client: socket.socket, request: bytes, side_door: Path) -> None:
    """Pass a request on to the workers, and their answer back."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as worker:
        worker.connect(str(side_door))
        worker.sendall(request)
        client.settimeout(None)
        other = {client: worker, worker: client}
        while True:
            for source in select.select([client, worker], [], [])[0]:
                part = source.recv(65536)
                if not part:
                    return
                other[source].sendall(part)
