"""Requests that share a connection: in one piece, in many, one behind the other; and how long it is kept."""

from __future__ import annotations

import http.client
import json
import select
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from .containers import Container, Containers
from .images import Subject
from .traffic import CSV, EXPECTED, JSON, ROWS, csv_body
from .waiting import wait_until

KEPT_SECONDS = 3
MOST_TAKEN = 200 * 2**20
WRONG = b"not,a,number,at all\n"


@pytest.fixture(scope="module")
def container(shared_containers: Containers, image: Subject) -> Container:
    """One worker, which has learnt that small bodies take no time, where the stack makes use of that."""
    started = shared_containers.serve(image.model_dir, workers=1)
    started.wait_until_healthy()
    if image.stack == "fastapi":
        learn(started)
    return started


def learn(container: Container) -> None:
    """Ask until nothing is handed to a thread any more, in the server's own count."""

    def inline() -> float:
        lines = container.ask("GET", "/metrics")[1].decode().splitlines()
        return sum(float(line.split()[1]) for line in lines if line.startswith("invocations_inline_total "))

    def some() -> bool:
        before = inline()
        for count in (1, 2, 3) * 10:
            assert container.ask(body=csv_body(ROWS[:count]))[0] == 200
        return inline() == before + 30

    wait_until(some, "predictions that need no thread")


def message(body: bytes, **headers: str) -> bytes:
    """A complete request to /invocations."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    top = ["POST /invocations HTTP/1.1", "Host: x", f"Content-Type: {CSV}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*top, *lines, "", ""]).encode() + body


def chunked(body: bytes) -> bytes:
    """The same without a length."""
    top = (
        f"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: {CSV}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    return top.encode() + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


def answers(stream: socket.socket) -> Iterator[tuple[int, bytes, bool]]:
    """Status, body, and whether the connection is to be closed, of one response after the other."""
    with stream.makefile("rb") as file:
        while line := file.readline():
            headers = http.client.parse_headers(file)
            body = file.read(int(headers["Content-Length"]))
            yield int(line.split()[1]), body, headers.get("Connection") == "close"


@pytest.mark.parametrize("piece", [None, 61, 7], ids=["in one piece", "in pieces", "in small pieces"])
def test_requests_one_behind_the_other_are_answered_each_in_its_turn(
    piece: int | None, container: Container
) -> None:
    first, two, three = ("".join(f"{label}\n" for label in EXPECTED[:n]).encode() for n in (1, 2, 3))
    asked = [
        (message(csv_body(ROWS[:1])), 200, first),
        (message(csv_body(ROWS[:2]), Accept=JSON), 200, None),
        (message(WRONG), 400, None),
        (b"GET /execution-parameters HTTP/1.1\r\nHost: x\r\n\r\n", 200, None),
        (chunked(csv_body(ROWS[:3])), 200, three),
        (message(csv_body(ROWS[:1]), Accept="image/png"), 406, None),
        (message(b""), 400, None),
        # Too large to be known: for a thread, with short ones behind it.
        (message(csv_body(ROWS * 500)), 200, "".join(f"{label}\n" for label in EXPECTED * 500).encode()),
        (message(csv_body(ROWS[:2])), 200, two),
        (message(csv_body(ROWS[:1]), Connection="close"), 200, first),
    ]
    sent = b"".join(request for request, _, _ in asked)
    with socket.create_connection(container.address, timeout=60) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = len(sent) if piece is None else 3000
        for start in range(0, head, piece or head):  # the large one need not come in crumbs
            client.sendall(sent[start : min(start + (piece or head), head)])
        client.sendall(sent[head:])
        got = list(answers(client))
    assert [status for status, _, _ in got] == [status for _, status, _ in asked]
    for (_, body, _), (_, _, expected) in zip(got, asked, strict=True):
        assert expected is None or body == expected
    assert json.loads(got[1][1])["predictions"]
    assert [closes for _, _, closes in got] == [False] * (len(asked) - 1) + [True]


def test_a_client_that_asks_and_does_not_read_is_not_answered_without_end(
    container: Container, image: Subject
) -> None:
    if image.stack == "flask":
        pytest.skip("nginx answers a thousand requests of a connection, and drops what else it sends")
    one = message(csv_body(ROWS[:3]))
    before = sum(each.memory for each in container.processes())
    with socket.create_connection(container.address, timeout=60) as client:
        client.setblocking(False)
        sent = 0
        # Until nothing more is taken: the server stops reading when its answers do not leave.
        while select.select([], [client], [], 2)[1] and sent < MOST_TAKEN:
            sent += client.send((one * 1000)[sent % len(one) :])
        assert sent < MOST_TAKEN
        assert sum(each.memory for each in container.processes()) - before < MOST_TAKEN / 4
    assert container.ask(body=csv_body(ROWS[:1]))[0] == 200


def test_a_connection_is_closed_when_it_idles_and_not_before(
    containers: Containers, image: Subject, tmp_path: Path
) -> None:
    if image.stack == "flask":
        pytest.skip("nginx keeps the clients' connections")
    settings = (image.repository / "src/gunicorn.conf.py").read_text()
    assert settings.count("keepalive = 75") == 1
    impatient = tmp_path / "gunicorn.conf.py"
    impatient.write_text(settings.replace("keepalive = 75", f"keepalive = {KEPT_SECONDS}"))
    mount = ("--volume", f"{impatient}:/opt/program/gunicorn.conf.py:ro")
    container = containers.serve(image.model_dir, *mount, workers=1)
    container.wait_until_healthy()
    learn(container)
    idle, busy = (http.client.HTTPConnection(*container.address, timeout=30) for _ in range(2))
    with closing(idle), closing(busy):
        ask(idle)
        begun = time.monotonic()
        while not select.select([idle.sock], [], [], KEPT_SECONDS / 4)[0]:
            ask(busy)
            assert time.monotonic() - begun < 5 * KEPT_SECONDS
        assert idle.sock.recv(1) == b""
        assert time.monotonic() - begun > 0.9 * KEPT_SECONDS
        kept = busy.sock
        for _ in range(6):  # longer than an idle one is kept
            assert not select.select([kept], [], [], KEPT_SECONDS / 4)[0]
            ask(busy)
        assert busy.sock is kept


def ask(connection: http.client.HTTPConnection) -> None:
    """Ask something short, and keep the connection."""
    connection.request("POST", "/invocations", csv_body(ROWS[:1]), {"Content-Type": CSV})
    assert connection.getresponse().read()
