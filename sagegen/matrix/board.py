"""The state of every combination while the matrix runs."""

from __future__ import annotations

import threading
import time
from types import TracebackType

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

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
        """A combination is done; its failure is shown at once."""
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
