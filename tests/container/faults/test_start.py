"""While no worker accepts, because the model is loaded or all are busy: /ping is answered all the same."""

from __future__ import annotations

import socket
import statistics
import time
from contextlib import ExitStack

from .conftest import waiting_row, with_faults
from .containers import Container, Containers, execute
from .images import Subject
from .load import Load, Request
from .traffic import ROWS, csv_body
from .waiting import wait_until

WAITING = 500
PING_SECONDS = 1.0
THREADS = 4
REQUEST = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nContent-Length: %d\r\n\r\n%b"


def ping_seconds(container: Container, status: int) -> float:
    began = time.monotonic()
    assert container.ask("GET", "/ping")[0] == status
    return time.monotonic() - began


def ping_behind_waiting_connections(container: Container, status: int) -> tuple[float, float]:
    """Seconds that a ping takes behind 500 waiting connections, and how many it may take on this machine."""
    alone = statistics.median(ping_seconds(container, status) for _ in range(5))
    body = csv_body(ROWS[:1])
    with ExitStack() as stack:
        began = time.monotonic()
        for number in range(WAITING):
            client = stack.enter_context(socket.create_connection(container.address, timeout=10))
            if number % 2:  # the others say nothing
                client.sendall(REQUEST % (len(body), body))
        opening = time.monotonic() - began
        return ping_seconds(container, status), max(PING_SECONDS, opening, 30 * alone)


def test_ping_is_answered_within_a_second_behind_500_waiting_connections(
    containers: Containers, image: Subject
) -> None:
    """With as few processes and threads as there are connections."""
    options = (*with_faults(image), "--pids-limit", str(WAITING + 12))
    container = containers.serve(image.model_dir, *options, LOAD_WAITS="1")
    wait_until(lambda: container.ping() == 503, "an answer")
    behind, limit = ping_behind_waiting_connections(container, 503)
    assert behind < limit
    execute(container.name, "touch", "/tmp/go")
    container.wait_until_healthy()
    assert container.ask(body=csv_body(ROWS[:1]))[0] == 200


def test_ping_is_answered_behind_500_connections_that_wait_for_a_busy_worker(
    containers: Containers, image: Subject
) -> None:
    """Where predictions were short so far, FastAPI's one worker listens to nobody while one takes long."""
    options = (*with_faults(image), "--pids-limit", str(WAITING + 12))
    container = containers.serve(image.model_dir, *options, workers=1, SAGEMAKER_MODEL_SERVER_TIMEOUT="600")
    container.wait_until_healthy()
    for _ in range(30):
        assert container.ask(body=waiting_row(0))[0] == 200
    slow = [Request("slow", waiting_row(600))]
    with Load(container.address, slow, clients=THREADS, at_most=THREADS), ExitStack() as stack:
        stack.callback(containers.remove)  # on which those clients give up
        wait_until(lambda: container.log.count("asleep") > 0, "a long prediction")
        behind, limit = ping_behind_waiting_connections(container, 200)
        assert behind < limit
