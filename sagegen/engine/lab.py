"""A lab: the containers, volumes and networks of one check, all of which go when it is closed.

Files travel through volumes, not through bind mounts: they belong to root as on SageMaker, whoever runs the
check and wherever the engine is.
"""

from __future__ import annotations

import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import IO, Any

from docker.errors import APIError
from docker.types import DeviceRequest, LogConfig, Mount

from sagegen.engine.connection import TROUBLE, Engine
from sagegen.engine.containers import Box, Closed, Spec, Volume
from sagegen.engine.sweeping import labels, remove, sweep_dead
from sagegen.errors import USAGE, SagegenError

PIDS = 512
LOG_BYTES = 4 * 2**20
CPU_PERIOD = 100_000


class Lab:
    """Runs containers, of one image where a Spec names no other, and takes everything away again."""

    def __init__(
        self,
        engine: Engine,
        image: str = "",  # none: every Spec names its own
        *,
        environment: Mapping[str, str] | None = None,
        gpus: bool = False,
        cpus: float | None = None,
        memory_share: float = 0.25,
    ) -> None:
        self.api = engine.client.api
        #: Where it answers, as DOCKER_HOST has it.
        self.host = engine.host
        self.image = image
        #: What every container is given; a Spec's own variables win.
        self.environment = environment or {}
        self.gpus = gpus
        self.cpus = cpus
        self._id = secrets.token_hex(6)
        self._labels = labels(self._id)
        self._closed = threading.Event()
        # In threads of its own, whose wait for the engine's answer Ctrl-C does not interrupt: what the engine
        # creates without telling its name could not be removed.
        self._creations = ThreadPoolExecutor(thread_name_prefix="create")
        self._lock = threading.Lock()
        self._networks: dict[bool, str] = {}
        self._pulled: set[str] = set()
        info: dict[str, Any] = engine.client.info()
        self.memory = max(2 * 2**30, int(info["MemTotal"] * memory_share))
        # A container's own address is the surest way in; where it cannot be reached, ports are published.
        self.direct = (
            sys.platform == "linux"
            and "Docker Desktop" not in info["OperatingSystem"]
            and self.api.base_url.startswith("http+docker://")
        )
        found = self.inspect(image) if image else {}
        if found is None:
            raise SagegenError(f"there is no image {image} – build it, or docker pull it", USAGE)
        self.attributes: dict[str, Any] = found
        sweep_dead(self.api)

    def inspect(self, image: str) -> dict[str, Any] | None:
        """What the engine knows of an image; None where it has none of this name."""
        try:
            return dict(self.api.inspect_image(image))  # type: ignore[no-untyped-call]
        except APIError as error:
            if error.status_code not in (400, 404):  # 400: no image can have this name
                raise
            return None

    def pull(self, repository: str, digest: str, login: Mapping[str, str]) -> str:
        """Fetch an image from a registry; the engine forgets it when the lab is closed."""
        name = f"{repository}@{digest}"
        if name not in self._pulled:
            self.api.pull(repository, tag=digest, auth_config=dict(login))
            self._pulled.add(name)
        return name

    def close(self) -> None:
        """Remove every container, network and volume of this check."""
        self._closed.set()
        self._creations.shutdown()  # what was asked for is there now, and nothing can be asked for any more
        for attempt in range(5):
            with suppress(*TROUBLE):
                if not remove(self.api, self._id):
                    break
            time.sleep(0.2 * attempt)
        for image in self._pulled:
            with suppress(*TROUBLE):
                self.api.remove_image(image)

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

    def network(self, way_out: bool = False) -> str:
        """The network, with or without a way out, of every container that need not find another."""
        with self._lock:
            if way_out not in self._networks:
                self._networks[way_out] = self._new_network(way_out)
            return self._networks[way_out]

    @contextmanager
    def cluster(self, way_out: bool = False) -> Iterator[str]:
        """A network for hosts that find each other by name. Engines have few of them."""
        name = self._new_network(way_out)
        try:
            yield name
        finally:
            with suppress(*TROUBLE):
                self.api.remove_network(name)

    def _new_network(self, way_out: bool) -> str:
        options = (
            {} if self.direct or way_out else {"com.docker.network.bridge.enable_ip_masquerade": "false"}
        )
        name = f"sagegen-check-{self._id}-{secrets.token_hex(3)}"
        self._create(
            self.api.create_network,
            name,
            driver="bridge",
            internal=self.direct and not way_out,
            labels=self._labels,
            options=options,
        )
        return name

    def volume(self, archive: IO[bytes] | bytes | None = None, image: str | None = None) -> str:
        """A volume with the files of a tar archive, perhaps compressed; a container of `image` unpacks it."""
        name = f"sagegen-check-{self._id}-{secrets.token_hex(3)}"
        self._create(self.api.create_volume, name, labels=self._labels)
        if archive is not None:
            volumes = (Volume(name, "/volume"),)
            spec = Spec(command=("fill",), image=image, entrypoint=("fill",), volumes=volumes)
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
            endpoint = self.api.create_endpoint_config(aliases=[spec.alias] if spec.alias else None)
            networking = self.api.create_networking_config({spec.network: endpoint})  # type: ignore[arg-type]
        created = self._create(
            self.api.create_container,
            spec.image or self.image,
            list(spec.command),
            entrypoint=list(spec.entrypoint) if spec.entrypoint else None,
            environment={**self.environment, **spec.environment},
            hostname=spec.hostname if not spec.inside else None,
            user=spec.user,
            tty=spec.tty,
            stdin_open=spec.tty,
            labels=self._labels,
            ports=list(host["port_bindings"]) if "port_bindings" in host else None,
            host_config=self.api.create_host_config(**host),
            networking_config=networking,
        )
        return Box(self, spec, created["Id"])
