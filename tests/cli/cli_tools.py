"""sagegen as its users run it: a process, and a terminal where they would have one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pexpect
import pyte

SAGEGEN = [sys.executable, "-m", "sagegen"]
ARROW_DOWN, ARROW_UP, CTRL_C, CTRL_D, ENTER = "\x1b[B", "\x1b[A", "\x03", "\x04", "\r"


def fails(done: subprocess.CompletedProcess[str], status: int) -> str:
    """The one line that a failure prints."""
    assert done.returncode == status, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("sagegen: ")
    assert "Traceback" not in done.stdout + done.stderr
    return lines[0].removeprefix("sagegen: ")


class Terminal:
    """sagegen in a real pseudo-terminal, whose screen is read as a person reads it."""

    def __init__(self, arguments: list[str], folder: Path) -> None:
        self._screen = pyte.HistoryScreen(100, 60, history=1000)
        self._stream = pyte.Stream(self._screen)
        self._process = pexpect.spawn(
            SAGEGEN[0],
            [*SAGEGEN[1:], *arguments],
            cwd=str(folder),
            dimensions=(60, 100),
            encoding="utf-8",
            timeout=20,
            env={**os.environ, "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1"},
        )

    def screen(self) -> str:
        return "\n".join(line.rstrip() for line in self._screen.display)

    def sees(self, *texts: str, seconds: float = 20) -> str:
        """Wait until all `texts` stand on the screen."""
        deadline = time.monotonic() + seconds
        while not all(text in self.screen() for text in texts):
            assert time.monotonic() < deadline, f"not on the screen: {texts}\n{self.screen()}"
            try:
                self._stream.feed(self._process.read_nonblocking(65536, timeout=0.2))
            except pexpect.TIMEOUT:
                continue
            except pexpect.EOF:
                assert all(text in self.screen() for text in texts), self.screen()
        return self.screen()

    def types(self, keys: str) -> None:
        self._process.send(keys)

    def ends(self) -> int:
        """Read to the end; the exit status."""
        while True:
            try:
                self._stream.feed(self._process.read_nonblocking(65536, timeout=20))
            except pexpect.EOF:
                break
        self._process.close()
        assert self._process.exitstatus is not None, f"signal {self._process.signalstatus}"
        return self._process.exitstatus

    def kill(self) -> None:
        self._process.close(force=True)
