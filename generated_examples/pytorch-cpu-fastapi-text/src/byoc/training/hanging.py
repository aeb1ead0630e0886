"""Which process hangs when others have waited for it in vain: where each host's processes are in model.py."""

import faulthandler
import os
import re
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from byoc import paths
from byoc.processes import Process, wait_until

FRAME = re.compile(r'File "(.*)", line (\d+) in (.*)')
_shown: list[IO[bytes]] = []  # open for as long as this process runs


def show_place() -> None:
    """Let this process write its stack when its parent asks, also while a library computes."""
    if "LOCAL_RANK" in os.environ:
        _shown.append(_note("place").open("wb"))
        faulthandler.register(signal.SIGUSR1, _shown[0], all_threads=False)


def give_up(reason: str) -> None:
    """Note for the parent that this process waited for others in vain."""
    _note("waited").write_text(reason, encoding="utf-8", errors="backslashreplace")


def reason() -> str:
    """Why one of this host's processes gave up; empty if none did."""
    return next((file.read_text(encoding="utf-8") for file in _notes("waited")), "")


def place(children: Sequence[Process]) -> str:
    """`is at model.py:7 in train`: this host's first process that did not give up; empty if all did."""
    for rank, child in enumerate(children):
        shown = _note("place", rank)
        if (
            not shown.exists()
            or _note("waited", rank).exists()
            or not child.popen
            or child.exit_code is not None
        ):
            continue
        child.popen.send_signal(signal.SIGUSR1)
        frames = _frames(shown)
        if own := [frame for frame in frames if Path(frame[0]).name == "model.py"] or frames:
            file, line, function = own[0]
            return f"is at {Path(file).name}:{line} in {function}"
    return ""


def _frames(shown: Path) -> list[tuple[str, str, str]]:
    wait_until(lambda: shown.stat().st_size > 0, seconds=1)
    return FRAME.findall(shown.read_text(encoding="utf-8"))


def forget() -> None:
    """Remove all notes."""
    for file in [*_notes("place"), *_notes("waited")]:
        file.unlink(missing_ok=True)


def _notes(kind: str) -> list[Path]:
    return sorted(paths.failure().parent.glob(f".{kind}-*"))


def _note(kind: str, rank: int | None = None) -> Path:
    own = os.environ["LOCAL_RANK"] if rank is None else rank
    return paths.failure().with_name(f".{kind}-{own}")
