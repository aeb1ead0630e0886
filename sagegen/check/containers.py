"""What the check asks of Docker: bounded containers, volumes and networks that leave no trace.

Files travel through volumes, not through bind mounts: they belong to root as on SageMaker, whoever runs the
check and wherever the engine is.
"""

from __future__ import annotations

import io
import os
import re
import secrets
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, Any

import requests
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.types import DeviceRequest, LogConfig, Mount

from sagegen.engine import Engine
from sagegen.errors import USAGE, SagegenError

LABEL = "sagegen.check"
PID_LABEL = f"{LABEL}.pid"
PIDS = 512
LOG_BYTES = 4 * 2**20
LOG_LINES = 4000
FILE_BYTES = 2**20
ARCHIVE_BYTES = 16 * 2**30
SPOOL_BYTES = 32 * 2**20
CPU_PERIOD = 100_000
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
class File:
    """One entry of a folder in a container."""

    kind: str
    size: int
    mode: int
    modified: float
    target: str = ""
    content: bytes = b""


@dataclass(frozen=True)
class Found:
    """One file of the image: f, d or l as `find` says it, and the beginning of a program's content."""

    path: str
    kind: str
    mode: int
    size: int
    target: str = ""
    head: bytes = b""


#: Whose first bytes are looked at.
PROGRAMS = ("train", "serve")
HEAD_BYTES = 4096
FOUND = r"%y\t%m\t%s\t%p\t%l\n"
FIND_SECONDS = 60.0


class Lab:
    """Runs containers of one image, and takes everything away again."""

    def __init__(
        self,
        engine: Engine,
        image: str,
        *,
        gpus: bool = False,
        cpus: float | None = None,
        memory_share: float = 0.25,
    ) -> None:
        self._client = engine.client
        self._api = engine.client.api
        self.image = image
        self.gpus = gpus
        self.cpus = cpus
        self._id = secrets.token_hex(6)
        self._labels = {LABEL: self._id, PID_LABEL: str(os.getpid())}
        self._closed = threading.Event()
        # Not in the main thread, where Ctrl-C would leave to the engine what nobody knows of yet.
        self._creations = ThreadPoolExecutor(thread_name_prefix="create")
        self._lock = threading.Lock()
        self._network: str | None = None
        info: dict[str, Any] = engine.client.info()
        self.memory = max(2 * 2**30, int(info["MemTotal"] * memory_share))
        # A container's own address is the surest way in; where it cannot be reached, ports are published.
        self.direct = (
            sys.platform == "linux"
            and "Docker Desktop" not in info["OperatingSystem"]
            and self._api.base_url.startswith("http+docker://")
        )
        try:
            self.attributes: dict[str, Any] = self._api.inspect_image(image)  # type: ignore[no-untyped-call]
        except ImageNotFound as error:
            raise SagegenError(f"there is no image {image} – build it, or docker pull it", USAGE) from error

    def close(self) -> None:
        """Remove every container, network and volume of this check."""
        self._closed.set()
        self._creations.shutdown()  # what was asked for is there now, and nothing can be asked for any more
        ours = {"label": f"{LABEL}={self._id}"}
        for attempt in range(5):
            with suppress(DockerException, requests.RequestException):
                containers = self._api.containers(all=True, filters=ours)
                for container in containers:
                    with suppress(DockerException):
                        self._api.remove_container(container["Id"], force=True, v=True)
                for network in self._api.networks(filters=ours):
                    with suppress(DockerException):
                        self._api.remove_network(network["Id"])
                for volume in self._api.volumes(filters=ours)["Volumes"] or []:
                    with suppress(DockerException):
                        self._api.remove_volume(volume["Name"], force=True)
                left = self._api.containers(all=True, filters=ours) or self._api.networks(filters=ours)
                if not left and not self._api.volumes(filters=ours)["Volumes"]:
                    return
            time.sleep(0.2 * attempt)

    def check_open(self) -> None:
        """Raise where the check is being ended."""
        if self._closed.is_set():
            raise Closed

    def _create(self, ask: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """What the engine answers to a request to create something, which `close` waits for."""
        try:
            answer = self._creations.submit(ask, *arguments, **options)
        except RuntimeError:  # nothing is taken any more
            raise Closed from None
        return answer.result()

    def pause(self, seconds: float) -> None:
        """Wait, or raise as soon as the check is being ended."""
        if self._closed.wait(seconds):
            raise Closed

    def network(self) -> str:
        """The network, without a way out, of every container that need not find another."""
        with self._lock:
            self._network = self._network or self._new_network()
            return self._network

    @contextmanager
    def cluster(self) -> Iterator[str]:
        """A network, without a way out, for hosts that find each other by name. Engines have few of them."""
        name = self._new_network()
        try:
            yield name
        finally:
            with suppress(DockerException, requests.RequestException):
                self._api.remove_network(name)

    def _new_network(self) -> str:
        options = {} if self.direct else {"com.docker.network.bridge.enable_ip_masquerade": "false"}
        name = f"sagegen-check-{self._id}-{secrets.token_hex(3)}"
        self._create(
            self._api.create_network,
            name,
            driver="bridge",
            internal=self.direct,
            labels=self._labels,
            options=options,
        )
        return name

    def volume(self, archive: IO[bytes] | bytes | None = None) -> str:
        """A volume with the files of a tar archive."""
        name = f"sagegen-check-{self._id}-{secrets.token_hex(3)}"
        self._create(self._api.create_volume, name, labels=self._labels)
        if archive is not None:
            spec = Spec(command=("fill",), entrypoint=("fill",), volumes=(Volume(name, "/volume"),))
            with self.container(spec) as box:
                box.write("/volume", archive)
        return name

    def container(self, spec: Spec) -> Box:
        """A container that is created and not yet started."""
        cpus = spec.cpus or self.cpus
        host: dict[str, Any] = {
            "mounts": [
                Mount(v.target, v.name, type="volume", read_only=v.read_only, no_copy=True)
                for v in spec.volumes
            ],
            "mem_limit": spec.memory or self.memory,
            "memswap_limit": spec.memory or self.memory,
            "pids_limit": PIDS,
            "cpu_period": CPU_PERIOD if cpus else None,
            "cpu_quota": int(cpus * CPU_PERIOD) if cpus else None,
            "log_config": LogConfig(type="json-file", config={"max-size": f"{LOG_BYTES}", "max-file": "2"}),
            "read_only": spec.read_only,
            "tmpfs": {"/tmp": "mode=1777"} if spec.read_only else None,
            "network_mode": spec.network or (f"container:{spec.inside}" if spec.inside else "none"),
            "device_requests": [DeviceRequest(count=-1, capabilities=[["gpu"]])] if self.gpus else None,
        }
        if spec.network and not self.direct:
            port = int(spec.environment.get("SAGEMAKER_BIND_TO_PORT", 8080))
            host["port_bindings"] = {one: ("127.0.0.1",) for one in (port, spec.neighbour) if one}
        networking = None
        if spec.network:
            endpoint = self._api.create_endpoint_config(aliases=[spec.alias] if spec.alias else None)
            networking = self._api.create_networking_config({spec.network: endpoint})  # type: ignore[arg-type]
        created = self._create(
            self._api.create_container,
            self.image,
            list(spec.command),
            entrypoint=list(spec.entrypoint) if spec.entrypoint else None,
            environment=dict(spec.environment),
            hostname=spec.hostname if not spec.inside else None,
            user=spec.user,
            tty=spec.tty,
            stdin_open=spec.tty,
            labels=self._labels,
            ports=list(host["port_bindings"]) if "port_bindings" in host else None,
            host_config=self._api.create_host_config(**host),
            networking_config=networking,
        )
        return Box(self, spec, created["Id"])

    def manifest_type(self) -> str | None:
        """The media type of the image's manifest in its registry, if it names one that answers."""
        registry = self.image.split("/")[0]
        if "/" not in self.image or not ("." in registry or ":" in registry or registry == "localhost"):
            return None
        with suppress(DockerException, requests.RequestException):
            found = self._api.inspect_distribution(self.image)  # type: ignore[no-untyped-call]
            return str(found["Descriptor"]["mediaType"])
        return None

    def history(self) -> list[str]:
        """The commands that built the image."""
        layers = self._api.history(self.image)  # type: ignore[no-untyped-call]
        return [str(layer.get("CreatedBy") or "") for layer in layers]

    def find(self, conditions: Sequence[str]) -> list[Found] | None:
        """What the image's own `find` finds; None where it has none that is GNU's."""
        searched = ("/", "(", "-path", "/proc", "-o", "-path", "/sys", "-o", "-path", "/dev", ")", "-prune")
        command = (*searched, "-o", "(", *conditions, ")", "-printf", FOUND)
        with self.container(Spec(command=command, entrypoint=("find",), user="0")) as box:
            try:
                box.start()
            except StartFailed:
                return None
            ended = box.wait(FIND_SECONDS)
            lines = [text for _, text in box.logs()]
            if ended.code != 0 or len(lines) >= LOG_LINES:
                return None
            found = []
            for line in lines:
                kind, mode, size, path, target = [*line.split("\t"), "", "", "", ""][:5]
                if not path.startswith("/") or not re.fullmatch("[0-7]+", mode) or not size.isdecimal():
                    return None
                program = kind == "f" and path.rsplit("/", 1)[-1] in PROGRAMS
                found.append(
                    Found(path, kind, int(mode, 8), int(size), target, box.head(path) if program else b"")
                )
            return found

    def export(self) -> Iterator[Found]:
        """Every file of the image, the slow way: through an archive of all of them."""
        with self.container(Spec(command=("export",), entrypoint=("export",))) as box:
            stream = self._api.export(box.id, chunk_size=2**20)
            with tarfile.open(fileobj=_Stream(stream), mode="r|", errorlevel=0) as archive:
                for entry in archive:
                    self.check_open()
                    head = b""
                    if entry.isfile() and entry.name.rsplit("/", 1)[-1] in PROGRAMS:
                        content = archive.extractfile(entry)
                        head = content.read(HEAD_BYTES) if content else b""
                    kind = "d" if entry.isdir() else "l" if entry.issym() else "f"
                    path = "/" + entry.name.removeprefix("./").strip("/")
                    yield Found(path, kind, entry.mode, entry.size, entry.linkname, head)
                    archive.members = []  # type: ignore[attr-defined]


class Box:
    """One container."""

    def __init__(self, lab: Lab, spec: Spec, identity: str) -> None:
        self._lab = lab
        self._api = lab._api
        self.spec = spec
        self.id = identity
        self._started = 0.0

    def __enter__(self) -> Box:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(DockerException, requests.RequestException):
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
            with suppress(requests.Timeout, requests.ConnectionError, NotFound):
                self._api.wait(self.id, timeout=max(0.05, left))  # type: ignore[arg-type]
        return state

    def hurry(self) -> None:
        """Take away the limit of its CPU."""
        with suppress(DockerException):
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
        except (DockerException, requests.RequestException):
            return []
        lines = []
        for line in raw[-2 * LOG_BYTES :].decode(errors="replace").splitlines():
            when, _, text = line.partition(" ")
            with suppress(ValueError):
                lines.append((_timestamp(when), text[:2000]))
        return lines

    def archive(self, folder: str) -> IO[bytes]:
        """A folder as a tar archive in a temporary file that vanishes when it is closed."""
        spool: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115
        try:
            chunks, _ = self._api.get_archive(self.id, folder, chunk_size=2**20)
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
        with suppress(DockerException):
            self._api.pause(self.id)
        try:
            yield
        finally:
            with suppress(DockerException):
                self._api.unpause(self.id)

    def processes(self) -> int | None:
        """How many processes it has; None where the engine cannot tell."""
        with suppress(DockerException):
            return len(self._api.top(self.id)["Processes"])
        return None

    def names(self, folder: str) -> list[str]:
        """The files of a folder, at any depth, by their paths in it."""
        try:
            chunks, _ = self._api.get_archive(self.id, folder)
            with tarfile.open(fileobj=_Stream(iter(chunks)), mode="r|") as archive:
                return [entry.name.partition("/")[2] for entry in archive if entry.isfile()]
        except (DockerException, tarfile.TarError):
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
        except (DockerException, requests.RequestException):
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


def read_tar(archive: IO[bytes]) -> dict[str, File]:
    """The entries of an archive of one folder, without that folder's own name."""
    found: dict[str, File] = {}
    kinds = {tarfile.DIRTYPE: "folder", tarfile.SYMTYPE: "symlink", tarfile.LNKTYPE: "hard link"}
    with suppress(tarfile.TarError), tarfile.open(fileobj=archive, mode="r|") as entries:
        for entry in entries:
            path = entry.name.partition("/")[2].rstrip("/")
            if not path:
                continue
            kind = "file" if entry.isfile() else kinds.get(entry.type, "special file")
            content = b""
            if entry.isfile() and (source := entries.extractfile(entry)):
                content = source.read(FILE_BYTES)
            found[path] = File(kind, entry.size, entry.mode, entry.mtime, entry.linkname, content)
    return found


def make_tar(files: Mapping[str, bytes | None], modes: Sequence[tuple[str, int]] = ()) -> bytes:
    """An archive of files that belong to root; None makes a folder."""
    buffer = io.BytesIO()
    changed = dict(modes)
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.mtime = time.time()
            if content is None:
                entry.type, entry.mode = tarfile.DIRTYPE, changed.get(name, 0o755)
                archive.addfile(entry)
            else:
                entry.size, entry.mode = len(content), changed.get(name, 0o644)
                archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _timestamp(text: str) -> float:
    """Seconds of an RFC 3339 time with nanoseconds."""
    head, _, fraction = text.rstrip("Z").partition(".")
    if text.startswith("0001"):
        return 0.0
    return datetime.fromisoformat(f"{head}+00:00").timestamp() + float(f"0.{fraction[:9] or 0}")


class _Stream(io.RawIOBase):
    """An iterator of chunks as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while len(self._left) < size or size < 0:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._left += chunk
        if size < 0:
            size = len(self._left)
        data, self._left = self._left[:size], self._left[size:]
        return data
