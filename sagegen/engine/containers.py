"""One container: what it is told, what it does, how it ends and what it leaves."""

from __future__ import annotations

import re
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, TYPE_CHECKING

from docker.errors import APIError, NotFound
from requests.exceptions import ConnectionError, Timeout

from sagegen.engine.archives import ARCHIVE_BYTES, FILE_BYTES, SPOOL_BYTES, File, Stream, read_tar
from sagegen.engine.connection import TROUBLE
from sagegen.errors import USAGE, SagegenError

if TYPE_CHECKING:
    from sagegen.engine.lab import Lab

LOG_LINES = 4000
LOG_TAIL_BYTES = 8 * 2**20
HEAD_BYTES = 4096
LINE_BYTES = 2**18  # of a log, as CloudWatch takes it
GPU_TROUBLE = re.compile(r"could not select device driver|nvidia-container-cli|nvidia-container-runtime")
EXEC_SECONDS = 10.0


class StartFailed(Exception):
    """Docker could not start the container: no such executable, no permission, exec format error."""


class Closed(Exception):
    """The check is being ended: nothing new may start."""


@dataclass(frozen=True)
class Volume:
    """A volume and where a container sees it."""

    name: str
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class Spec:
    """What `docker run` would be told."""

    command: tuple[str, ...]
    image: str | None = None  # None: the lab's
    entrypoint: tuple[str, ...] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[Volume, ...] = ()
    network: str | None = None  # None: no network at all
    alias: str | None = None
    hostname: str = "algo-1"
    user: str | None = None
    read_only: bool = False
    memory: int | None = None
    cpus: float | None = None
    tty: bool = False
    inside: str | None = None  # the container whose network this one shares
    neighbour: int | None = None  # the port of the one that shares this one's

    def options(self) -> list[str]:
        """The options of the `docker run` line that a person would type, volumes aside."""
        options = [f"--hostname={self.hostname}"] if not self.inside else []
        if self.network is None and not self.inside:
            options.append("--network=none")
        options += [f"--env={name}={value}" for name, value in self.environment.items()]
        if self.user:
            options.append(f"--user={self.user}")
        if self.read_only:
            options += ["--read-only", "--tmpfs=/tmp"]
        if self.memory:
            options.append(f"--memory={self.memory // 2**20}m")
        if self.cpus:
            options.append(f"--cpus={self.cpus:g}")
        if self.tty:
            options += ["--tty", "--interactive"]
        if self.entrypoint:
            options.append(f"--entrypoint={self.entrypoint[0]}")
        return options


@dataclass(frozen=True)
class Exit:
    """How a container ended, or that it had not."""

    code: int | None
    seconds: float
    finished_at: float = 0.0
    out_of_memory: bool = False

    @property
    def running(self) -> bool:
        """It had not ended when the time was up."""
        return self.code is None


@dataclass(frozen=True)
class Usage:
    """What a container holds at a moment; None where the engine, or the image, does not tell."""

    memory: int | None = None  # bytes of its processes' own memory: no page cache
    tasks: int | None = None  # threads and processes, dead ones that have no parent to collect them included
    descriptors: int | None = None  # open files, where the image has a shell
    files: int | None = None  # that it has made or changed outside every volume


class Box:
    """One container."""

    def __init__(self, lab: Lab, spec: Spec, identity: str) -> None:
        self._lab = lab
        self._api = lab.api
        self.spec = spec
        self.id = identity
        self._started = 0.0

    def __enter__(self) -> Box:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(*TROUBLE):
            self._api.remove_container(self.id, force=True, v=True)

    def write(self, folder: str, archive: IO[bytes] | bytes) -> None:
        """Unpack a tar archive, compressed or not, in a folder; files keep the owners it names."""
        self._api.put_archive(self.id, folder, archive)

    def start(self) -> None:
        """Start it."""
        self._lab.check_open()
        self._started = time.monotonic()
        try:
            self._api.start(self.id)
        except APIError as error:
            text = str(error.explanation or error)
            if self._lab.gpus and GPU_TROUBLE.search(text):
                way = "install NVIDIA's container toolkit, or leave --gpus out"
                raise SagegenError(f"the engine cannot give GPUs: {text} – {way}", USAGE) from error
            raise StartFailed(text) from error

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._started

    def state(self) -> Exit:
        """How it ended, if it has."""
        self._lab.check_open()
        state = self._api.inspect_container(self.id)["State"]
        if state["Status"] in ("created", "running", "paused", "restarting", "removing"):
            return Exit(None, self.age)
        begun, ended = _timestamp(state["StartedAt"]), _timestamp(state["FinishedAt"])
        return Exit(int(state["ExitCode"]), max(0.0, ended - begun), ended, bool(state["OOMKilled"]))

    def wait(self, seconds: float) -> Exit:
        """Wait for its end, at most so long."""
        # Asking for the state over and over would cost the engine more than many an image does.
        deadline = time.monotonic() + seconds
        while (state := self.state()).running and (left := deadline - time.monotonic()) > 0:
            with suppress(Timeout, ConnectionError, NotFound):
                self._api.wait(self.id, timeout=max(0.05, left))  # type: ignore[arg-type]
        return state

    def hurry(self) -> None:
        """Take away the limit of its CPU."""
        with suppress(*TROUBLE):
            self._api.update_container(self.id, cpu_quota=-1)

    def signal(self, name: str) -> bool:
        """Send a signal to PID 1; False where it has ended."""
        try:
            self._api.kill(self.id, name)
        except APIError:
            return False
        return True

    def stop(self, grace: float) -> Exit:
        """SIGTERM, then SIGKILL when the grace is over. The seconds are those since SIGTERM."""
        begun = time.monotonic()
        self.signal("SIGTERM")
        state = self.wait(grace)
        seconds = time.monotonic() - begun
        if state.running:
            self.signal("SIGKILL")
            return Exit(None, seconds)
        return Exit(state.code, seconds, state.finished_at, state.out_of_memory)

    def logs(self) -> list[tuple[float, str]]:
        """The end of its log: when, and what."""
        try:
            raw = self._api.logs(self.id, stdout=True, stderr=True, timestamps=True, tail=LOG_LINES)
        except TROUBLE:
            return []
        lines = []
        for line in raw[-LOG_TAIL_BYTES:].decode(errors="replace").splitlines():
            when, _, text = line.partition(" ")
            with suppress(ValueError):
                lines.append((_timestamp(when), text[:2000]))
        return lines

    def follow(self) -> Iterator[str]:
        """The lines of its log from the first on, as they come, until it ends."""
        left = b""
        for chunk in self._api.logs(self.id, stdout=True, stderr=True, stream=True, follow=True):
            *lines, left = (left + chunk).split(b"\n")
            for line in lines:
                yield line.decode(errors="replace").rstrip("\r")
            left = left[-LINE_BYTES:]
        if left:
            yield left.decode(errors="replace")

    def archive(self, folder: str) -> IO[bytes]:
        """A folder as a tar archive in a temporary file that vanishes when it is closed."""
        spool: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115
        try:
            chunks, _ = self._api.get_archive(self.id, folder, chunk_size=2**20)
            # An archive that is read in part and left open keeps the engine from removing the container.
            with closing(chunks):
                for chunk in chunks:
                    self._lab.check_open()
                    spool.write(chunk)
                    if spool.tell() > ARCHIVE_BYTES:
                        break
        except NotFound:
            spool.seek(0)
            spool.write(b"\0" * 10240)  # an empty archive
        spool.seek(0)
        return spool

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop its time for the block: what lies there now is what a sudden end would leave."""
        with suppress(*TROUBLE):
            self._api.pause(self.id)
        try:
            yield
        finally:
            with suppress(*TROUBLE):
                self._api.unpause(self.id)

    def cpu_seconds(self) -> float | None:
        """CPU time that its processes have used; None where the engine cannot tell."""
        with suppress(*TROUBLE, KeyError, TypeError):
            found = self._api.stats(self.id, stream=False, one_shot=True)
            return float(found["cpu_stats"]["cpu_usage"]["total_usage"]) / 1e9
        return None

    def sleeps(self) -> bool:
        """Whether every process waits, and not for a CPU or a disk; False where the engine cannot tell."""
        with suppress(*TROUBLE, KeyError, ValueError):
            found = self._api.top(self.id, ps_args="-o pid,stat")
            column = found["Titles"].index("STAT")
            return not any(row[column].startswith(("R", "D")) for row in found["Processes"])
        return False

    def processes(self) -> int | None:
        """How many processes it has; None where the engine cannot tell."""
        with suppress(*TROUBLE):
            return len(self._api.top(self.id)["Processes"])
        return None

    def pids(self) -> frozenset[str] | None:
        """The numbers of its living processes on the engine's machine; None where the engine cannot tell."""
        with suppress(*TROUBLE):
            found = self._api.top(self.id)
            column = found["Titles"].index("PID")
            return frozenset(row[column] for row in found["Processes"])
        return None

    def usage(self) -> Usage:
        """What it holds now."""
        memory = tasks = descriptors = files = None
        with suppress(*TROUBLE, KeyError, TypeError):
            found = self._api.stats(self.id, stream=False, one_shot=True)
            tasks = found["pids_stats"]["current"]
            detail = found["memory_stats"]["stats"]
            memory = detail["anon"] if "anon" in detail else detail["total_rss"]
        if (text := self.shell("set -- /proc/[0-9]*/fd/*; echo $#")) and text.strip().isdecimal():
            descriptors = int(text)
        with suppress(*TROUBLE):
            files = len(self._api.diff(self.id) or ())
        return Usage(memory, tasks, descriptors, files)

    def names(self, folder: str) -> list[str]:
        """The files of a folder, at any depth, by their paths in it."""
        try:
            chunks, _ = self._api.get_archive(self.id, folder)
            with tarfile.open(fileobj=Stream(iter(chunks)), mode="r|") as archive:
                return [entry.name.partition("/")[2] for entry in archive if entry.isfile()]
        except (*TROUBLE, tarfile.TarError):
            return []

    def head(self, path: str) -> bytes:
        """The beginning of a file."""
        archive = self.archive(path)
        with archive, suppress(tarfile.TarError), tarfile.open(fileobj=archive, mode="r|") as entries:
            for entry in entries:
                content = entries.extractfile(entry)
                return content.read(HEAD_BYTES) if content else b""
        return b""

    def files(self, folder: str) -> dict[str, File]:
        """What lies in a folder, by relative path, with the beginning of each file's content."""
        with self.archive(folder) as archive:
            return read_tar(archive)

    def run(self, *command: str) -> str | None:
        """The output of a command inside, as root; None where it cannot run there."""
        try:
            created = self._api.exec_create(self.id, list(command), stdin=False, tty=False, user="0")
            stream = self._api.exec_start(created["Id"], stream=True)
            output, deadline = b"", time.monotonic() + EXEC_SECONDS
            for chunk in stream:
                output += chunk
                if len(output) > FILE_BYTES or time.monotonic() > deadline:
                    break
            code = self._api.exec_inspect(created["Id"])["ExitCode"]
        except TROUBLE:
            return None
        return output.decode(errors="replace") if code in (0, None) else None

    def detach(self, *command: str) -> None:
        """Let a command run inside, as root, until the container ends."""
        created = self._api.exec_create(self.id, list(command), user="0")
        self._api.exec_start(created["Id"], detach=True)

    def shell(self, script: str) -> str | None:
        """The output of a shell script inside, however its last command ended; None without a shell."""
        return self.run("/bin/sh", "-c", f"{script}\n:")

    def kill(self, pid: str) -> bool:
        """SIGKILL to one process inside; False where there is none of this number."""
        return self.run("/bin/sh", "-c", f"kill -9 {pid}") is not None

    def address(self, port: int) -> tuple[str, int] | None:
        """Where the port can be reached from outside the container."""
        identity = self.spec.inside or self.id
        settings = self._api.inspect_container(identity)["NetworkSettings"]
        if self._lab.direct:
            for network in settings["Networks"].values():
                if network["IPAddress"]:
                    return network["IPAddress"], port
            return None
        bindings = (settings["Ports"] or {}).get(f"{port}/tcp")
        return ("127.0.0.1", int(bindings[0]["HostPort"])) if bindings else None

    def written_bytes(self) -> int:
        """Bytes written outside every volume."""
        found = self._api.containers(all=True, size=True, filters={"id": self.id})
        return int(found[0].get("SizeRw") or 0) if found else 0


def _timestamp(text: str) -> float:
    """Seconds of an RFC 3339 time with nanoseconds."""
    head, _, fraction = text.rstrip("Z").partition(".")
    if text.startswith("0001"):
        return 0.0
    return datetime.fromisoformat(f"{head}+00:00").timestamp() + float(f"0.{fraction[:9] or 0}")
