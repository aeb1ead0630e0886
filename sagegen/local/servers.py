"""The containers that serve a model: alone, one after the other, or one with many models."""

from __future__ import annotations

import hashlib
import http.client
import json
import tarfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from botocore.exceptions import ClientError

from sagegen.engine import TROUBLE, Closed, StartFailed, Volume
from sagegen.local.cloud import place
from sagegen.local.data import Tree
from sagegen.local.logs import LogStream
from sagegen.local.models import Models, containers, is_multi
from sagegen.local.wire import Fault
from sagegen.platform import PORT, limits, serving

PING_PAUSE = 0.1  # between pings of a server that starts
CONNECT_SECONDS = 2.0  # SageMaker waits 250 ms (S-21), on machines with less to do
MODELS = "/opt/ml/models"  # M-02
SAFE_PORTS, SAFE_SHARE = 9200, 50  # of a pipeline's containers (S-52)


class Trouble(Exception):
    """A server that did not come up, in the words of FailureReason."""


class TimedOut(Exception):
    """A server that did not answer in time."""


class Container:
    """One container that serves; in a pipeline it listens on a port of its own (S-50)."""

    def __init__(
        self,
        models: Models,
        model: Mapping[str, Any],
        part: Mapping[str, Any],
        log: LogStream,
        port: int,
        environment: Mapping[str, str],
        **limited: Any,
    ) -> None:
        self.cloud, self.log, self._port = models.cloud, log, port
        self.image = models.images.find(part["Image"], hosting=True)
        lab, role, artifact = models.cloud.lab, model.get("ExecutionRoleArn"), part.get("ModelDataUrl")
        network = lab.network(way_out=not model["EnableNetworkIsolation"])
        told = {**part.get("Environment", {}), **environment}
        if is_multi(part):
            spec = serving(None, network, {**told, "SAGEMAKER_MULTI_MODEL": "true"})
            spec = replace(spec, volumes=(Volume(lab.volume(), MODELS),))
        else:
            volume = models.volume(artifact, self.image.identity, role) if artifact else lab.volume()
            spec = serving(volume, network, told)
        self.box = lab.container(replace(spec, image=self.image.identity, **limited))
        self._address: tuple[str, int] | None = None

    def start(self, seconds: float, words: str) -> None:
        """Start it, and ping it until it is healthy (S-11, S-13). Raises Trouble where it never is."""
        refused = (
            f"{words} did not pass the ping health check. Please check CloudWatch logs for this endpoint."
        )
        try:
            self.box.start()
        except StartFailed as error:
            raise Trouble(f"{words} cannot start: {error}") from error
        self.log.follow(self.box)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.pings():
                return
            if not self.box.state().running:
                raise Trouble(refused)
            if self.cloud.pause(PING_PAUSE):
                raise Trouble("the emulator was ended")
        raise Trouble(refused)

    @property
    def running(self) -> bool:
        """Whether its container has not ended."""
        try:
            return self.box.state().running
        except (Closed, *TROUBLE):
            return False

    def pings(self) -> bool:
        """Whether /ping answers 200 within 2 s (S-12)."""
        try:
            return self.ask("GET", "/ping", seconds=limits.PING)[0] == 200
        except (OSError, http.client.HTTPException, TimedOut):
            return False

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = limits.INVOCATION,
    ) -> tuple[int, dict[str, str], bytes]:
        """(status, headers, body). Raises TimedOut, OSError or HTTPException."""
        # A connection for each request: 0.3 ms, and none that the server has just closed.
        deadline = time.monotonic() + seconds
        connection = self._connect(seconds)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            content = bytearray()
            while chunk := answer.read1(2**16):
                content += chunk
                if (left := deadline - time.monotonic()) <= 0:
                    raise TimedOut
                if connection.sock:
                    connection.sock.settimeout(left)
        except TimeoutError:
            raise TimedOut from None
        finally:
            connection.close()
        whole(answer, len(content))
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, bytes(content)

    def open(self, body: bytes, headers: Mapping[str, str], seconds: float) -> http.client.HTTPResponse:
        """A response whose body is still to be read."""
        connection = self._connect(seconds)
        connection.request("POST", "/invocations", body, dict(headers))
        return connection.getresponse()

    def _connect(self, seconds: float) -> http.client.HTTPConnection:
        self._address = self._address or self.box.address(self._port)
        if self._address is None:
            raise ConnectionRefusedError("the container has no address")
        connection = http.client.HTTPConnection(*self._address, timeout=min(seconds, CONNECT_SECONDS))
        try:
            connection.connect()
        except TimeoutError:
            raise ConnectionRefusedError("no connection") from None
        connection.sock.settimeout(seconds)
        return connection

    def end(self) -> None:
        """SIGTERM, 30 s, SIGKILL (S-03)."""
        with suppress(Closed, *TROUBLE), self.box as box:
            if box.state().running and not self.cloud.closed:
                box.stop(limits.STOP_SERVING)
            self.log.close()


class Server:
    """What answers for one instance: a model's containers, each fed with the answer of the one before."""

    def __init__(
        self,
        models: Models,
        model: Mapping[str, Any],
        group: str,
        stream: str,
        environment: Mapping[str, str] | None = None,
        **limited: Any,
    ) -> None:
        self.cloud, self.busy = models.cloud, 0
        parts, role = containers(model), model.get("ExecutionRoleArn")
        self.names = ["primary"]
        if len(parts) > 1:
            self.names = [
                one.get("ContainerHostname") or f"container-{number}" for number, one in enumerate(parts, 1)
            ]
        self.containers: list[Container] = []
        try:
            for number, part in enumerate(parts):
                told, log = dict(environment or {}), stream
                if len(parts) > 1:
                    first = SAFE_PORTS + SAFE_SHARE * number
                    told["SAGEMAKER_BIND_TO_PORT"] = str(PORT + number)
                    told["SAGEMAKER_SAFE_PORT_RANGE"] = f"{first}-{first + SAFE_SHARE - 1}"
                    log = f"{stream}/{self.names[number]}"
                written = LogStream(models.cloud, group, log, role)
                self.containers.append(
                    Container(models, model, part, written, PORT + number, told, **limited)
                )
        except BaseException:
            self.end(0)
            raise
        self.shelf = Shelf(self.containers[0], models, parts[0], role) if is_multi(parts[0]) else None

    @property
    def log(self) -> LogStream:
        """The first container's log."""
        return self.containers[0].log

    def start(self, seconds: float, words: str) -> None:
        """Start all, and ping them until they are healthy. Raises Trouble where one never is."""
        end = time.monotonic() + seconds
        for container in self.containers:
            container.start(end - time.monotonic(), words)

    @property
    def running(self) -> bool:
        """Whether no container has ended."""
        return all(one.running for one in self.containers)

    def pings(self) -> bool:
        """Whether every container is healthy."""
        return all(one.pings() for one in self.containers)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = limits.INVOCATION,
    ) -> tuple[int, dict[str, str], bytes]:
        """The last container's (status, headers, body), or those of the first that answers no 2xx.

        The header `container` says which one it is. Raises TimedOut, OSError or HTTPException.
        """
        end, sent = time.monotonic() + seconds, dict(headers or {})
        chain = self.containers if method == "POST" else self.containers[:1]
        for number, container in enumerate(chain):
            last, name = container is chain[-1], self.names[number]
            own = {key: value for key, value in sent.items() if last or key.lower() != "accept"}
            status, got, content = container.ask(method, path, body, own, end - time.monotonic())
            if last or not 200 <= status < 300:
                break
            body = content
            sent = {key: value for key, value in sent.items() if key.lower() != "content-type"}
            sent["content-type"] = got.get("content-type", "application/octet-stream")
        return status, {**got, "container": name}, content

    def open(self, body: bytes, headers: Mapping[str, str], seconds: float) -> http.client.HTTPResponse:
        """A response of the only container, whose body is still to be read."""
        return self.containers[0].open(body, headers, seconds)

    def end(self, seconds: float = limits.INVOCATION) -> None:
        """Let it answer what it has, then end its containers."""
        deadline = time.monotonic() + seconds
        while self.busy and time.monotonic() < deadline and not self.cloud.pause(0.02):
            pass
        for container in self.containers:
            container.end()


class Shelf:
    """The models of a container that serves several: each is loaded when it is asked for first (M-04)."""

    def __init__(
        self, container: Container, models: Models, part: Mapping[str, Any], role: str | None
    ) -> None:
        self.container, self.models, self.role = container, models, role
        self.prefix = str(part["ModelDataUrl"]).rstrip("/")
        self._loaded: dict[str, str] = {}  # {target: name}, the longest unused first
        self._copied: set[str] = set()
        self._lock, self._loading = threading.Lock(), threading.Lock()

    def invoke(
        self, target: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        """(status, headers, body) of a model. Raises Fault, TimedOut, OSError or HTTPException."""
        end = time.monotonic() + limits.INVOCATION
        name = self._known(target)
        if name is None:
            with self._loading:  # one at a time; models that are loaded answer meanwhile (M-11)
                name = self._known(target) or hashlib.sha256(target.encode()).hexdigest()
                if target not in self._loaded and (refused := self._load(target, name)):
                    return refused
                self._loaded[target] = name
        return self.container.ask("POST", f"/models/{name}/invoke", body, headers, end - time.monotonic())

    def _known(self, target: str) -> str | None:
        """The name of a loaded model, which is now the one used last."""
        with self._lock:
            if name := self._loaded.pop(target, None):
                self._loaded[target] = name
            return name

    def _load(self, target: str, name: str) -> tuple[int, dict[str, str], bytes] | None:
        """Let the container load a model; its answer where it does not. Others make room (507)."""
        if name not in self._copied:
            self._copy(target, name)
            self._copied.add(name)
        asked = json.dumps({"model_name": name, "url": f"{MODELS}/{name}/model"}).encode()
        kind = {"Content-Type": "application/json"}
        while True:
            status, got, content = self.container.ask("POST", "/models", asked, kind, limits.INVOCATION)
            if 200 <= status < 300 or status == 409:
                return None
            oldest = None
            if status == 507:
                with self._lock:
                    oldest = self._loaded.pop(next(iter(self._loaded), ""), None)
            if oldest is None:
                return status, got, content
            self.container.ask("DELETE", f"/models/{oldest}")

    def _copy(self, target: str, name: str) -> None:
        uri = f"{self.prefix}/{target.lstrip('/')}"
        tree = Tree()
        tree.folder(f"{name}/model")
        try:
            with (
                self.models.archive(uri, self.role) as spool,
                tarfile.open(fileobj=spool, mode="r|gz") as found,
            ):
                for entry in found:
                    if entry.isfile() and (content := found.extractfile(entry)):
                        tree.stream(f"{name}/model/{entry.name}", content, entry.size)
        except ClientError:
            bucket, key = place(uri)
            text = (
                f"Failed to download model data(bucket: {bucket}, key: {key}). Please ensure that there is an"
                " object located at the URL and that the role passed to CreateModel has permissions to"
                " download the model."
            )
            raise Fault("ValidationError", text) from None
        except RuntimeError as error:
            raise Fault("ValidationError", str(error)) from None
        with tree.done() as archive:
            self.container.box.write(MODELS, archive)


def whole(answer: http.client.HTTPResponse, size: int) -> None:
    """Raise where a response ended before its own Content-Length: it must not pass for an answer."""
    wanted = answer.getheader("Content-Length")
    if wanted is not None and int(wanted) != size:
        raise http.client.HTTPException(f"the response has {size} bytes of {wanted}")
