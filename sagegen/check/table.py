"""The contract's table, and what `--list` and `--explain` print from it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sagegen.check import core
from sagegen.errors import USAGE, SagegenError

FILE = Path(__file__).with_name("contract.md")
RULE = "rule"


@dataclass(frozen=True)
class Row:
    """One row of contract.md. `how` is `rule`, or why there is none."""

    id: str
    level: str
    requirement: str
    how: str


@cache
def rows() -> dict[str, Row]:
    """Every row by ID."""
    found = {}
    for line in FILE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip().replace("\\*", "*") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 4 and re.fullmatch(r"[A-Z]+-\d+", cells[0]):
            found[cells[0]] = Row(*cells)
    return found


def listing() -> str:
    """All rules, then the rows without one and why."""
    lines: list[str] = []
    area = None
    for rule in core.rules():
        if rule.area != area:
            area = rule.area
            lines += ["", area.upper()] if lines else [area.upper()]
        lines.append(f"  {rule.id:<7} {rule.level:<6} {rule.title}")
    lines += ["", "WITHOUT A RULE OF THEIR OWN"]
    for row in rows().values():
        if row.how != RULE:
            lines.append(f"  {row.id:<7} {row.level:<6} {row.requirement} – {row.how}")
    return "\n".join(lines)


def explain(identity: str) -> str:
    """The whole story of one row."""
    row = rows().get(identity.upper())
    if row is None:
        raise SagegenError(f"{identity!r} is not a row of the contract – see sagegen check --list", USAGE)
    rule = next((one for one in core.rules() if one.id == row.id), None)
    if rule is None:
        return f"{row.id} ({row.level})  {row.requirement}\n\nNo rule of its own: {row.how}"
    scenarios = "\n".join(f"  - {one.title}" for one in core.needed([rule]))
    breach: str = core.BREACH[rule.level]
    if rule.level is core.Level.IF_USED:
        breach += ", where the image claims the feature"
    return (
        f"{rule.id} ({rule.level}, {rule.area})  {rule.title}\n\n"
        f"Why:           {rule.why}\n"
        f"A breach is:   {breach}\n"
        f"How to mend:   {rule.fix}\n"
        f"Read more:     {rule.url}\n\n"
        f"The check runs:\n{scenarios}"
    )
