"""sagegen as its users run it: a process, and a terminal where they would have one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pexpect
import pyte
from helpers import ROOT

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


class Sagegen:
    """sagegen as a new process for each command, forked from one that has imported and compiled its needs.

    Both together take 1.5 s of CPU each time: two thirds of `sagegen new`.
    """

    SERVER = """
import json, os, sys
from pathlib import Path
import helpers, sagegen.cli, sagegen.new, sagegen.render, sagegen.update
helpers.compile_once()
sagegen.render.render(Path(sys.argv[1]), {})
sagegen.render.template.cache_clear()
for line in sys.stdin:
    folder, out, err, *arguments = json.loads(line)
    if pid := os.fork():
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
        continue
    os.chdir(folder)
    for number, name in enumerate((os.devnull, out, err)):
        os.dup2(os.open(name, os.O_RDWR), number)
    sys.stdin = open(0, closefd=False)
    sys.argv = ["sagegen", *arguments]
    sagegen.cli.main()
"""

    def __init__(self, folder: Path) -> None:
        self._streams = [folder / "out", folder / "err"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", self.SERVER, folder / "warm"],
            env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str | bytes, cwd: Path) -> subprocess.CompletedProcess[str]:
        """`sagegen ARGUMENTS` in a folder."""
        for stream in self._streams:
            stream.write_bytes(b"")
        words = [cwd, *self._streams, *arguments]
        assert self._process.stdin and self._process.stdout
        print(json.dumps([os.fsdecode(word) for word in words]), file=self._process.stdin, flush=True)
        status = int(self._process.stdout.readline())
        out, err = (stream.read_text() for stream in self._streams)
        return subprocess.CompletedProcess(arguments, status, out, err)

    def close(self) -> None:
        """End it."""
        self._process.communicate()


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
