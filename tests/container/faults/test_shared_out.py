"""A burst of connections is every worker's: kept open, it would else be one worker's for good."""

from __future__ import annotations

import http.client
from contextlib import ExitStack

import pytest

from .containers import Container
from .images import Subject
from .traffic import ROWS, csv_body

CONNECTIONS = 16


def test_kept_connections_are_shared_out_among_the_workers(container: Container, image: Subject) -> None:
    if image.stack == "flask":
        pytest.skip("nginx holds the clients' connections, and gives each request to a worker that is idle")
    before = {each.pid: each.descriptors for each in container.processes()}
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            connection = http.client.HTTPConnection(*container.address, timeout=60)
            stack.callback(connection.close)
            connection.request("POST", "/invocations", csv_body(ROWS[:1]), {"Content-Type": "text/csv"})
            # Kept open. The next one follows at once, as in a burst.
            assert connection.getresponse().read()
        held = [
            each.descriptors - before[each.pid] for each in container.processes() if each.kind == "worker"
        ]
    assert sum(held) >= CONNECTIONS
    assert max(held) - min(held) <= 2, held
