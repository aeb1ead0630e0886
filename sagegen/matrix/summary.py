"""What a run of the matrix came to: a table, JSON, and a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sagegen.errors import SagegenError
from sagegen.matrix.board import STYLES

COLUMNS = (
    "combination",
    "tier",
    "built",
    "tests",
    "check",
    "size GB",
    "unique GB",
    "build s",
    "test s",
    "check s",
    "cold start s",
    "peak MB",
)
WORDS = COLUMNS[:5]


def rows(outcome: dict[str, Any]) -> list[tuple[str, ...]]:
    """The results as text, one cell per column; what was not measured is a dash."""
    return [
        (
            result["id"],
            result["tier"],
            "yes" if result["built"] else "no",
            _counts(result["tests"]),
            _counts(result["check"]),
            _scaled(result["image_bytes"], 1e9, 2),
            _scaled(result["unique_bytes"], 1e9, 2),
            _scaled(result["build_seconds"], 1, 1),
            _scaled(result["test_seconds"], 1, 1),
            _scaled(result["check_seconds"], 1, 1),
            _scaled(result["cold_start_seconds"], 1, 2),
            _scaled(result["peak_memory_bytes"], 1e6, 0),
        )
        for result in outcome["combinations"]
    ]


def headline(outcome: dict[str, Any]) -> str:
    """The run in one line."""
    results = outcome["combinations"]
    passed = sum(result["status"] == "passed" for result in results)
    return (
        f"{passed} of {len(results)} combinations passed in {outcome['seconds'] / 60:.1f} minutes, "
        f"{outcome['jobs']} at a time on {outcome['cpus']} CPUs; "
        f"disk grew by {outcome['peak_disk_bytes'] / 1e9:.1f} GB at most"
    )


def show(outcome: dict[str, Any]) -> None:
    """The results on stdout, failures with the name of their log."""
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = 200  # a log has no edge to fit into
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
            console.print(Text(f"{result['id']}: repeated, because {reason}", style="yellow"))
        for rule in result["check_again"]:
            console.print(Text(f"{result['id']}: {rule}", style="yellow"))
    console.print(Text(headline(outcome)))


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
    page = environment.get_template("page.html.jinja").render(
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
