"""Workers share what there is: connections, which would else be one worker's for good, and CPUs."""

from __future__ import annotations

import http.client
import json
import os
from contextlib import ExitStack

import pytest

from .containers import Container, Containers, docker
from .images import Subject
from .traffic import ROWS, csv_body

CONNECTIONS = 16

# The CPUs that each thread of these processes may use, the main thread's first.
CPUS_OF_THREADS = """
import json, os
tasks = lambda pid: sorted(map(int, os.listdir(f"/proc/{pid}/task")))
print(json.dumps([[sorted(os.sched_getaffinity(task)) for task in tasks(pid)] for pid in PIDS]))
"""


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


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="there is only one CPU")
@pytest.mark.parametrize("workers", [2, 3])
def test_each_event_loop_has_a_cpu_of_its_own_where_there_are_enough(
    workers: int, containers: Containers, image: Subject
) -> None:
    if image.stack == "flask":
        pytest.skip("it predicts in threads")
    container = containers.serve(image.model_dir, "--cpuset-cpus", "0,1", workers=workers)
    container.wait_until_complete()
    for _ in range(20):  # the first of its size is predicted in a thread
        assert container.ask(body=csv_body(ROWS[:1]))[0] == 200
    pids = sorted(container.pids("worker"))
    threads = json.loads(
        docker("exec", container.name, "python", "-c", CPUS_OF_THREADS.replace("PIDS", str(pids)))
    )
    loops = [main for main, *_ in threads]
    assert sorted(loops) == ([[0], [1]] if workers == 2 else [[0, 1]] * workers)
    others = [cpus for _, *others in threads for cpus in others]
    assert others
    assert all(cpus == [0, 1] for cpus in others)
