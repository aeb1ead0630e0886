"""What the matrix shows: a board while it runs, then a table, JSON and a page."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sagegen.errors import SagegenError

STYLES = {"passed": "green", "failed": "bold red", "waiting": "dim"}


class Board:
    """The state of every combination: a live table on a terminal, one line per event in a log."""

    def __init__(self, names: list[str]) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._states = dict.fromkeys(names, ("waiting", 0.0))
        self._begun: dict[str, float] = {}
        self._ended: set[str] = set()
        self._lock = threading.Lock()
        self._live = (
            Live(get_renderable=self._table, console=self._console, refresh_per_second=4, transient=True)
            if self._console.is_terminal
            else None
        )

    def __enter__(self) -> Board:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def step(self, name: str, step: str) -> None:
        """A combination begins a step."""
        now = time.monotonic()
        with self._lock:
            self._states[name] = (step, now)
            self._begun.setdefault(name, now)
        if not self._live:
            self._say(f"{name}: {step}")

    def ended(self, name: str, status: str, why: str = "") -> None:
        """A combination is done; a failure is told at once."""
        with self._lock:
            self._ended.add(name)
            seconds = time.monotonic() - self._begun.get(name, time.monotonic())
        self._say(f"{name}: {status} after {seconds:.0f} s{why and f': {why}'}", STYLES[status])

    def _say(self, line: str, style: str = "") -> None:
        self._console.print(Text(line, style=style))

    def _table(self) -> RenderableType:
        """The combinations that are at work, and how many wait and are done."""
        with self._lock:
            states = dict(self._states)
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for name, (step, since) in states.items():
            if step != "waiting" and name not in self._ended:
                table.add_row(name, Text(step, style="cyan"), f"{time.monotonic() - since:.0f} s")
        waiting = sum(step == "waiting" for step, _ in states.values())
        table.add_row(Text(f"{len(self._ended)} of {len(states)} done, {waiting} waiting", style="bold"))
        return table


COLUMNS = (
    "combination",
    "built",
    "tests",
    "check",
    "size GB",
    "unique GB",
    "build s",
    "cold start s",
    "peak MB",
)
WORDS = COLUMNS[:4]


def rows(outcome: dict[str, Any]) -> list[tuple[str, ...]]:
    """The results as text, one cell per column; what was not measured is a dash."""
    return [
        (
            result["id"],
            "yes" if result["built"] else "no",
            _counts(result["tests"]),
            _counts(result["check"]),
            _scaled(result["image_bytes"], 1e9, 2),
            _scaled(result["unique_bytes"], 1e9, 2),
            _scaled(result["build_seconds"], 1, 1),
            _scaled(result["cold_start_seconds"], 1, 2),
            _scaled(result["peak_memory_bytes"], 1e6, 0),
        )
        for result in outcome["combinations"]
    ]


def summary(outcome: dict[str, Any]) -> str:
    """The run in one line."""
    results = outcome["combinations"]
    passed = sum(result["status"] == "passed" for result in results)
    return (
        f"{passed} of {len(results)} combinations passed in {outcome['seconds'] / 60:.1f} minutes, "
        f"{outcome['jobs']} at a time on {outcome['cpus']} CPUs; "
        f"disk grew by {outcome['peak_disk_bytes'] / 1e9:.1f} GB at most"
    )


def print_table(outcome: dict[str, Any]) -> None:
    """The results on stdout, failures with the name of their log."""
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = 150  # a log has no edge to fit into
    table = Table(box=box.SIMPLE_HEAD)
    for column in COLUMNS:
        numeric = column not in WORDS
        table.add_column(column, justify="right" if numeric else "left", no_wrap=True)
    for result, row in zip(outcome["combinations"], rows(outcome), strict=True):
        table.add_row(*row, style=None if result["status"] == "passed" else STYLES["failed"])
    console.print(table)
    for result in outcome["combinations"]:
        if result["failure"]:
            console.print(Text(f"{result['id']}: {result['failure']} – see {result['log']}", style="red"))
        for reason in result["retried"]:
            console.print(Text(f"{result['id']}: once more, because {reason}", style="yellow"))
        for rule in result["check_again"]:
            console.print(Text(f"{result['id']}: {rule}", style="yellow"))
    console.print(Text(summary(outcome)))


def write_json(outcome: dict[str, Any], file: Path) -> None:
    """The results for programs."""
    _write(file, json.dumps(outcome, indent=2) + "\n")


def write_html(outcome: dict[str, Any], file: Path) -> None:
    """The results as one page that needs nothing but itself."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    results = outcome["combinations"]
    biggest = max((result["image_bytes"] or 0 for result in results), default=0) or 1
    page = environment.get_template("report.html.jinja").render(
        outcome=outcome,
        results=[
            {
                **result,
                "cells": row[1:],
                "share": 100 * (result["image_bytes"] or 0) / biggest,
                "unique_share": 100 * (result["unique_bytes"] or 0) / biggest,
                "log_end": _end_of_log(result["log"]),
            }
            for result, row in zip(results, rows(outcome), strict=True)
        ],
        columns=COLUMNS,
        summary=summary(outcome),
        passed=sum(result["status"] == "passed" for result in results),
    )
    _write(file, page)


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SagegenError(f"cannot write {file}: {error.strerror} – name another file") from error


def _end_of_log(log: str | None, lines: int = 40) -> str:
    try:
        return "\n".join(Path(log).read_text(errors="replace").splitlines()[-lines:]) if log else ""
    except OSError:
        return ""


def _counts(counts: dict[str, int] | None) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count) if counts else "–"


def _scaled(value: float | None, unit: float, digits: int) -> str:
    return "–" if value is None else f"{value / unit:.{digits}f}"
