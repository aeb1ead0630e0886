"""Docker, by its command line: what was made here is removed here, whatever happens."""

import json
import os
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.errors import BenchmarkError, ContenderFailed

LABEL = "sagegen.benchmark"
PORT = 8080
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Container:
    """A running container, with the paths by which the kernel tells about it."""

    id: str
    address: str
    pid: int

    @property
    def age(self) -> float:
        """Seconds since its first process was made; what the engine did before does not count."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) - float(self._stat(self.pid)[19]) / CLOCK_TICKS

    def pids(self) -> list[int]:
        """All its processes, as the host numbers them."""
        top = docker("top", self.id, "-eo", "pid")
        return [int(line) for line in top.split()[1:]]

    def cpu_seconds(self) -> float:
        """CPU time of its processes so far."""
        ticks = 0
        for pid in self.pids():
            try:
                stat = self._stat(pid)
            except OSError:  # it just ended
                continue
            ticks += int(stat[11]) + int(stat[12])
        return ticks / CLOCK_TICKS

    def memory(self) -> tuple[int, int]:
        """Bytes in use, what processes share counted once (PSS); and bytes that are each one's own (USS)."""
        shared_once = private = 0
        for pid in self.pids():
            try:
                text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
            except PermissionError:
                raise BenchmarkError("reading other processes' memory needs root") from None
            except OSError:
                continue
            lines = (line.partition(":") for line in text.splitlines()[1:])
            sizes = {name: int(rest.split()[0]) * 1024 for name, _, rest in lines}
            shared_once += sizes["Pss"]
            private += sizes["Private_Clean"] + sizes["Private_Dirty"]
        return shared_once, private

    def is_running(self) -> bool:
        """Asked again and again while a server starts: the kernel knows, and takes no CPU from it."""
        return Path(f"/proc/{self.pid}").exists()

    def log(self) -> str:
        """The end of its log, in one line."""
        result = subprocess.run(["docker", "logs", "--tail", "15", self.id], capture_output=True, text=True)
        return " | ".join((result.stdout + result.stderr).strip().splitlines())

    @staticmethod
    def _stat(pid: int) -> list[str]:
        """/proc/PID/stat from its third field on."""
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()


@dataclass
class Engine:
    """The engine of this machine. Leaving its context removes all containers and images that it made."""

    cpus: str
    keep_images: bool = False
    run: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    images: set[str] = field(default_factory=set)

    def __enter__(self) -> "Engine":
        try:
            docker("version")
        except (OSError, ContenderFailed) as error:
            raise BenchmarkError(
                "no Docker engine answers – start Docker, or run scripts/docker-engine"
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if left := docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}={self.run}").split():
            docker("rm", "--force", "--volumes", *left, check=False)
        if self.images and not self.keep_images:
            docker("rmi", "--force", *sorted(self.images), check=False)

    def build(self, tag: str, context: Path, arguments: Mapping[str, str]) -> None:
        """Build a folder's Dockerfile. SageMaker takes no provenance, so no contender has any."""
        self.images.add(tag)
        flags = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        flags += ["--load", "--provenance=false", "--sbom=false", "--tag", tag]
        docker("buildx", "build", *flags, str(context))

    @contextmanager
    def serving(
        self, image: str, model: Path, environment: Mapping[str, str], program: Path | None = None
    ) -> Iterator[Container]:
        """`docker run IMAGE serve` on an artifact, as SageMaker starts it; `program` replaces model.py."""
        flags = [f"--env={name}={value}" for name, value in environment.items()]
        if program:
            flags += self._mount(program, "/opt/program/model.py")
        identity = self._run("--detach", *flags, *self._mount(model, "/opt/ml/model"), image, "serve")
        try:
            facts: Any = json.loads(docker("inspect", identity))[0]
            # Not through a published port: docker-proxy and NAT would be measured too.
            address = next(iter(facts["NetworkSettings"]["Networks"].values()))["IPAddress"]
            container = Container(identity, address, facts["State"]["Pid"])
            if not container.pid:
                raise ContenderFailed(f"it ended at once: {container.log()}")
            yield container
        finally:
            docker("rm", "--force", "--volumes", identity, check=False)

    def python(self, image: str, code: str, mounts: Mapping[Path, str], *arguments: str) -> str:
        """Run Python code in an image, instead of its command, and return what it prints."""
        flags = [flag for host, inside in mounts.items() for flag in self._mount(host, inside, "rw")]
        return self._run("--rm", *flags, "--entrypoint=python", image, "-c", code, *arguments)

    def train(self, image: str, opt_ml: Path) -> str:
        """`docker run IMAGE train` and its log."""
        return self._run("--rm", *self._mount(opt_ml, "/opt/ml", "rw"), image, "train")

    def _run(self, *arguments: str) -> str:
        return docker("run", f"--label={LABEL}={self.run}", f"--cpuset-cpus={self.cpus}", *arguments)

    @staticmethod
    def _mount(host: Path, inside: str, mode: str = "ro") -> Sequence[str]:
        return ["--volume", f"{host.absolute()}:{inside}:{mode}"]


def docker(*arguments: str, check: bool = True) -> str:
    """Run a docker command and return its output."""
    return command("docker", *arguments, check=check)


def command(*arguments: str, check: bool = True, cwd: Path | None = None) -> str:
    """Run a command and return its output; what it said on failure becomes the error."""
    # In its own session: Ctrl-C ends us, and we end the containers, which is cleaner than both at once.
    result = subprocess.run(arguments, capture_output=True, text=True, cwd=cwd, start_new_session=True)
    if check and result.returncode:
        said = " | ".join((result.stdout + result.stderr).strip().splitlines()[-12:])
        raise ContenderFailed(f"{' '.join(arguments[:2])} failed: {said}")
    return result.stdout.strip()
