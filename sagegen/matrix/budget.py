"""What the combinations of a run share: slots, memory and disk, granted in the order of asking."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sagegen.catalogue import Combination

GB = 10**9
#: Disk that a group may need while it is built: its images, the installer's cache of the same size, and room
#: to work.
BUILD_NEED = {"cpu": 6 * GB, "gpu": 14 * GB}
#: What its images fill from then on, until its tests end.
GROUP_SHARE = {"cpu": 3 * GB, "gpu": 8 * GB}
#: Memory beside the model: the web server, the test process and the build of a neighbour.
WORK_MEMORY = 1 * GB


class Stopped(Exception):
    """The run is being interrupted."""


class Budget:
    """An amount that threads share."""

    def __init__(self, capacity: int, stop: threading.Event) -> None:
        self._capacity = self._left = capacity
        self._stop = stop
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, amount: int) -> Iterator[Callable[[int], None]]:
        """Hold `amount` for the block; yield a function that gives back all but what it is called with.

        A thread that wants more than there is gets all of it, alone. Raises Stopped when the run ends.
        """
        held, ticket = min(amount, self._capacity), object()
        with self._changed:
            self._queue.append(ticket)
            try:
                while not self._stop.is_set() and (self._queue[0] is not ticket or self._left < held):
                    self._changed.wait(0.5)
                if self._stop.is_set():  # also where a thread that ended has just made room
                    raise Stopped
                self._left -= held
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()

        def shrink(to: int) -> None:
            nonlocal held
            with self._changed:
                self._left += max(0, held - to)
                held = min(held, to)
                self._changed.notify_all()

        try:
            yield shrink
        finally:
            shrink(0)


def disk_of(by_device: dict[str, int], group: list[Combination]) -> int:
    """Bytes of disk for a group, by its most demanding device."""
    return max(by_device[c.answers["device"]] for c in group)
