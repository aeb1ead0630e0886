"""The two clients: wrk for how much, and an open-loop client for how long at a given rate."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.containers import PORT, Container
from benchmarks.errors import BenchmarkError, ContenderFailed
from benchmarks.payloads import CONNECTIONS, Request

HERE = Path(__file__).parent
# Longer than any contender takes for any payload; after its own 2 s wrk would count an error.
TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Load:
    """What wrk saw; times in seconds."""

    rate: float
    p50: float
    p99: float
    requests: int


@dataclass(frozen=True)
class Paced:
    """What the open-loop client saw; times in seconds."""

    rate: float
    p50: float
    p99: float
    p999: float
    unanswered: int


class Client:
    """Loads a container from the given CPUs."""

    def __init__(self, work: Path, cpus: str) -> None:
        for tool, package in (("wrk", "wrk"), ("taskset", "util-linux"), ("cc", "gcc libc6-dev")):
            if not shutil.which(tool):
                raise BenchmarkError(f"there is no {tool} here – on Debian: apt-get install {package}")
        self._work = work
        self._pinned = ["taskset", "--cpu-list", cpus]

    def saturate(self, container: Container, request: Request, connections: int, seconds: float) -> Load:
        """Ask as fast as answers come, on so many connections."""
        body = self._work / "body"
        body.write_bytes(request.body)
        seen = self._run(
            "wrk",
            "--threads=1",  # one thread outruns every contender; a second would take their cores
            f"--connections={connections}",
            f"--duration={max(1, round(seconds))}s",
            f"--timeout={TIMEOUT_SECONDS}s",
            f"--script={HERE / 'post.lua'}",
            f"http://{container.address}:{PORT}{request.path}",
            "--",
            str(body),
            request.media_type,
        )
        if not seen["requests"]:
            raise ContenderFailed(f"not one answer in {seconds:g} s")
        if seen["refused"] or seen["broken"]:
            raise ContenderFailed(
                f"{seen['refused']} refused and {seen['broken']} broken of {seen['requests']} requests"
            )
        return Load(seen["requests"] / seen["seconds"], seen["p50"], seen["p99"], seen["requests"])

    def pace(self, container: Container, request: Request, rate: float, seconds: float) -> Paced:
        """Ask at a fixed rate, whatever the answers do."""
        message = self._work / "message"
        message.write_bytes(request.raw(f"{container.address}:{PORT}"))
        numbers = [str(PORT), f"{rate:.3f}", f"{seconds:.3f}", str(CONNECTIONS)]
        seen = self._run(str(self._open_loop), container.address, *numbers, str(message))
        if seen["errors"]:
            raise ContenderFailed(f"{seen['errors']} errors at {rate:.0f} requests/s")
        return Paced(rate, seen["p50"], seen["p99"], seen["p999"], seen["unanswered"])

    @cached_property
    def _open_loop(self) -> Path:
        program = self._work / "openloop"
        subprocess.run(["cc", "-O2", "-o", str(program), str(HERE / "openloop.c")], check=True)
        return program

    def _run(self, *arguments: str) -> dict[str, Any]:
        result = subprocess.run([*self._pinned, *arguments], capture_output=True, text=True)
        lines = result.stdout.strip().splitlines()
        if result.returncode or not lines:
            raise ContenderFailed(f"{arguments[0]}: {(result.stderr or result.stdout).strip()[-300:]}")
        seen: dict[str, Any] = json.loads(lines[-1])
        return seen
