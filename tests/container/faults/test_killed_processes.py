"""SIGKILL to each kind of process under load: the service comes back, or PID 1 says that it cannot (S-06)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from .containers import Container, Containers
from .images import Subject
from .load import Load, Report
from .traffic import ROWS, csv_body, one_row
from .waiting import wait_until

CLIENTS = 8
#: From a kill to the end of a container that cannot go on, or to its first answer.
RECOVERY_SECONDS = 20
#: In which PID 1 may find out that a worker is gone.
GRACE_SECONDS = 0.5
#: Python's helper for shared memory, which nothing here uses, is not started again.
EXPENDABLE = {"resource tracker"}


@contextmanager
def load(container: Container) -> Iterator[list[Load]]:
    """Both kinds of clients at once."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(Load(container.address, one_row(), CLIENTS, keep_alive=kept))
            for kept in (True, False)
        ]


def total(loads: list[Load]) -> Report:
    kept, new = (load.report for load in loads)
    return kept + new


def kinds(container: Container) -> Counter[str]:
    """How many processes of each kind live. Not PID 1: the kernel lets nobody inside kill that one."""
    return Counter(p.kind for p in container.processes() if p.state != "Z" and p.pid != 1)


def serve(containers: Containers, image: Subject) -> Container:
    container = containers.serve(image.model_dir)
    container.wait_until_complete()
    return container


def test_after_a_kill_of_any_process_the_service_is_back_or_pid_1_ends_with_an_error(
    containers: Containers, image: Subject
) -> None:
    container = serve(containers, image)
    for kind in sorted(kinds(container)):
        if container.exit_code is not None:
            container = serve(containers, image)
        kill_and_see(container, kind)


def kill_and_see(container: Container, kind: str) -> None:
    before = kinds(container)

    def is_over() -> bool:
        return container.exit_code is not None or all(one.answered_since(killed) > 200 for one in loads)

    def is_replaced() -> bool:
        return container.exit_code is not None or kinds(container) >= before

    with load(container) as loads:
        wait_until(lambda: all(each.answered > 50 for each in loads), "a running load")
        killed = time.monotonic()
        container.kill_processes([container.pids(kind).pop()])
        wait_until(is_over, f"the service or an end after a kill of {kind}", RECOVERY_SECONDS)
        seconds = time.monotonic() - killed
        if kind not in EXPENDABLE:
            wait_until(is_replaced, f"a new {kind}")
    report = total(loads)
    print(f"{kind} killed: exit code {container.exit_code} after {seconds:.1f} s; {report}")
    if container.exit_code is None:
        # A request may be lost with its process, and each client has one at a time.
        assert len(report.wrong) <= 2 * CLIENTS, report
        assert container.ping() == 200
    else:
        assert container.exit_code not in (0, 137)
        assert not [result for result in report.wrong if result.ended < killed], report


def test_after_a_kill_of_all_workers_ping_tells_the_truth_until_they_are_back(
    containers: Containers, image: Subject
) -> None:
    container = serve(containers, image)
    with load(container) as loads:
        wait_until(lambda: all(each.answered > 50 for each in loads), "a running load")
        killed = time.monotonic()
        container.kill_processes([*container.pids("worker")])
        lies = 0

        def is_back() -> bool:
            nonlocal lies
            asked = time.monotonic()
            said = container.ping()
            # A 200 is a promise: whoever asks from then on gets an answer.
            if said == 200 and asked - killed > GRACE_SECONDS:
                lies += container.ask(body=csv_body(ROWS[:1]))[0] != 200
            return container.exit_code is not None or all(one.answered_since(killed) > 200 for one in loads)

        wait_until(is_back, "the service or an end", RECOVERY_SECONDS)
    report = total(loads)
    print(f"{image.stack}, all workers killed: exit {container.exit_code}; {report}")
    assert not lies
    assert container.exit_code is None or container.exit_code not in (0, 137)
    assert not [result for result in report.wrong if result.ended < killed], report
