"""A load of everything for a while, and what it did to the container."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from .containers import Container, Sample, watching
from .load import Load, Report
from .traffic import mixed
from .waiting import wait_until

MIB = 1024 * 1024
CLIENTS = 8
#: Caches fill and the heap finds its size in a share of the time, and not in less than these seconds.
WARM_UP, WARM_UP_SECONDS = 1 / 3, 20.0


@dataclass(frozen=True)
class Trend:
    """A quantity under load: its medians in the first and in the last third after warming up."""

    first: float
    last: float
    peak: float
    per_hour: float  # by least squares
    allowed: float  # growth that may be chance

    @property
    def is_flat(self) -> bool:
        """Whether it did not grow by more than chance."""
        return self.last - self.first <= self.allowed

    @classmethod
    def of(cls, samples: Sequence[Sample], quantity: Callable[[Sample], float], allowed: float) -> Trend:
        """The trend of one quantity of these samples."""
        values = [quantity(sample) for sample in samples]
        third = max(1, len(values) // 3)
        slope = statistics.linear_regression([sample.moment for sample in samples], values).slope
        return cls(
            statistics.median(values[:third]),
            statistics.median(values[-third:]),
            max(values),
            3600 * slope,
            allowed,
        )

    def text(self, unit: float = 1) -> str:
        """For people."""
        first, last, peak, hourly = (v / unit for v in (self.first, self.last, self.peak, self.per_hour))
        return f"{first:.1f} -> {last:.1f} (peak {peak:.1f}, {hourly:+.1f} an hour)"


@dataclass(frozen=True)
class Outcome:
    """What a load came to."""

    seconds: float
    report: Report
    memory: Trend
    descriptors: Trend
    threads: Trend
    replaced: Sequence[str]  # kinds of the processes that came or went since the start

    @property
    def problems(self) -> list[str]:
        """What should not be; empty where all is well."""
        trends = {"memory": self.memory, "descriptors": self.descriptors, "threads": self.threads}
        found = [
            f"{name} grew from {t.first:.0f} to {t.last:.0f}" for name, t in trends.items() if not t.is_flat
        ]
        if self.report.wrong:
            found.append(f"{len(self.report.wrong)} answers were not as they should be")
        if self.replaced:
            found.append(f"processes came or went: {', '.join(self.replaced)}")
        return found

    def as_json(self) -> dict[str, Any]:
        """For --json."""
        trends = {"memory": self.memory, "descriptors": self.descriptors, "threads": self.threads}
        return {
            "seconds": self.seconds,
            "requests": self.report.begun,
            "outcomes": dict(self.report.outcomes),
            "not_as_they_should_be": dict(Counter(f"{r.name} -> {r.outcome}" for r in self.report.wrong)),
            "p50_seconds": self.report.latency(0.5),
            "p99_seconds": self.report.latency(0.99),
            **{name: vars(trend) for name, trend in trends.items()},
            "replaced": list(self.replaced),
            "problems": self.problems,
        }

    def __str__(self) -> str:
        return (
            f"{self.seconds:.0f} s; {self.report}\n  memory, MiB: {self.memory.text(MIB)}\n"
            f"  descriptors: {self.descriptors.text()}\n  threads: {self.threads.text()}\n"
            f"  problems: {'; '.join(self.problems) or 'none'}"
        )


def soak(container: Container, seconds: float, seed: int = 1) -> Outcome:
    """Load a container with everything for so long, and look at it all the while."""
    with watching(container, every=max(0.2, seconds / 1000)) as watch, ExitStack() as stack:
        before = {process.pid: process.kind for process in watch.samples[0].processes}
        begun = time.monotonic()
        loads = [
            stack.enter_context(
                Load(container.address, mixed(seed + kept), CLIENTS // 2, keep_alive=bool(kept))
            )
            for kept in (0, 1)
        ]
        # A container that ends early is no reason to wait on.
        wait_until(
            lambda: time.monotonic() - begun > seconds or watch.has_ended, "the time to pass", seconds + 60
        )
        ended = time.monotonic()
    warmed_up = begun + max(seconds * WARM_UP, min(WARM_UP_SECONDS, seconds * 2 / 3))
    warm = [sample for sample in watch.samples if warmed_up < sample.moment < ended]
    assert warm, f"the container ended:\n{container.log[-2000:]}"
    after = {process.pid: process.kind for process in warm[-1].processes}
    return Outcome(
        ended - begun,
        loads[0].report + loads[1].report,
        # A heap is not given back to the byte.
        Trend.of(warm, lambda sample: sample.memory, allowed=24 * MIB),
        # Each client has a connection or two, which come and go.
        Trend.of(warm, lambda sample: sample.descriptors, allowed=2 * CLIENTS),
        Trend.of(warm, lambda sample: sample.threads, allowed=CLIENTS),
        [(before | after)[pid] for pid in before.keys() ^ after.keys()],
    )
