"""Models: an image and an artifact under a name, and the containers that serve one."""

from __future__ import annotations

import http.client
import shutil
import tarfile
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from botocore.exceptions import ClientError

from sagegen.engine import SPOOL_BYTES, TROUBLE, Closed, StartFailed
from sagegen.local.cloud import Cloud, Records, listed, now, place
from sagegen.local.identities import assume
from sagegen.local.images import Images
from sagegen.local.logs import LogStream
from sagegen.local.wire import Handler, invalid, not_emulated
from sagegen.platform import PORT, limits, serving

PING_PAUSE = 0.1  # between pings of a server that starts
CONNECT_SECONDS = 2.0  # SageMaker waits 250 ms (S-21), on machines with less to do


class Models:
    """The operations on models."""

    def __init__(self, cloud: Cloud, images: Images) -> None:
        self.cloud, self.images = cloud, images
        self.records = Records(cloud, "model", "model")
        self._volumes: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()
        self.handlers: dict[str, Handler] = {
            "CreateModel": self.create,
            "DescribeModel": lambda given: self.records.get(given["ModelName"]),
            "DeleteModel": lambda given: self.records.remove(given["ModelName"]) and None,
            "ListModels": lambda given: listed(list(self.records), given, "Models", name="ModelName"),
        }

    def create(self, given: dict[str, Any]) -> dict[str, Any]:
        """Judge a request, and keep the model."""
        if given.get("InferenceExecutionConfig") or len(given.get("Containers", ())) > 1:
            raise not_emulated("pipelines of several containers")
        if bool(given.get("PrimaryContainer")) == bool(given.get("Containers")):
            raise invalid("Exactly one of PrimaryContainer and Containers must be given")
        part = container(given)
        if not part.get("Image"):
            raise not_emulated("models without an Image (ModelPackageName)")
        if part.get("Mode", "SingleModel") != "SingleModel":
            raise not_emulated("multi-model endpoints (Mode MultiModel)")
        for name in (
            "ModelDataSource",
            "AdditionalModelDataSources",
            "ImageConfig",
            "InferenceSpecificationName",
        ):
            if part.get(name):
                raise not_emulated(f"{name} of a container")
        if role := given.get("ExecutionRoleArn"):
            assume(self.cloud, role)
        self.images.find(part["Image"], hosting=True)
        if (artifact := part.get("ModelDataUrl")) and not self.cloud.storage(role).exists(artifact):
            raise invalid(f"Could not find model data at {artifact}.")
        name = given["ModelName"]
        record = {
            "EnableNetworkIsolation": False,
            **given,
            "ModelArn": self.records.arn(name),
            "CreationTime": now(),
        }
        self.records.add(name, record)
        self.cloud.tag(record["ModelArn"], given)
        return {"ModelArn": record["ModelArn"]}

    def volume(self, artifact: str, image: str, role: str | None) -> str:
        """The volume with an artifact's files, made once for each content. Raises RuntimeError."""
        bucket, key = place(artifact)
        try:
            tag = self.cloud.client("s3", role).head_object(Bucket=bucket, Key=key)["ETag"]
        except ClientError:
            text = f'Could not access model data at {artifact}. Please ensure that the role "{role}" exists'
            raise RuntimeError(f"{text} and that its policies allow s3:GetObject on it.") from None
        with self._lock:
            if (artifact, tag) not in self._volumes:
                self._volumes[artifact, tag] = self._unpack(artifact, image, role)
            return self._volumes[artifact, tag]

    def _unpack(self, artifact: str, image: str, role: str | None) -> str:
        bucket, key = place(artifact)
        with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as spool:
            shutil.copyfileobj(self.cloud.storage(role).read(bucket, key), spool)
            spool.seek(0)
            try:
                with tarfile.open(fileobj=spool, mode="r|gz") as archive:
                    bad = [entry.name for entry in archive if not (entry.isfile() or entry.isdir())]
            except (tarfile.TarError, OSError, EOFError) as error:
                raise RuntimeError(
                    f'Failed to extract model data archive from URL "{artifact}": {error}'
                ) from error
            if bad:
                raise RuntimeError(
                    f'The model data at "{artifact}" has a link or a special file: {bad[0]} (S-43)'
                )
            spool.seek(0)
            return self.cloud.lab.volume(spool, image)


def container(model: Mapping[str, Any]) -> dict[str, Any]:
    """A model's only container."""
    found: dict[str, Any] = model.get("PrimaryContainer") or model["Containers"][0]
    return found


class Trouble(Exception):
    """A server that did not come up, in the words of FailureReason."""


class TimedOut(Exception):
    """A server that did not answer in time."""


class Server:
    """One container that serves one model."""

    def __init__(
        self,
        models: Models,
        model: Mapping[str, Any],
        group: str,
        stream: str,
        environment: Mapping[str, str] | None = None,
        **limited: Any,
    ) -> None:
        part, cloud = container(model), models.cloud
        self.cloud, self.model = cloud, model
        self.image = models.images.find(part["Image"], hosting=True)
        role, artifact = model.get("ExecutionRoleArn"), part.get("ModelDataUrl")
        volume = models.volume(artifact, self.image.identity, role) if artifact else None
        network = cloud.lab.network(way_out=not model["EnableNetworkIsolation"])
        spec = serving(
            volume or cloud.lab.volume(), network, {**part.get("Environment", {}), **(environment or {})}
        )
        self._box = cloud.lab.container(replace(spec, image=self.image.identity, **limited))
        self.log = LogStream(cloud, group, stream, role)
        self.busy = 0
        self._address: tuple[str, int] | None = None

    def start(self, seconds: float, words: str) -> None:
        """Start it, and ping it until it is healthy (S-11, S-13). Raises Trouble where it never is."""
        refused = (
            f"{words} did not pass the ping health check. Please check CloudWatch logs for this endpoint."
        )
        try:
            self._box.start()
        except StartFailed as error:
            raise Trouble(f"{words} cannot start: {error}") from error
        self.log.follow(self._box)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.pings():
                return
            if not self._box.state().running:
                raise Trouble(refused)
            if self.cloud.pause(PING_PAUSE):
                raise Trouble("the emulator was ended")
        raise Trouble(refused)

    @property
    def running(self) -> bool:
        """Whether its container has not ended."""
        try:
            return self._box.state().running
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
        self._address = self._address or self._box.address(PORT)
        if self._address is None:
            raise ConnectionRefusedError("the container has no address")
        connection = http.client.HTTPConnection(*self._address, timeout=min(seconds, CONNECT_SECONDS))
        try:
            connection.connect()
        except TimeoutError:
            raise ConnectionRefusedError("no connection") from None
        connection.sock.settimeout(seconds)
        return connection

    def end(self, seconds: float = limits.INVOCATION) -> None:
        """Let it answer what it has, then SIGTERM, 30 s, SIGKILL (S-03)."""
        deadline = time.monotonic() + seconds
        while self.busy and time.monotonic() < deadline and not self.cloud.pause(0.02):
            pass
        with suppress(Closed, *TROUBLE), self._box as box:
            if box.state().running and not self.cloud.closed:
                box.stop(limits.STOP_SERVING)
            self.log.close()


def whole(answer: http.client.HTTPResponse, size: int) -> None:
    """Raise where a response ended before its own Content-Length: it must not pass for an answer."""
    wanted = answer.getheader("Content-Length")
    if wanted is not None and int(wanted) != size:
        raise http.client.HTTPException(f"the response has {size} bytes of {wanted}")
