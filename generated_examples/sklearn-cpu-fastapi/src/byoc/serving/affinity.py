"""Each worker's event loop on a CPU of its own.

The kernel puts two workers on one CPU at times, while another one idles. Until its next tick, up to 4 ms
later, the requests of one of them wait: many times as long as their predictions take.
"""

import os
from contextlib import suppress

CPUS = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def pin(slot: int, workers: int) -> None:
    """Keep this thread on one CPU, if the CPUs are this container's alone and every worker can have one."""
    if workers == len(CPUS) > 1:
        _allow({CPUS[slot % workers]})


def unpin() -> None:
    """Let this thread run anywhere: it inherited its parent's CPU."""
    _allow(set(CPUS))


def _allow(cpus: set[int]) -> None:
    with suppress(OSError):  # the container may have got other CPUs since
        os.sched_setaffinity(0, cpus)
