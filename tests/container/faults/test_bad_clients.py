"""Clients that are slow, broken or hostile: a clean 4xx or a close, bounded memory, the others unharmed."""

from __future__ import annotations

import gzip
import io
import pickle
import socket
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from .containers import Container, Containers, watching
from .images import STACKS, Subject
from .load import Load
from .traffic import (
    CSV,
    EXPECTED,
    JSON,
    LIMIT,
    NAMES,
    NPY,
    PARQUET,
    ROWS,
    csv_body,
    npy_body,
    one_row,
    parquet_body,
)
from .waiting import wait_until

MIB = 1024 * 1024
IDLE_CONNECTIONS = 3000
#: What a hostile request may cost while it is dealt with, beside the body that it may have.
COST_BYTES = 300 * MIB
CLOSED = -1
#: A method, transfer encoding or version of HTTP that the server does not know is the client's mistake, too.
PROTOCOL_STATUSES = (501, 505)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.fixture(scope="module")
def container(shared_containers: Containers, image: Subject) -> Container:
    """One for all of them: what one test leaves behind, the next one would meet."""
    started = shared_containers.serve(image.model_dir, "--memory", "2g", "--memory-swap", "2g")
    started.wait_until_healthy()
    wait_until(lambda: len(started.pids("worker")) == 2, "two workers")
    return started


@pytest.fixture(autouse=True)
def _unharmed(container: Container) -> Iterator[None]:
    """After each test: the same processes, a healthy /ping, an answer, and no traceback in the log."""
    before = container.process_ids()
    yield
    assert container.ping() == 200
    assert container.ask(body=csv_body(ROWS[:1]))[0] == 200
    assert container.process_ids() == before, container.log[-3000:]
    log = container.log
    assert "Traceback" not in log, log[-3000:]


def head(method: str = "POST", path: str = "/invocations", **headers: object) -> bytes:
    """The head of a request; an underscore in a header's name stands for a dash."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: x",
        *(f"{k.replace('_', '-')}: {v}" for k, v in headers.items()),
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def exchange(container: Container, request: bytes, seconds: float = 10) -> tuple[int, bytes]:
    """Send bytes. The answer's status and all of it; CLOSED without one."""
    with socket.create_connection(container.address, timeout=seconds) as client:
        answer = b""
        with suppress(ConnectionError):  # refused before all of it was read: there may be an answer to read
            client.sendall(request)
        with suppress(ConnectionError):
            while not is_complete(answer) and (part := client.recv(65536)):
                answer = (answer + part).removeprefix(CONTINUE)
    if not answer:
        return CLOSED, b""
    assert answer.startswith(b"HTTP/1."), answer[:200]
    return int(answer.split(b" ", 2)[1]), answer


def is_complete(answer: bytes) -> bool:
    """Whether an answer has the length that it claims."""
    top, end, body = answer.partition(b"\r\n\r\n")
    lengths = [line for line in top.lower().splitlines() if line.startswith(b"content-length:")]
    return bool(end and lengths) and len(body) >= int(lengths[0].partition(b":")[2])


def assert_clean(status: int, answer: bytes, case: str = "") -> None:
    """A 4xx or a close; nothing of the server's inside is told."""
    assert status == CLOSED or 400 <= status < 500 or status in PROTOCOL_STATUSES, (case, answer[:500])
    for word in (b"Traceback", b"/opt/program", b".py"):
        assert word not in answer, case


def assert_all_clean(container: Container, cases: dict[str, bytes]) -> dict[str, bytes]:
    """Send each of the named requests, and return the answers, all of which are clean."""
    answers = {}
    for name, request in cases.items():
        status, answers[name] = exchange(container, request)
        assert_clean(status, answers[name], name)
    return answers


# --- slow ones ------------------------------------------------------------------------------------------


def test_thousands_of_idle_connections_are_nobody_elses_trouble(container: Container) -> None:
    with ExitStack() as stack, watching(container) as watch:
        for _ in range(IDLE_CONNECTIONS):
            stack.enter_context(socket.create_connection(container.address, timeout=10))
        with Load(container.address, one_row(), clients=4, keep_alive=False) as load:
            wait_until(lambda: load.answered > 200, "others' answers")
            assert container.ping() == 200
        assert not load.report.wrong, load.report
    assert watch.peak - watch.samples[0].memory < COST_BYTES


@pytest.mark.parametrize(
    "half",
    [
        pytest.param(b"POST /invocations HT", id="in the head"),
        pytest.param(head(Content_Type=CSV, Content_Length=1000) + b"1,2,", id="in the body"),
        pytest.param(head(Content_Type=CSV, Transfer_Encoding="chunked") + b"FFFF\r\n1,2", id="in a chunk"),
    ],
)
def test_requests_that_stop_halfway_are_nobody_elses_trouble(half: bytes, container: Container) -> None:
    with ExitStack() as stack:
        slow = [
            stack.enter_context(socket.create_connection(container.address, timeout=10)) for _ in range(200)
        ]
        for client in slow:
            client.sendall(half)
        with Load(container.address, one_row(), clients=4) as load:
            wait_until(lambda: load.answered > 100, "others' answers")
            for client in slow[:50]:  # a byte more keeps them from being given up
                client.sendall(b"1")
            assert container.ping() == 200
        assert not load.report.wrong, load.report


def test_clients_that_leave_in_the_middle_of_an_answer_are_forgotten(container: Container) -> None:
    body = csv_body(ROWS * 2000)
    request = head(Content_Type=CSV, Content_Length=len(body)) + body

    def leave(_: int) -> None:
        with socket.create_connection(container.address, timeout=10) as client:
            client.sendall(request)
            # Closed with unread data, as by a crash: the connection is reset.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    def descriptors() -> int:
        return sum(process.descriptors for process in container.processes())

    leave(0)
    before = descriptors()
    with ThreadPoolExecutor(8) as clients:
        list(clients.map(leave, range(100)))
    wait_until(lambda: descriptors() <= before + 16, "closed connections")


# --- broken ones ----------------------------------------------------------------------------------------

ROW = csv_body(ROWS[:1])


NOT_HTTP = {
    "http 2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "nonsense": b"\r\n" * 1000 + b"nonsense\r\n\r\n",
    "http 9": b"GET /ping HTTP/9.9\r\nHost: x\r\n\r\n",
    "header without a colon": b"POST /invocations HTTP/1.1\r\nHost x\r\n\r\n",
    "header without a name": b"POST /invocations HTTP/1.1\r\n: x\r\n\r\n",
    "negative length": head(Content_Length="-1") + ROW,
    "length in words": head(Content_Length="ten") + ROW,
    "astronomic length": head(Content_Length="9" * 40) + ROW,
    "hexadecimal length": head(Content_Length="0x10") + ROW,
    "two lengths": b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"
    + ROW,
    "length and chunks": head(Content_Length=5, Transfer_Encoding="chunked") + b"0\r\n\r\n",
    "a chunk of no size": head(Transfer_Encoding="chunked") + b"ZZ\r\n",
    "a chunk of negative size": head(Transfer_Encoding="chunked") + b"-5\r\nhello\r\n",
    "an astronomic chunk": head(Transfer_Encoding="chunked") + b"F" * 40 + b"\r\n",
    "unknown transfer encoding": head(Transfer_Encoding="gzip, rot13") + ROW,
    "zero in the path": head(path="/ping\x00"),
    "zero in a header": head(X="a\x00b", Content_Length=0),
    "latin": head(Content_Type="text/csv; charset=\xff\xfe", Content_Length=len(ROW)) + ROW,
    "parameters": head(Content_Type="text/csv;" * 500, Content_Length=3) + b"a,b",
    "commas": head(Accept="," * 5000, Content_Type="a/b", Content_Length=3) + b"a,b",
    "long path": head(method="GET", path="/" + "a" * 70_000),
    "long header": head(X="a" * 200_000),
    "many headers": head("POST", "/invocations", **dict.fromkeys(map("X-{}".format, range(20_000)), 1)),
}


def test_what_is_not_http_is_refused_or_closed(container: Container) -> None:
    assert_all_clean(container, NOT_HTTP)


@pytest.mark.parametrize(
    "bytes_",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 200, id="tls"),
        pytest.param(b"\x00" * 4096, id="zeros"),
    ],
)
def test_bytes_without_a_line_end_are_never_answered_as_a_request(
    bytes_: bytes, container: Container
) -> None:
    """FastAPI's parser waits for the end of the line (decision 13): nothing comes back, or a refusal."""
    with suppress(TimeoutError):
        assert_clean(*exchange(container, bytes_, seconds=1))


def test_endless_headers_are_refused_before_they_fill_the_memory(container: Container) -> None:
    line = b"X-Filler: " + b"a" * 4000 + b"\r\n"
    with watching(container) as watch, suppress(TimeoutError):
        exchange(container, b"POST /invocations HTTP/1.1\r\nHost: x\r\n" + line * 50_000, seconds=2)  # 200 MB
    assert watch.peak - watch.samples[0].memory < 50 * MIB


ROUTES = ("/ping", "/invocations", "/execution-parameters", "/metrics")
METHODS = ("PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "FOO", "post", "G\tET")


def test_a_wrong_method_is_refused(container: Container) -> None:
    cases = {f"{m} {path}": head(m, path, Content_Length=0) for m in METHODS for path in ROUTES}
    assert_all_clean(container, cases)


PATHS = """
    /../../etc/passwd /%2e%2e/%2e%2e/etc/passwd /..%2f..%2fetc/passwd /opt/program/model.py /static/x
    /ping/..%2f..%2fetc/passwd /invocations%00 /%ff%fe /% * // /docs /openapi.json /console /nginx_status
    http://elsewhere/etc/passwd /models/x/invoke /.git/config /\\..\\etc /?a=b&a=b&a=b
"""


def test_no_path_leads_anywhere_else(container: Container) -> None:
    for path, answer in assert_all_clean(container, {p: head("GET", p) for p in PATHS.split()}).items():
        assert b"root:" not in answer, path


WEBSOCKET = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec_WebSocket_Key": "x",
    "Sec_WebSocket_Version": 13,
}
HTTP_2 = {"Upgrade": "h2c", "Connection": "Upgrade, HTTP2-Settings", "HTTP2_Settings": "AAMAAABkAAQAAP__"}


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param(WEBSOCKET, id="websocket"),
        pytest.param(HTTP_2, id="http 2"),
        pytest.param({"Upgrade": "x"}, id="upgrade without a connection header"),
        pytest.param({"Expect": "100-continue"}, id="expect"),
    ],
)
def test_an_upgrade_or_an_expectation_changes_nothing(extra: dict[str, Any], container: Container) -> None:
    status, answer = exchange(container, head(Content_Type=CSV, Content_Length=len(ROW), **extra) + ROW)
    assert status == 200, answer
    assert answer.endswith(f"{EXPECTED[0]}\n".encode())


def test_an_expectation_that_nobody_can_meet_is_refused_or_ignored(container: Container) -> None:
    extra = {"Expect": "a miracle"}
    status, answer = exchange(container, head(Content_Type=CSV, Content_Length=len(ROW), **extra) + ROW)
    assert status == 200 or 400 <= status < 500, answer


def test_a_head_of_more_than_64_kib_is_refused(container: Container) -> None:
    many: dict[str, Any] = {f"X-{n}": "a" * 600 for n in range(110)}
    for request in (head(X="a" * 66_000), head(**many)):
        status, answer = exchange(container, request)
        assert 400 <= status < 500, answer[:300]


# --- large ones -----------------------------------------------------------------------------------------


def test_an_oversized_body_is_413_however_it_is_sent(container: Container) -> None:
    size = LIMIT + 1
    chunk = b"%x\r\n" % MIB + b"1" * MIB + b"\r\n"
    with watching(container) as watch:
        declared = exchange(container, head(Content_Type=CSV, Content_Length=size) + b"1" * size)
        chunked = exchange(
            container, head(Content_Type=CSV, Transfer_Encoding="chunked") + chunk * 64 + b"0\r\n\r\n"
        )
    assert declared[0] == 413
    assert chunked[0] == 413
    assert watch.peak - watch.samples[0].memory < COST_BYTES


def test_a_body_of_a_terabyte_is_refused_or_closed_without_reading_it(container: Container) -> None:
    with watching(container) as watch:
        status, answer = exchange(
            container, head(Content_Type=CSV, Content_Length=10**12) + b"1" * 64 * MIB, seconds=3
        )
    assert_clean(status, answer)
    assert watch.peak - watch.samples[0].memory < COST_BYTES


@dataclass
class Intruder:
    """Ends the process that unpickles it."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        import os

        return os._exit, (13,)


def zip_bomb() -> bytes:
    """An archive of a billion zeros."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("arr_0.npy", npy_body(np.zeros(1, dtype="u1"))[:-1] + bytes(10**9 // 4))
    return out.getvalue()


def npy_claim(shape: str, descr: str = "<f8") -> bytes:
    """A file that claims a shape and has no data."""
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


def parquet_bomb() -> bytes:
    """A hundred million rows in a few bytes: all are the same."""
    column = np.zeros(25_000_000)
    return parquet_body(dict.fromkeys(NAMES, column), compression="zstd")


BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "pickled npy": (NPY, lambda: npy_body(np.array([[Intruder()] * 4], dtype=object))),
    "a pickle": (NPY, lambda: pickle.dumps(Intruder())),
    "npy of a terabyte": (NPY, lambda: npy_claim("(31250000000, 4)")),
    "npy of nothing, often": (NPY, lambda: npy_claim("(100000000000, 4)", "|S0")),
    "npy of negative shape": (NPY, lambda: npy_claim("(-1, 4)")),
    "npy of code": (NPY, lambda: npy_claim("__import__('os')._exit(13)")),
    "zip": (NPY, zip_bomb),
    "parquet": (PARQUET, parquet_bomb),
    "gzip": (CSV, lambda: gzip.compress(ROW * 5_000_000)),
    "deep json": (JSON, lambda: b"[" * 5_000_000),
    "deep json that is closed": (JSON, lambda: b'{"instances":' * 200_000 + b"1" + b"}" * 200_000),
    "json of empty lists": (JSON, lambda: b"[" + b"[]," * 2_000_000 + b"[]]"),
    "json of a long number": (JSON, lambda: b"[[" + b"1" * 2_000_000 + b",2,3,4]]"),
    "csv of commas": (CSV, lambda: b"," * 8_000_000),
    "csv of line ends": (CSV, lambda: b"1" + b"\n" * 8_000_000),
    "csv of one open quote": (CSV, lambda: b'"' + b"1" * 8_000_000),
    "punycode": (f"{CSV}; charset=punycode", lambda: b"a-" + b"b9" * 500_000),
    "idna": (f"{CSV}; charset=idna", lambda: "ä".encode("idna") * 100_000),
    "utf-7": (f"{CSV}; charset=utf-7", lambda: b"+AGE-" * 200_000),
}


# What it costs is a matter of the decoder, which both stacks share.
@pytest.mark.parametrize("image", STACKS[:1], indirect=True, scope="session")
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_a_quick_4xx(name: str, container: Container) -> None:
    content_type, make = BOMBS[name]
    body = make()
    with watching(container, every=0.05) as watch:
        status, answer = container.ask(body=body, content_type=content_type, timeout=20)
    assert 400 <= status < 500, answer[:300]
    assert len(answer) <= 2048
    assert watch.peak - watch.samples[0].memory < COST_BYTES


def test_bombs_all_at_once_leave_the_container_as_it_was(container: Container) -> None:
    made = [(content_type, make()) for content_type, make in BOMBS.values()]
    with ThreadPoolExecutor(len(made)) as clients, Load(container.address, one_row(), clients=2) as load:
        answers = list(clients.map(lambda bomb: container.ask(body=bomb[1], content_type=bomb[0]), made))
    assert {status for status, _ in answers} <= {400, 413, 415}
    assert not load.report.wrong, load.report
