"""Connecting to an engine, and its facts."""

from __future__ import annotations

import http.client
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, DockerException, NotFound
from docker.models.containers import Container
from requests.exceptions import RequestException

from sagegen.errors import FAILED, SagegenError

OUR_LABEL = "sagegen.project"
COMPOSE_LABEL = "com.docker.compose.project"
PORT = 8080
START_TIMEOUT = 300.0


#: What the SDK raises where the engine refuses, breaks off or does not answer.
TROUBLE = (DockerException, RequestException)

Layers = list[tuple[tuple[int, str], int]]


class ContainerFailed(Exception):
    """A container that we ran did not do its job; the message holds the end of its log."""


@dataclass(frozen=True)
class Start:
    """What one serving container took."""

    seconds: float
    peak_memory_bytes: int | None


class Engine:
    """A Docker engine that answers."""

    def __init__(self, client: docker.DockerClient, host: str = "") -> None:
        self._client = client
        #: Where it answers, as DOCKER_HOST has it.
        self.host = host
        self._info: dict[str, Any] = client.info()

    @classmethod
    def connect(cls) -> Engine:
        """The engine of DOCKER_HOST or of the current docker context."""
        if not shutil.which("docker"):
            raise SagegenError("there is no docker command – install Docker, or run scripts/docker-engine")
        host = os.environ.get("DOCKER_HOST") or _context_host()
        return cls.at(host)

    @classmethod
    def at(cls, host: str) -> Engine:
        """The engine at a URL such as unix:///var/run/docker.sock or tcp://127.0.0.1:2375."""
        try:
            return cls(docker.DockerClient(base_url=host, version="auto", timeout=600), host)
        except (DockerException, OSError) as error:
            raise SagegenError(
                f"no Docker engine answers at {host} – start Docker, or run scripts/docker-engine"
            ) from error

    @property
    def client(self) -> docker.DockerClient:
        """The SDK's client, for the other modules of this package and for tests."""
        return self._client

    @property
    def version(self) -> str:
        """The engine's own version."""
        return str(self._info["ServerVersion"])

    @property
    def cpus(self) -> int:
        """CPUs that containers may use."""
        return int(self._info["NCPU"])

    def free_memory(self) -> int:
        """Bytes that containers may still use; of an engine elsewhere, all it has."""
        if self._root():
            with suppress(OSError):
                lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
                return int(lines["MemAvailable"].split()[0]) * 1024
        return int(self._info["MemTotal"])

    def disk(self) -> tuple[int, int] | None:
        """(used, free) bytes of the engine's file system, if it is on this machine."""
        if not (root := self._root()):
            return None
        usage = shutil.disk_usage(root)
        return usage.used, usage.free

    def _root(self) -> Path | None:
        root = Path(self._info["DockerRootDir"])
        with suppress(OSError):
            return root if root.is_dir() else None
        return None

    def image_bytes(self, image: str) -> int:
        """Size of all layers of `image`."""
        return int(self._client.images.get(image).attrs["Size"])

    def layers(self, image: str) -> Layers:
        """The layers of `image` from the base up: what identifies each, and its size."""
        history = self._client.images.get(image).history()
        return [
            ((entry["Created"], entry["CreatedBy"]), entry["Size"])
            for entry in reversed(history)
            if entry["Size"]
        ]

    def cold_start(self, image: str, opt_ml: Path, project: str) -> Start:
        """`docker run IMAGE serve` until /ping first answers 200."""
        with self._server(image, opt_ml, project) as container:
            begun = time.monotonic()
            container.start()
            container.reload()
            binding = container.attrs["NetworkSettings"]["Ports"][f"{PORT}/tcp"][0]
            while not _pings(binding["HostIp"], int(binding["HostPort"])):
                container.reload()
                if container.status == "exited":
                    raise ContainerFailed(f"serve ended: {_tail(container)}")
                if time.monotonic() - begun > START_TIMEOUT:
                    raise ContainerFailed(f"/ping is not 200 after {START_TIMEOUT:.0f} s: {_tail(container)}")
            return Start(time.monotonic() - begun, _peak_memory(container))

    @contextmanager
    def _server(self, image: str, opt_ml: Path, project: str) -> Iterator[Container]:
        container = self._client.containers.create(
            image,
            ["serve"],
            labels={OUR_LABEL: project},
            ports={f"{PORT}/tcp": ("127.0.0.1", 0)},  # 0: the engine picks a free one
            user=f"{os.getuid()}:{os.getgid()}",
            volumes={str(opt_ml): {"bind": "/opt/ml", "mode": "rw"}},
        )
        try:
            yield container
        finally:
            with suppress(NotFound):
                container.remove(force=True)

    def sweep(self, projects: Set[str], images: Iterable[str], keep: bool = False) -> None:
        """Remove what `projects` left: containers, compose networks and, unless kept, `images`."""
        networks = set(projects)
        for container in self._client.containers.list(all=True, ignore_removed=True):
            composed = container.labels.get(COMPOSE_LABEL, "")
            mark = container.labels.get(OUR_LABEL, composed)
            if mark in projects or container.attrs["Config"]["Image"] in images:
                networks.add(composed)  # tests name their projects themselves
                with suppress(APIError):
                    container.remove(force=True, v=True)
        for network in self._client.networks.list(filters={"label": COMPOSE_LABEL}):
            if network.attrs["Labels"][COMPOSE_LABEL] in networks:
                with suppress(APIError):
                    network.remove()
        for image in () if keep else images:
            with suppress(APIError):
                self._client.images.remove(image, force=True)

    def prune_build_cache(self) -> None:
        """Free what past builds keep and no build uses now."""
        with suppress(APIError):
            self._client.api.prune_builds(all=True)


@contextmanager
def answering(status: int = FAILED) -> Iterator[None]:
    """Turn an engine's error inside the block into a `SagegenError` of one line with this exit status."""
    try:
        yield
    except TROUBLE as error:
        text = f"the Docker engine stopped answering: {error} – start it and run again"
        raise SagegenError(text, status) from error


def _context_host() -> str:
    from docker.context import ContextAPI

    with suppress(Exception):  # an unreadable context is no reason not to try the default socket
        if (context := ContextAPI.get_current_context()) and context.Host:
            return str(context.Host)
    return "unix:///var/run/docker.sock"


def _pings(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", "/ping")
        ready = connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        ready = False
    finally:
        connection.close()
    if not ready:
        time.sleep(0.02)
    return ready


def _peak_memory(container: Container) -> int | None:
    """The kernel's own high-water mark, of cgroup v2 (Linux 5.19 on) or v1, as the container sees it."""
    for file in ("memory.peak", "memory/memory.max_usage_in_bytes"):
        status, output = container.exec_run(["cat", f"/sys/fs/cgroup/{file}"])
        if status == 0 and isinstance(output, bytes) and output.strip().isdigit():
            return int(output)
    return None


def _tail(container: Container) -> str:
    return " | ".join(container.logs(tail=5).decode(errors="replace").strip().splitlines())
