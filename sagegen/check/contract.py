"""The contract's table: the one source of every rule's title and level."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

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
