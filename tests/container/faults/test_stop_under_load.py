"""SIGTERM under load: what was accepted is answered, and the container ends well and in time (S-03)."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack

from .conftest import Stopping, waiting_row, with_faults
from .containers import STOP_SECONDS, Container, Containers
from .images import Subject
from .load import Load, Request
from .traffic import ROWS, csv_body, one_row
from .waiting import wait_until


def test_every_request_accepted_before_sigterm_is_answered(containers: Containers, image: Subject) -> None:
    container = containers.serve(image.model_dir, *with_faults(image))
    container.wait_until_healthy()
    mix = [*one_row(), *(Request("waits", waiting_row(n / 20)) for n in range(1, 11))]
    with ExitStack() as stack:
        loads = [
            stack.enter_context(Load(container.address, mix, clients=8, keep_alive=kept))
            for kept in (True, False)
        ]
        wait_until(lambda: all(load.answered > 30 for load in loads), "a running load")
        told = time.monotonic()
        container.signal("TERM")
        assert container.wait_for_end(STOP_SECONDS) == 0, container.log[-3000:]
        seconds = time.monotonic() - told
        for load in loads:
            load.stop()
    assert seconds < STOP_SECONDS
    report = loads[0].report + loads[1].report
    accepted = [r for r in report.results if r.sent is not None and r.sent < told < r.ended]
    print(f"{image.stack}: {len(accepted)} requests were in flight; ended after {seconds:.1f} s; {report}")
    assert accepted
    assert not [r for r in report.wrong if r.sent is not None and r.sent < told], report


def test_a_body_that_still_arrives_at_sigterm_is_answered(container: Container) -> None:
    body = csv_body(ROWS[:1])
    head = f"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(container.address, timeout=STOP_SECONDS) as client:
        client.sendall(head.encode() + body[:5])
        wait_until(lambda: container.ping() == 200, "a ping after it")
        container.signal("TERM")
        wait_until(lambda: container.ping() != 200, "the stop to begin")
        client.sendall(body[5:])
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert container.wait_for_end(STOP_SECONDS) == 0


def test_hanging_predictions_half_requests_and_idle_connections_do_not_delay_the_stop(
    stopping: Stopping,
) -> None:
    """Whoever answers them last has 25 s; SageMaker kills after 30 s."""
    container = stopping.container
    assert container.wait_for_end(STOP_SECONDS + 30) == 0, container.log[-3000:]
    assert container.ran_until() - stopping.told < STOP_SECONDS


def wait_until_running(loads: list[Load]) -> None:
    wait_until(lambda: all(load.answered > 50 for load in loads), "a running load")


STOPS = 10
QUICK_STOP_SECONDS = 5
TEN_MILLISECONDS = Request("ten milliseconds", waiting_row(0.01))


def test_ten_stops_under_load_lose_no_request_and_are_quick(containers: Containers, image: Subject) -> None:
    """Straight to the container: a request that was sent in full before the signal gets its answer."""
    started = [containers.serve(image.model_dir, *with_faults(image)) for _ in range(STOPS + 1)]
    for container in started:
        container.wait_until_healthy()
    idle, *busy = started
    told = time.monotonic()
    idle.signal("TERM")
    assert idle.wait_for_end(STOP_SECONDS) == 0
    limit = max(QUICK_STOP_SECONDS, 2.5 * (time.monotonic() - told))
    for number, container in enumerate(busy):
        with ExitStack() as stack:
            loads = [
                stack.enter_context(Load(container.address, [TEN_MILLISECONDS], 8, keep_alive=kept))
                for kept in (True, False)
            ]
            wait_until_running(loads)
            told = time.monotonic()
            container.signal("TERM")
            assert container.wait_for_end(STOP_SECONDS) == 0, container.log[-3000:]
            seconds = time.monotonic() - told
            for load in loads:
                load.stop()
        report = loads[0].report + loads[1].report
        print(f"{image.stack}, stop {number + 1}: {seconds:.1f} s; {report}")
        lost = [r for r in report.wrong if r.sent is not None and r.sent < told]
        assert not lost, (lost, report)
        assert seconds < limit
