"""The numbers to reach: one row for each, and a column for each stack."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.results import (
    Column,
    Results,
    Spread,
    batched,
    cold_start,
    measured,
    tail,
    training_start,
    worker_memory,
)

STACKS = ("fastapi", "flask")


@dataclass(frozen=True)
class Target:
    """A number to reach; against another contender if one is named, else the stack's own ratio."""

    title: str
    column: Column
    required: Mapping[str, float] = field(default_factory=dict)
    against: str = ""
    higher_is_better: bool = True

    def seen(self, results: Results, stack: str) -> Spread | None:
        """What the stack reached."""
        if self.against:
            return results.ratio(stack, self.against, self.column)
        return results.spread(stack, self.column)

    def reached(self, stack: str, seen: Spread | None) -> bool | None:
        """Whether the median is as required; None if nothing is required, or nothing was seen."""
        if seen is None or stack not in self.required:
            return None
        required = self.required[stack]
        return seen.median >= required if self.higher_is_better else seen.median <= required

    def requirement(self, stack: str) -> str:
        """As the issue writes it."""
        sign = "≥" if self.higher_is_better else "≤"
        return f"{sign} {self.required[stack]:g}" if stack in self.required else "–"


def _both(fastapi: float, flask: float) -> dict[str, float]:
    return dict(zip(STACKS, (fastapi, flask), strict=True))


TARGETS = (
    Target("one row, requests/s ÷ classic", measured("one_row.rate"), _both(7, 3), "classic"),
    Target("one row, requests/s ÷ bare ASGI ceiling", measured("one_row.rate"), {"fastapi": 0.75}, "ceiling"),
    Target("100 rows, requests/s ÷ classic", measured("rows_100.rate"), _both(4.5, 2), "classic"),
    Target("5 MB CSV, time ÷ classic", measured("csv_5mb.p50"), _both(0.7, 0.7), "classic", False),
    Target("p99 ÷ p50 at half of its own peak load", tail, higher_is_better=False),
    Target(
        "cold start to first 200 ÷ import framework, load model",
        cold_start,
        _both(1.4, 1.4),
        higher_is_better=False,
    ),
    Target(
        "memory of N workers ÷ (one + (N − 1) × its private growth)",
        worker_memory,
        _both(1.1, 1.1),
        higher_is_better=False,
    ),
    Target("matrix multiplication at 64 connections, batched ÷ one by one", batched),
    Target("training start to first line of user code ÷ bare import", training_start, higher_is_better=False),
)


@dataclass(frozen=True)
class Discipline:
    """A column in which ours must be ahead of every peer."""

    title: str
    column: Column
    unit: str
    scale: float = 1
    higher_is_better: bool = True


DISCIPLINES = (
    Discipline("one row CSV", measured("one_row.rate"), "requests/s"),
    Discipline("100 rows CSV", measured("rows_100.rate"), "requests/s"),
    Discipline("5 MB CSV", measured("csv_5mb.p50"), "ms", 1000, False),
    Discipline("CPU time of one row CSV", measured("one_row.cpu"), "µs", 1e6, False),
    Discipline("one row JSON", measured("json_row.rate"), "requests/s"),
    Discipline("1 MB npy", measured("npy_1mb.rate"), "requests/s"),
    Discipline("p50 at half load", measured("paced.p50"), "ms", 1000, False),
    Discipline("p99 at half load", measured("paced.p99"), "ms", 1000, False),
    Discipline("p99 ÷ p50 at half load", tail, "×", 1, False),
    Discipline("cold start", measured("cold.seconds"), "s", 1, False),
    Discipline("cold start ÷ bare load", cold_start, "×", 1, False),
    Discipline("memory of N workers", measured("memory.many"), "MiB", 2**-20, False),
    Discipline("memory ratio", worker_memory, "×", 1, False),
)


def rivals(results: Results, stack: str, discipline: Discipline) -> tuple[str, float] | None:
    """The best of the others, and how far ahead of it the stack is: above 1 is ahead, whatever the unit."""
    ahead: list[tuple[float, str]] = []
    for other in results.named("classic", "peer"):
        if ratio := results.ratio(stack, other, discipline.column):
            ahead.append((ratio.median if discipline.higher_is_better else 1 / ratio.median, other))
    if not ahead:
        return None
    lead, name = min(ahead)
    return name, lead
