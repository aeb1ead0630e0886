"""What was measured, round by round, and ratios within each round: machines drift, ratios hardly do."""

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.contenders import Contender
from benchmarks.measures import Values

# One column of a table: what a contender scored in a round, or None.
Column = Callable[[Values], float | None]


@dataclass(frozen=True)
class Spread:
    """Several rounds' values as one."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float | None]) -> "Spread | None":
        """The spread of the values that exist."""
        there = [value for value in values if value is not None]
        return cls(statistics.median(there), min(there), max(there)) if there else None


@dataclass
class Results:
    """One run: who took part, where, and each round's values."""

    generated: str
    machine: dict[str, str]
    options: dict[str, Any]
    contenders: list[Contender]
    versions: dict[str, str] = field(default_factory=dict)
    rounds: list[dict[str, Values]] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    #: Measurements taken, and those after which the CPUs were not at their full speed.
    windows: int = 0
    disturbed: int = 0

    def spread(self, name: str, column: Column) -> Spread | None:
        """A contender's own values."""
        return Spread.of(column(values) for values in self._of(name))

    def ratio(self, name: str, other: str, column: Column) -> Spread | None:
        """One contender's value ÷ another's, both of the same round."""
        return Spread.of(
            divide(column(values.get(name, {})), column(values.get(other, {}))) for values in self.rounds
        )

    def named(self, *roles: str) -> list[str]:
        """The contenders in these roles that were measured at least once."""
        return [c.name for c in self.contenders if c.role in roles and any(self._of(c.name))]

    def _of(self, name: str) -> list[Values]:
        return [values[name] for values in self.rounds if name in values]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "generated": self.generated,
            "machine": self.machine,
            "options": self.options,
            "contenders": {c.name: self._facts(c) for c in self.contenders},
            "failures": self.failures,
            "windows": self.windows,
            "disturbed": self.disturbed,
            "rounds": self.rounds,
        }

    def _facts(self, c: Contender) -> dict[str, str]:
        version = self.versions.get(c.name, "")
        return {"title": c.title, "role": c.role, "python": c.python, "version": version}


def divide(value: float | None, by: float | None) -> float | None:
    """None where there is nothing to divide."""
    return value / by if value is not None and by else None


def measured(name: str) -> Column:
    """A value as it was measured."""
    return lambda values: values.get(name)


def tail(values: Values) -> float | None:
    """p99 ÷ p50 at half of its own peak load."""
    return divide(values.get("paced.p99"), values.get("paced.p50"))


def cold_start(values: Values) -> float | None:
    """First answered prediction ÷ importing the framework and loading the model."""
    return divide(values.get("cold.seconds"), values.get("cold.bare"))


def worker_memory(values: Values) -> float | None:
    """N workers ÷ (one worker + (N - 1) × what serving adds to one worker's own memory).

    Pages that processes share count once. So 1 means that all that could be shared is shared.
    """
    if "memory.many" not in values or "memory.one" not in values:
        return None
    ideal = values["memory.one"] + (values["memory.workers"] - 1) * values["memory.one.growth"]
    return values["memory.many"] / ideal


def training_start(values: Values) -> float | None:
    """First line of user code ÷ importing the framework."""
    return divide(values.get("train.seconds"), values.get("train.bare"))


def batched(values: Values) -> float | None:
    """Requests/s with dynamic batching ÷ without."""
    return divide(values.get("batching.on"), values.get("batching.off"))
