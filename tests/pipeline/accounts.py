"""An empty account for one test."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from emulators import SAGEGEN, Emulator, left


@contextmanager
def emulator(scratch: Path) -> Iterator[Emulator]:
    """A `sagegen local` of its own, which leaves nothing however the test ends."""
    with (scratch / "calls.json").open("w") as calls:
        process = subprocess.Popen(
            [*SAGEGEN, "local", "--json"], stdout=subprocess.PIPE, stderr=calls, text=True
        )
        try:
            yield Emulator(process, scratch / "calls.json")
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
    assert left(process.pid) == ""
