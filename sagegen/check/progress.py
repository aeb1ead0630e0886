"""Says on stderr what the check is doing."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.status import Status

from sagegen.check.core import Scenario


class Progress:
    """On a terminal one living line; else a line for each scenario that has ended."""

    def __init__(self, image: str) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._image = image
        self._status: Status | None = None
        self._running: dict[Scenario[Any], float] = {}
        self._ended = 0

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            self._status = self._console.status(f"checking {self._image}")
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status:
            self._status.stop()

    def begin(self, scenario: Scenario[Any]) -> None:
        """A scenario begins."""
        self._running[scenario] = time.monotonic()
        self._show()

    def end(self, scenario: Scenario[Any]) -> None:
        """A scenario has ended."""
        seconds = time.monotonic() - self._running.pop(scenario)
        self._ended += 1
        self._console.print(f"  {seconds:5.1f} s  {scenario.title}", soft_wrap=True)
        self._show()

    def _show(self) -> None:
        if self._status:
            self._status.update(f"{self._ended} done · " + " · ".join(one.title for one in self._running))


class Silent(Progress):
    """Says nothing."""

    def __init__(self) -> None:
        super().__init__("")

    def __enter__(self) -> Progress:
        return self

    def end(self, scenario: Scenario[Any]) -> None:
        """A scenario has ended."""
        self._running.pop(scenario)
