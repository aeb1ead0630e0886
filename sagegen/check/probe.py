"""HTTP and WebSocket as SageMaker speaks them: every exchange ends in time, whatever the server sends."""

from __future__ import annotations

import base64
import fcntl
import http.client
import os
import socket
import struct
import termios
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

Address = tuple[str, int]
ANSWER_BYTES = 64 * 2**20
ENDLESS = f"the answer is longer than {ANSWER_BYTES >> 20} MB"
CHUNK = 64 * 1024
SMALL = 32 * 1024


@dataclass(frozen=True)
class Exchange:
    """One request and what came of it."""

    status: int | None = None
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    connect_seconds: float | None = None
    first_byte_seconds: float | None = None
    pieces: int = 0
    error: str = ""
    refused: bool = False
    repeated: tuple[str, ...] = ()  # headers that came more than once

    @property
    def ok(self) -> bool:
        """A 2xx answer."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def late(self) -> bool:
        """No answer, because the time was up."""
        return self.status is None and self.error.startswith(("no complete answer", "not sent"))

    def __str__(self) -> str:
        what = f"HTTP {self.status}" if self.status else self.error or "no answer"
        return f"{what} after {self.seconds:.2f} s"


NOT_SENT = Exchange(error="not sent: an earlier request used up the time")


@dataclass
class Flight:
    """A request on its way: what another thread may want to know before the answer comes."""

    connection: socket.socket | None = None
    size: int = 0  # bytes of its body
    sent: bool = False
    ended: float = 0.0
    answer: Exchange | None = None

    def cut(self) -> None:
        """End it, where it still waits for its answer."""
        with suppress(OSError):
            if connection := self.connection:
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def delivered(self) -> bool:
        """Whether the whole request has reached the server's machine, so far as this one can tell."""
        if not self.sent or self.connection is None:
            return False
        if self.size < SMALL:
            return True  # it fits into the buffer of any connection; its acknowledgement may come late
        try:
            return fcntl.ioctl(self.connection, termios.TIOCOUTQ, bytes(4)) == bytes(4)
        except (OSError, ValueError):
            return True


class Client:
    """A client of one server that loses its patience once the server has used up somebody's time."""

    def __init__(self, address: Address, seconds: float, budget: float = float("inf")) -> None:
        self.address = address
        self._seconds = seconds
        self._end = time.monotonic() + budget

    def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        seconds: float | None = None,
        chunked: bool = False,
        connection: http.client.HTTPConnection | None = None,
    ) -> Exchange:
        """Send one request, on a connection of its own unless one is given."""
        limit = min(seconds or self._seconds, self._end - time.monotonic())
        if limit <= 0:
            return NOT_SENT
        result = ask(
            self.address, method, path, body, headers, seconds=limit, chunked=chunked, connection=connection
        )
        if result.status is None and result.seconds >= limit * 0.99 and not seconds:
            self._seconds = max(1.0, min(self._seconds / 2, 5.0))
        return result


def ask(
    address: Address,
    method: str,
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    *,
    seconds: float,
    chunked: bool = False,
    connection: http.client.HTTPConnection | None = None,
    flight: Flight | None = None,
) -> Exchange:
    """Send one request and read its answer within so many seconds in total."""
    begun = time.monotonic()
    own = connection is None
    http_connection = connection or http.client.HTTPConnection(*address, timeout=seconds)
    connected: float | None = None
    timer = threading.Timer(seconds, _cut, (http_connection,))
    timer.daemon = True
    try:
        if http_connection.sock is None:
            http_connection.connect()
            connected = time.monotonic() - begun
        timer.start()
        if flight:
            flight.connection, flight.size = http_connection.sock, len(body)
        all_headers = dict(headers or {})
        if chunked:
            all_headers["Transfer-Encoding"] = "chunked"
            parts: Iterator[bytes] | bytes = (body[i : i + CHUNK] for i in range(0, len(body), CHUNK))
        else:
            parts = body
        early = ""
        try:
            sends_body = method not in ("GET", "DELETE")
            http_connection.request(
                method, path, parts if sends_body else None, all_headers, encode_chunked=chunked
            )
        except (BrokenPipeError, ConnectionResetError) as error:
            # The server may have answered before it read everything: that answer counts.
            early = type(error).__name__
            response = http_connection.response_class(http_connection.sock, method=method)
            response.begin()
        else:
            if flight:
                flight.sent = True
            response = http_connection.getresponse()
        answer, first, pieces = _read(response, begun)
        names = [name.lower() for name, _ in response.getheaders()]
        return Exchange(
            response.status,
            answer,
            {name.lower(): value for name, value in response.getheaders()},
            time.monotonic() - begun,
            connected,
            first,
            pieces,
            early,
            repeated=tuple(sorted({name for name in names if names.count(name) > 1})),
        )
    except (OSError, http.client.HTTPException, ValueError) as error:
        seconds_used = time.monotonic() - begun
        late = seconds_used >= seconds * 0.99
        reason = f"no complete answer within {seconds:g} s" if late else _reason(error)
        http_connection.close()
        return Exchange(
            seconds=seconds_used,
            connect_seconds=connected,
            error=reason,
            refused=isinstance(error, ConnectionRefusedError) or (connected is None and own),
        )
    finally:
        timer.cancel()
        if flight:
            flight.connection, flight.ended = None, time.monotonic()
        if own:
            http_connection.close()


def _read(response: http.client.HTTPResponse, begun: float) -> tuple[bytes, float | None, int]:
    parts: list[bytes] = []
    size, first = 0, None
    while chunk := response.read1(CHUNK):
        first = first or time.monotonic() - begun
        parts.append(chunk)
        size += len(chunk)
        if size > ANSWER_BYTES:
            raise ValueError(ENDLESS)
    answer = b"".join(parts)
    if response.length:
        raise http.client.IncompleteRead(answer, response.length)
    response.read()  # tells a kept connection that this answer is over
    return answer, first, len(parts)


def hang_up(
    address: Address,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    sent: int,
    reset: bool = False,
) -> None:
    """Send so many bytes of a body, and close the connection without waiting for an answer.

    The server reads the end of the stream, or, with `reset`, an error, as from a client that was killed.
    """
    lines = [f"POST {path} HTTP/1.1", f"Host: {address[0]}:{address[1]}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    with suppress(OSError), socket.create_connection(address, timeout=5) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body[:sent])
        time.sleep(0.01)  # the server may begin to read
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _cut(connection: http.client.HTTPConnection) -> None:
    with suppress(OSError, AttributeError):
        connection.sock.shutdown(socket.SHUT_RDWR)


def _reason(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, http.client.RemoteDisconnected):
        return "connection closed without an answer"
    if isinstance(error, http.client.IncompleteRead):
        return "the answer ended before its end"
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return "connection reset"
    if isinstance(error, ValueError):
        return str(error)
    if isinstance(error, http.client.HTTPException):
        return f"not an HTTP answer ({type(error).__name__})"
    return str(error) or type(error).__name__


# --- WebSocket (RFC 6455), as bidirectional streaming uses it ------------------------------------------

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class WebSocket:
    """The client's side of one connection."""

    def __init__(self, connection: socket.socket, status: int) -> None:
        self._socket = connection
        self.status = status

    def send(self, opcode: int, payload: bytes, *, final: bool = True) -> None:
        """Send one masked frame."""
        mask = os.urandom(4)
        size = len(payload)
        length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + struct.pack(">H", size)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        self._socket.sendall(bytes([(0x80 if final else 0) | opcode]) + length + mask + masked)

    def receive(self) -> tuple[int, bytes] | None:
        """The next frame's opcode and payload; None where none comes."""
        try:
            head = self._exactly(2)
            size = head[1] & 0x7F
            if size == 126:
                (size,) = struct.unpack(">H", self._exactly(2))
            elif size == 127:
                (size,) = struct.unpack(">Q", self._exactly(8))
            return head[0] & 0x0F, self._exactly(min(size, 2**20))
        except OSError:
            return None

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._socket.recv(size - len(data))
            if not part:
                raise OSError("closed")
            data += part
        return data


@contextmanager
def websocket(address: Address, path: str, seconds: float) -> Iterator[WebSocket | None]:
    """A WebSocket; its status is 101 where the server agreed. None where nothing sensible came back."""
    key = base64.b64encode(os.urandom(16)).decode()
    request = (
        f"GET {path} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    connection = None
    try:
        connection = socket.create_connection(address, timeout=seconds)
        connection.sendall(request.encode())
        head = b""
        while b"\r\n\r\n" not in head and len(head) < CHUNK:
            if not (part := connection.recv(1)):
                break
            head += part
        words = head.split(b" ", 2)
        status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    except OSError:
        if connection:
            connection.close()
        yield None
        return
    with connection:
        yield WebSocket(connection, status)
