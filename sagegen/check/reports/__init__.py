"""What was found, for people and for programs: one module for each format, found by its name."""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sagegen.check.core import Area, Outcome, Rule, Verdict
from sagegen.errors import SagegenError


@dataclass(frozen=True)
class Report:
    """The verdicts on one image."""

    image: str
    verdicts: Mapping[Rule, Verdict]
    seconds: float
    #: What was looked at twice, and the first verdict on it. `verdicts` has the second.
    again: Mapping[Rule, Verdict] = field(default_factory=dict)

    @property
    def counts(self) -> dict[Outcome, int]:
        """How many of each."""
        found = Counter(verdict.outcome for verdict in self.verdicts.values())
        return {outcome: found[outcome] for outcome in Outcome}

    @property
    def summary(self) -> str:
        """One line."""
        counts = ", ".join(f"{count} {outcome}" for outcome, count in self.counts.items())
        return f"{self.image}: {counts} in {self.seconds:.0f} s"

    @property
    def notes(self) -> list[str]:
        """A line for each rule that was looked at twice."""
        return [
            f"{rule.id} looked at twice: {first.outcome} ({first.text}), then {self.verdicts[rule].outcome}"
            for rule, first in self.again.items()
        ]

    def by_area(self) -> dict[Area, dict[Rule, Verdict]]:
        """The verdicts, grouped."""
        areas = {area: {r: v for r, v in self.verdicts.items() if r.area is area} for area in Area}
        return {area: found for area, found in areas.items() if found}


def formats() -> list[str]:
    """The formats that there are."""
    return [module.name for module in pkgutil.iter_modules(__path__)]


def write(report: Report, format_: str, file: Path | None) -> None:
    """Write a report to a file or to stdout."""
    module = importlib.import_module(f"{__name__}.{format_}")
    if file is None:
        module.show(report) if hasattr(module, "show") else print(module.render(report), end="")
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(module.render(report), encoding="utf-8")
    except OSError as error:
        raise SagegenError(f"cannot write {file}: {error.strerror} – name another file") from error
