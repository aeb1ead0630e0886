"""Processes of builds and functions: bounded, and none outlives the emulator."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sagegen.engine.lab import PIDS

#: The emulator holds the other end of a pipe: when it ends, however it does, the group is killed.
GUARD = '(cat "/dev/fd/$1"; kill -s KILL -- "-$$") >/dev/null 2>&1 & shift; exec "$@"'
LOOK_SECONDS = 0.25
#: What tells programs how this machine reaches its network.
NETWORK = ("_PROXY", "_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class Process:
    """One process, and all that it starts."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        memory: int,
        answers: int | None = None,
    ) -> None:
        alive, self._life = os.pipe()
        passed = (alive,) if answers is None else (alive, answers)
        try:
            self.popen = subprocess.Popen(
                ["/bin/sh", "-c", GUARD, "sh", str(alive), *command],
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=passed,
                start_new_session=True,
                text=True,
                errors="replace",
            )
        except BaseException:
            os.close(self._life)
            raise
        finally:
            os.close(alive)
        if hasattr(resource, "prlimit"):  # Linux
            with contextlib.suppress(OSError):
                resource.prlimit(self.popen.pid, resource.RLIMIT_DATA, (memory, memory))
        #: Why it was ended, for its log.
        self.note = ""
        self._lock = threading.Lock()
        threading.Thread(target=self._follow, daemon=True, name=f"end of {self.popen.pid}").start()

    def _follow(self) -> None:
        """What it started ends with it, and so does what it prints."""
        self.popen.wait()
        self.kill()

    @property
    def stdin(self) -> Any:
        """Where it reads."""
        return self.popen.stdin

    @property
    def lines(self) -> Iterator[str]:
        """What it prints, as long as it lives."""
        assert self.popen.stdout
        for line in self.popen.stdout:
            yield line.rstrip("\n")
        if self.note:
            yield self.note

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.popen.poll() is None

    def kill(self) -> None:
        """End it and what it started."""
        with self._lock:
            if self._life < 0:
                return
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.popen.pid, signal.SIGKILL)
            os.close(self._life)
            self._life = -1
        self.popen.wait()


class Processes:
    """The processes of an account; their folders lie in one.

    `most`: how many one of them may have with all that it started. One that has more is killed.
    """

    def __init__(self, folder: Path, memory: int, most: int = PIDS) -> None:
        self.folder, self.memory = folder / "processes", memory
        shutil.rmtree(self.folder, ignore_errors=True)  # of one that was killed
        self.folder.mkdir()
        self._running: set[Process] = set()
        self._most = most
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._watched = False

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder that goes when the block ends."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def start(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        memory: int | None = None,
        answers: int | None = None,
    ) -> Process:
        """Start one in a folder. Raises OSError where that is not possible."""
        with self._lock:
            if self._closed.is_set():
                raise OSError("the emulator was ended")
            process = Process(command, folder, environment, memory or self.memory, answers)
            self._running.add(process)
            if not self._watched:
                self._watched = True
                threading.Thread(target=self._watch, daemon=True, name="processes").start()
        return process

    def _watch(self) -> None:
        """Kill what starts processes without end: a limit of the system's would count all of the user's."""
        while not self._closed.wait(LOOK_SECONDS):
            counts = Counter(_groups())
            for process in list(self._running):
                if counts[process.popen.pid] > self._most:
                    process.note = f"sagegen local ended it: it had more than {self._most} processes"
                    process.kill()

    def end(self, process: Process) -> None:
        """Kill one."""
        process.kill()
        self._running.discard(process)

    def close(self) -> None:
        """Kill all, and remove their folders."""
        with self._lock:
            self._closed.set()
        for process in list(self._running):
            self.end(process)
        shutil.rmtree(self.folder, ignore_errors=True)


def _groups() -> Iterator[int]:
    """The process group of every process."""
    if not Path("/proc/self/stat").exists():
        told = subprocess.run(["ps", "-A", "-o", "pgid="], capture_output=True, text=True, check=False).stdout
        yield from map(int, told.split())
        return
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended
                stat = Path(entry.path, "stat").read_text(errors="replace")
                yield int(stat.rpartition(")")[2].split()[2])


def base(home: Path) -> dict[str, str]:
    """The variables that every process has: none of the user's credentials or settings."""
    kept = {name: value for name, value in os.environ.items() if name.endswith(NETWORK) or name[:4] == "PIP_"}
    return {**kept, "PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "LANG": "C.UTF-8",
            "TMPDIR": str(home)}  # fmt: skip
