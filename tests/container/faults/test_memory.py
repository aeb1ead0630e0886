"""Large bodies: as many as there is memory for, and the rest waits or is told when to retry."""

from __future__ import annotations

import http.client
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from .containers import Container, Containers
from .images import STACKS, Subject
from .traffic import CSV, EXPECTED, JSON, LIMIT, ROWS, csv_body
from .waiting import wait_until

MIB = 1024 * 1024
CLIENTS = 12
PATIENCE_SECONDS = 300
ONE_ROW = csv_body(ROWS[:1])
COPIES = (LIMIT - MIB) // len(csv_body(ROWS))


def large_csv() -> bytes:
    """Rows up to a megabyte below the limit."""
    return csv_body(ROWS) * COPIES


def large_json() -> bytes:
    """The same as JSON, which takes far more memory than its bytes."""
    rows = json.dumps(ROWS, separators=(",", ":"))[1:-1].encode()
    copies = (LIMIT - MIB) // (len(rows) + 1)
    return b'{"instances":[' + b",".join([rows] * copies) + b"]}"


def ask_until_answered(container: Container, body: bytes, content_type: str) -> tuple[int, bytes]:
    """Ask, and ask later where told to, as a client with manners does. Status and body of the last answer."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        connection = http.client.HTTPConnection(*container.address, timeout=PATIENCE_SECONDS)
        try:
            headers = {"Content-Type": content_type, "Accept": CSV}
            connection.request("POST", "/invocations", body, headers)
            response = connection.getresponse()
            answer = response.read()
            if response.status != 503 or time.monotonic() > deadline:
                return response.status, answer
            time.sleep(int(response.headers["Retry-After"]))
        finally:
            connection.close()


# JSON takes most memory for each byte: it is sent to both stacks, and CSV to one.
@pytest.mark.parametrize(
    "image, kind",
    [(STACKS[0], "csv"), *((stack, "json") for stack in STACKS)],
    indirect=["image"],
    scope="session",
)
def test_concurrent_large_bodies_kill_nobody_in_a_small_container(
    kind: str, containers: Containers, image: Subject
) -> None:
    limits = ("--memory", "2g", "--memory-swap", "2g", "--read-only", "--tmpfs", "/tmp:size=1g,mode=1777")
    container = containers.serve(image.model_dir, *limits, SAGEMAKER_MODEL_SERVER_TIMEOUT="240")
    container.wait_until_complete()
    before = container.process_ids()
    body, content_type = (large_csv(), CSV) if kind == "csv" else (large_json(), JSON)
    with ThreadPoolExecutor(CLIENTS) as clients:
        asked = [clients.submit(ask_until_answered, container, body, content_type) for _ in range(CLIENTS)]
        wait_until(lambda: container.ping() == 200, "a ping beside them")
        answers = [each.result() for each in asked]
    assert {status for status, _ in answers} == {200}, container.log[-2000:]
    assert len({answer for _, answer in answers}) == 1
    assert answers[0][1].split()[: len(ROWS)] == [label.encode() for label in EXPECTED]
    assert container.process_ids() == before
    wait_until(lambda: container.ask(body=ONE_ROW)[0] == 200, "an answer to one row")


def test_a_transform_job_without_a_limit_may_send_110_megabytes_in_chunks(
    containers: Containers, image: Subject
) -> None:
    options = {"SAGEMAKER_BATCH": "true", "SAGEMAKER_MAX_PAYLOAD_IN_MB": "0"}  # B-02, B-08
    container = containers.serve(image.model_dir, workers=1, **options)
    container.wait_until_healthy()
    piece = csv_body(ROWS) * (MIB // len(csv_body(ROWS)))
    pieces = 110 * MIB // len(piece)
    with socket.create_connection(container.address, timeout=PATIENCE_SECONDS) as client:
        head = ("POST /invocations HTTP/1.1", "Host: x", f"Content-Type: {CSV}", "Transfer-Encoding: chunked")
        client.sendall("\r\n".join([*head, "", ""]).encode())
        for _ in range(pieces):
            client.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        client.sendall(b"0\r\n\r\n")
        response = http.client.HTTPResponse(client)
        response.begin()
        answer = response.read()
    assert response.status == 200, answer[:300]
    assert len(answer.split()) == pieces * piece.count(b"\n")
