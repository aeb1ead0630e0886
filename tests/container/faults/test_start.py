"""While the model is loaded: /ping is answered, whatever else waits."""

from __future__ import annotations

import socket
import statistics
import time
from contextlib import ExitStack

from .conftest import with_faults
from .containers import Container, Containers, docker
from .images import Subject
from .traffic import ROWS, csv_body
from .waiting import wait_until

WAITING = 500
PING_SECONDS = 1.0
REQUEST = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nContent-Length: %d\r\n\r\n%b"


def ping_seconds(container: Container) -> float:
    began = time.monotonic()
    assert container.ping() == 503
    return time.monotonic() - began


def test_ping_is_answered_within_a_second_behind_500_waiting_connections(
    containers: Containers, image: Subject
) -> None:
    """With as few processes and threads as there are connections."""
    options = (*with_faults(image), "--pids-limit", str(WAITING + 12))
    container = containers.serve(image.model_dir, *options, LOAD_WAITS="1")
    wait_until(lambda: container.ping() == 503, "an answer")
    alone = statistics.median(ping_seconds(container) for _ in range(5))
    body = csv_body(ROWS[:1])
    with ExitStack() as stack:
        for number in range(WAITING):
            client = stack.enter_context(socket.create_connection(container.address, timeout=10))
            if number % 2:  # the others say nothing
                client.sendall(REQUEST % (len(body), body))
        behind = max(ping_seconds(container) for _ in range(5))
    assert behind < max(PING_SECONDS, 30 * alone), f"{behind:.2f} s, and {alone:.2f} s without them"
    docker("exec", container.name, "touch", "/tmp/go")
    container.wait_until_healthy()
    assert container.ask(body=body)[0] == 200
