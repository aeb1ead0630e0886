"""How much disk a run takes."""

from __future__ import annotations

import threading
from types import TracebackType

from sagegen.engine.connection import Engine


class DiskWatch:
    """The engine's peak disk growth while the run lasts, sampled each second."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._done = threading.Event()
        self._start = self._used()
        self.peak = 0
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> DiskWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def growth(self) -> int:
        """Bytes more than at the start."""
        grown = self._used() - self._start
        self.peak = max(self.peak, grown)
        return grown

    def _used(self) -> int:
        disk = self._engine.disk()
        return disk[0] if disk else 0

    def _sample(self) -> None:
        while not self._done.wait(1):
            self.growth()
