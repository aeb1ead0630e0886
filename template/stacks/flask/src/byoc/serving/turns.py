"""Whose turn it is to accept: one thread of a worker at a time, as long as predictions are short.

Python runs one thread at a time anyhow. A worker in the middle of a short prediction leaves new connections
to the other workers, which may be idle, and none of its threads gets in the way of that prediction.
"""

import math
import threading
import time
from dataclasses import dataclass, field

# A turn that takes longer was thought short and is not: then another thread accepts meanwhile.
TURN_SECONDS = 0.25

_thread = threading.local()


@dataclass
class _Turn:
    lock: threading.Lock = field(default_factory=threading.Lock)
    busy_since: float = math.inf


class Turns:
    """The turns of one worker's threads."""

    def __init__(self) -> None:
        self._turn = _Turn()

    def take(self) -> bool:
        """Wait for this thread's turn, if it is not its own already; False if it did not come soon."""
        turn = self._turn
        if _thread.__dict__.get("turn") is turn:
            turn.busy_since = math.inf
            return True
        if turn.lock.acquire(timeout=TURN_SECONDS):
            turn.busy_since = math.inf
            _thread.turn = turn
            return True
        if time.monotonic() - turn.busy_since > TURN_SECONDS and turn is self._turn:
            self._turn = _Turn()
        return False


def begin() -> None:
    """A request begins in this thread's turn."""
    _thread.turn.busy_since = time.monotonic()


def end() -> None:
    """Before something that takes long: let another thread accept meanwhile. Twice is no matter."""
    if turn := _thread.__dict__.pop("turn", None):
        turn.lock.release()
