"""Whether the machine's CPUs are its own: on a shared host a neighbour takes up to half of one, unseen."""

import os
import time
from collections.abc import Callable
from typing import TypeVar

TURNS = 100_000
LOOPS = 3
#: A neighbour on the other thread of a core costs 1.7 times the time.
DISTURBED = 1.2
PAUSE_SECONDS = 0.2

T = TypeVar("T")


class Machine:
    """Measures while nobody disturbs, as far as there is patience for it: as much for each measurement."""

    def __init__(self, cpus: str, patience: float) -> None:
        self._cpus = _numbers(cpus)
        self._fastest = float("inf")
        self._patience = patience
        self.windows = self.disturbed = 0

    def quietly(self, measure: Callable[[], T]) -> T:
        """What `measure` returns: begun when the CPUs were undisturbed, and again if they then were not.

        What is measured when patience, in seconds, has run out is counted as disturbed.
        """
        self.windows += 1
        until = time.monotonic() + self._patience
        while True:
            while not self._is_quiet() and time.monotonic() < until:
                time.sleep(PAUSE_SECONDS)
            value = measure()
            if self._is_quiet():
                return value
            if time.monotonic() >= until:
                self.disturbed += 1
                return value

    def _is_quiet(self) -> bool:
        """Whether a fixed loop is about as fast on every CPU as it ever was on any."""
        before = os.sched_getaffinity(0)
        try:
            seconds = [self._loop(cpu) for cpu in self._cpus]
        finally:
            os.sched_setaffinity(0, before)
        self._fastest = min(self._fastest, *seconds)
        return max(seconds) < DISTURBED * self._fastest

    def _loop(self, cpu: int) -> float:
        os.sched_setaffinity(0, {cpu})
        times = []
        for _ in range(LOOPS):  # the kernel may stop one
            begun = time.perf_counter()
            for _ in range(TURNS):
                pass
            times.append(time.perf_counter() - begun)
        return min(times)


def _numbers(cpus: str) -> list[int]:
    """The CPUs of a list as taskset and Docker take it: 0,2-3."""
    ranges = [part.partition("-") for part in cpus.split(",")]
    return [cpu for first, _, last in ranges for cpu in range(int(first), int(last or first) + 1)]
