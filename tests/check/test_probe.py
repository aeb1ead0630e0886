"""Every exchange ends in time, whatever the server sends."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from sagegen.check.probe import ENDLESS, Address, Client, Flight, ask


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
        (endless, f"{ENDLESS}|no complete answer within"),
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


def test_a_header_that_comes_twice_is_noticed() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\ncontent-type: c/d\r\nContent-Length: 0\r\n\r\n"
    with server(lambda c: c.sendall(head)) as address:
        assert ask(address, "GET", "/ping", seconds=2).repeated == ("content-type",)


def test_an_answer_that_comes_before_the_whole_body_is_sent_counts() -> None:
    with server(lambda c: c.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")) as address:
        assert ask(address, "POST", "/invocations", b"x" * 2**26, seconds=5).status == 413


def test_a_request_in_flight_is_delivered_once_the_server_has_all_of_it() -> None:
    read_on, flight = threading.Event(), Flight()

    def talk(connection: socket.socket) -> None:
        read_on.wait(10)
        while connection.recv(2**16):
            pass

    with server(talk) as address:
        body = b"x" * 2**21
        thread = threading.Thread(
            target=ask, args=(address, "POST", "/invocations", body), kwargs={"seconds": 5, "flight": flight}
        )
        thread.start()
        while flight.connection is None:
            time.sleep(0.01)
        assert not flight.delivered
        read_on.set()
        end = time.monotonic() + 5
        while not flight.delivered and time.monotonic() < end:
            time.sleep(0.01)
        assert flight.delivered
        flight.cut()
        thread.join(5)
        assert not thread.is_alive()


def test_patience_wears_off() -> None:
    with server(hang) as address:
        client = Client(address, 1.0, budget=2.5)
        for _ in range(5):
            client.ask("GET", "/ping")
        assert client.ask("GET", "/ping").error.startswith("not sent")
