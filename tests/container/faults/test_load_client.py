"""The load client itself: whatever a server does to a request, it is counted once and by its right name."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from .load import CUT, MALFORMED, REFUSED, TIMED_OUT, WRONG, Load, Request
from .waiting import wait_until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"
Behaviour = Callable[[socket.socket], None]


@contextmanager
def server(behaviour: Behaviour) -> Iterator[tuple[str, int]]:
    """A server that reads one request per turn and then behaves as told."""

    def converse(connection: socket.socket) -> None:
        with connection:
            while connection.recv(65536):
                behaviour(connection)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=converse_quietly, args=(connection,), daemon=True).start()

    def converse_quietly(connection: socket.socket) -> None:
        with suppress(OSError):
            converse(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()
        listener.shutdown(socket.SHUT_RDWR)


def silence(connection: socket.socket) -> None:
    connection.settimeout(5)
    connection.recv(1)


@pytest.mark.parametrize("keep_alive", [True, False])
@pytest.mark.parametrize(
    "behaviour, outcome",
    [
        pytest.param(lambda c: c.sendall(OK), "200", id="answers"),
        pytest.param(lambda c: c.sendall(OK.replace(b"yes", b"no!")), WRONG, id="says something else"),
        pytest.param(lambda c: c.sendall(OK.replace(b"200", b"503")), "503", id="refuses"),
        pytest.param(lambda c: c.shutdown(socket.SHUT_RDWR), CUT, id="hangs up"),
        pytest.param(lambda c: (c.sendall(OK[:-1]), c.shutdown(socket.SHUT_RDWR)), CUT, id="says half of it"),
        pytest.param(lambda c: c.sendall(b"SSH-2.0\r\n\r\n"), MALFORMED, id="talks nonsense"),
        pytest.param(silence, TIMED_OUT, id="is silent"),
    ],
)
def test_every_request_ends_as_one_result(behaviour: Behaviour, outcome: str, keep_alive: bool) -> None:
    with server(behaviour) as address:
        load = Load(address, [Request("ask", answer=b"yes")], clients=3, keep_alive=keep_alive, timeout=0.3)
        with load:
            wait_until(lambda: load.ended >= 6, "six results")
    assert set(load.report.outcomes) == {outcome}
    assert len(load.report.results) == load.report.begun
    assert len(load.report.wrong) == (0 if outcome == "200" else load.report.begun)


def test_a_port_that_nobody_listens_on_is_counted_as_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = taken.getsockname()
    load = Load(address, [Request("ask")], clients=2)
    with load:
        wait_until(lambda: load.ended >= 4, "four results")
    assert set(load.report.outcomes) == {REFUSED}
