"""Models: images and artifacts under a name."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

from botocore.exceptions import ClientError

from sagegen.engine import SPOOL_BYTES
from sagegen.local.cloud import Cloud, Records, listed, now, place
from sagegen.local.identities import assume
from sagegen.local.images import Images
from sagegen.local.wire import Handler, invalid, not_emulated


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
        if given.get("InferenceExecutionConfig", {}).get("Mode", "Serial") != "Serial":
            raise not_emulated("direct invocation of one container of several (Mode Direct)")
        if bool(given.get("PrimaryContainer")) == bool(given.get("Containers")):
            raise invalid("Exactly one of PrimaryContainer and Containers must be given")
        if role := given.get("ExecutionRoleArn"):
            assume(self.cloud, role)
        parts = containers(given)
        for part in parts:
            self._check(part, len(parts), role)
        names = [one["ContainerHostname"] for one in parts if one.get("ContainerHostname")]
        if len(set(names)) < len(names):
            raise invalid("The values of ContainerHostname must be unique within a model")
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

    def _check(self, part: Mapping[str, Any], among: int, role: str | None) -> None:
        """Refuse a container that AWS does not take, or that is not emulated."""
        if not part.get("Image"):
            raise not_emulated("models without an Image (ModelPackageName)")
        for name in (
            "ModelDataSource",
            "AdditionalModelDataSources",
            "ImageConfig",
            "InferenceSpecificationName",
        ):
            if part.get(name):
                raise not_emulated(f"{name} of a container")
        image = self.images.find(part["Image"], hosting=True)
        artifact = part.get("ModelDataUrl")
        if is_multi(part):
            if among > 1:
                raise not_emulated("a container with Mode MultiModel among several")
            if not artifact:
                raise invalid("A container with Mode MultiModel must have the models' prefix as ModelDataUrl")
            self._labelled(image.identity, part["Image"], "multi-models")
        elif artifact and not self.cloud.storage(role).exists(artifact):
            raise invalid(f"Could not find model data at {artifact}.")
        if among > 1:
            self._labelled(image.identity, part["Image"], "accept-bind-to-port")

    def _labelled(self, identity: str, name: str, capability: str) -> None:
        label = f"com.amazonaws.sagemaker.capabilities.{capability}"
        found = (self.cloud.lab.inspect(identity) or {}).get("Config", {}).get("Labels") or {}
        if str(found.get(label)).lower() != "true":
            text = f"Your Ecr Image {name} does not contain required {label}=true Docker label(s)."
            raise invalid(text)

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
        with self.archive(artifact, role) as spool:
            return self.cloud.lab.volume(spool, image)

    @contextmanager
    def archive(self, artifact: str, role: str | None) -> Iterator[IO[bytes]]:
        """An artifact's tar.gz, judged. Raises RuntimeError, or ClientError where S3 refuses it."""
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
            yield spool


def containers(model: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A model's containers, in the order in which they answer."""
    return [model["PrimaryContainer"]] if model.get("PrimaryContainer") else list(model["Containers"])


def is_multi(part: Mapping[str, Any]) -> bool:
    """Whether a container serves every model under an S3 prefix."""
    return part.get("Mode") == "MultiModel"
