"""Every exchange ends in time, whatever the server sends."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from sagegen.check.probe import Address, Client, ask


@contextmanager
def server(talk: Callable[[socket.socket], None]) -> Iterator[Address]:
    """A server that says what it likes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, suppress(OSError):
                        connection.settimeout(10)
                        connection.recv(65536)
                        talk(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()


def drip(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(100):
        connection.sendall(b"x")
        time.sleep(0.1)


def endless(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"x" * 2**20)


def hang(connection: socket.socket) -> None:
    connection.recv(1)


@pytest.mark.parametrize(
    "talk, reason",
    [
        (drip, "no complete answer within"),
        (endless, "the answer does not end|no complete answer within"),
        (hang, "no complete answer within"),
        (lambda c: c.sendall(b"hello\r\n"), "not an HTTP answer"),
        (lambda c: c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), "ended before its end"),
        (lambda c: None, "without an answer"),
        (lambda c: c.sendall(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000 + b"\r\n"), "not an HTTP answer"),
    ],
)
def test_a_bad_server_is_told_apart_in_time(talk: Callable[[socket.socket], None], reason: str) -> None:
    with server(talk) as address:
        begun = time.monotonic()
        found = ask(address, "GET", "/ping", seconds=1)
        assert time.monotonic() - begun < 3
    assert found.status is None
    assert any(part in found.error for part in reason.split("|")), found.error


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    found = ask(address, "GET", "/ping", seconds=1)
    assert found.refused
    assert found.connect_seconds is None


def test_a_good_answer_is_read() -> None:
    with server(lambda c: c.sendall(b"HTTP/1.1 201 OK\r\nContent-Length: 2\r\nA: b\r\n\r\nhi")) as address:
        found = ask(address, "POST", "/invocations", b"body", seconds=2)
    assert (found.status, found.body, found.headers["a"]) == (201, b"hi", "b")
    assert found.ok


def test_patience_wears_off() -> None:
    with server(hang) as address:
        client = Client(address, 1.0, budget=2.5)
        for _ in range(5):
            client.ask("GET", "/ping")
        assert client.ask("GET", "/ping").error.startswith("not sent")
