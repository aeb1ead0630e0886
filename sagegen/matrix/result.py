"""What a run of the matrix found out, as data."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

from sagegen.engine import Layers


@dataclass
class Result:
    """What the run found out about one combination. Sizes are in bytes."""

    id: str
    group: str
    answers: dict[str, str]
    #: How much was proven; see `sagegen.matrix.selection`.
    tier: str
    status: str = "waiting"
    built: bool = False
    build_seconds: float | None = None
    tests: dict[str, int] | None = None
    test_seconds: float | None = None
    #: How many rules of `sagegen check` ended in PASS, WARN, FAIL and SKIP.
    check: dict[str, int] | None = None
    check_seconds: float | None = None
    #: What the check looked at twice, and what it had found at first.
    check_again: list[str] = field(default_factory=list)
    image_bytes: int | None = None
    unique_bytes: int | None = None
    cold_start_seconds: float | None = None
    peak_memory_bytes: int | None = None
    failure: str | None = None
    #: Why a step was taken again, once for each time.
    retried: list[str] = field(default_factory=list)
    log: str | None = None


def unique_bytes(own: Layers, others: Iterable[Layers]) -> int:
    """Bytes of the layers that an image shares with none of `others`: layers are shared from the base up."""

    def shared(other: Layers) -> int:
        return sum(
            layer[1] for layer, _ in takewhile(lambda pair: pair[0] == pair[1], zip(own, other, strict=False))
        )

    return sum(size for _, size in own) - max(map(shared, others), default=0)


def read_junit(file: Path) -> dict[str, int] | None:
    """How many tests passed, failed and were skipped; None where there is no such file."""
    try:
        suites = list(ElementTree.parse(file).getroot().iter("testsuite"))
    except (OSError, ElementTree.ParseError):
        return None

    def count(*names: str) -> int:
        return sum(int(suite.get(name, 0)) for suite in suites for name in names)

    failed, skipped = count("failures", "errors"), count("skipped")
    return {"passed": count("tests") - failed - skipped, "failed": failed, "skipped": skipped}
