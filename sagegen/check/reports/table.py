"""For people, on a terminal."""

from __future__ import annotations

import io

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sagegen.check.core import Outcome
from sagegen.check.reports import Report

COLOURS = {Outcome.PASS: "green", Outcome.WARN: "yellow", Outcome.FAIL: "red", Outcome.SKIP: "bright_black"}

WIDTH = 140
NARROW = 80  # columns, below which a rule's title and what was found are no longer side by side


def show(report: Report) -> None:
    """Print it."""
    console = Console(highlight=False, soft_wrap=False)
    if not console.is_terminal:
        console.width = WIDTH  # a log has no edge to fit into
    _print(report, console)


def render(report: Report, width: int = WIDTH) -> str:
    """The same as text, with tables so many columns wide."""
    buffer = io.StringIO()
    _print(report, Console(file=buffer, width=width, highlight=False))
    return buffer.getvalue()


def _print(report: Report, console: Console) -> None:
    for area, verdicts in report.by_area().items():
        table = Table(title=area.upper(), title_justify="left", box=None, padding=(0, 1), show_header=False)
        wide = console.width >= NARROW
        for _ in range(3 if wide else 2):
            table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for rule, verdict in verdicts.items():
            assert verdict.outcome
            title = Text(rule.title)
            found = Text(verdict.text, style="bright_black" if verdict.outcome is Outcome.SKIP else "")
            table.add_row(
                Text(verdict.outcome, style=COLOURS[verdict.outcome]),
                Text(rule.id),
                *((title, found) if wide else (Text("\n").join([title, found]),)),
            )
        console.print(table)
        console.print()
    for rule, verdict in report.verdicts.items():
        if verdict.outcome in (Outcome.FAIL, Outcome.WARN):
            assert verdict.outcome
            console.print(Text(f"{verdict.outcome} {rule.id} {rule.title}", style=COLOURS[verdict.outcome]))
            for label, text in (
                ("found", verdict.text),
                ("why", rule.why),
                ("fix", rule.fix),
                ("page", rule.url),
            ):
                console.print(Text(f"  {label:<6}{text}"), soft_wrap=True)
            if verdict.line:
                console.print(Text(f"  try   {verdict.line}"), soft_wrap=True)
            console.print()
    for note in report.notes:
        console.print(Text(note, style="yellow"), soft_wrap=True)
    console.print(Text(report.summary), soft_wrap=True)
