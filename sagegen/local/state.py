"""What `--state DIR` keeps between runs: S3, images, roles, models, configurations, training jobs."""

from __future__ import annotations

import datetime
import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sagegen.errors import USAGE, SagegenError
from sagegen.local.training import ENDED, TrainingJob

if TYPE_CHECKING:
    from sagegen.local.account import Account

FILE, TIME, CHUNK = "state.json", "$time", 2**20
VERSION = 1


@contextmanager
def kept(folder: Path) -> Iterator[Path]:
    """The folder, which no other emulator has."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()) and not (folder / "lock").exists():
            raise SagegenError(f"{folder} is not empty and holds no state – choose another --state", USAGE)
        lock = (folder / "lock").open("ab")
    except OSError as error:
        raise SagegenError(
            f"cannot write {folder}: {error.strerror} – choose another --state", USAGE
        ) from error
    with lock as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SagegenError(f"another sagegen local uses {folder} – end it first", USAGE) from error
        yield folder


class State:
    """An account in a folder."""

    def __init__(self, account: Account, folder: Path) -> None:
        self.account, self.cloud, self.folder = account, account.cloud, folder
        self.objects = folder / "objects"
        self.objects.mkdir(exist_ok=True)
        #: What is kept is here: else saving would lose it.
        self.loaded = False

    def load(self) -> None:
        """Make what was kept, by the account's own calls."""
        file = self.folder / FILE
        if not file.exists():
            self.loaded = True
            return
        try:
            found = json.loads(file.read_text(encoding="utf-8"), object_hook=_time)
            if found["version"] != VERSION:
                raise ValueError(f"it is of version {found['version']}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SagegenError(
                f"{file} cannot be read: {error} – remove it, or choose another", USAGE
            ) from error
        s3, iam, ecr = (self.cloud.client(service) for service in ("s3", "iam", "ecr"))
        place = {} if self.cloud.region == "us-east-1" else {"LocationConstraint": self.cloud.region}
        for bucket, objects in found["s3"].items():
            s3.create_bucket(Bucket=bucket, **({"CreateBucketConfiguration": place} if place else {}))
            for one in objects:
                with (self.objects / one.pop("content")).open("rb") as body:
                    s3.put_object(Bucket=bucket, Body=body, **one)
        for role in found["roles"]:
            iam.create_role(
                RoleName=role["name"], Path=role["path"], AssumeRolePolicyDocument=json.dumps(role["trust"])
            )
            for name, policy in role["policies"].items():
                iam.put_role_policy(RoleName=role["name"], PolicyName=name, PolicyDocument=json.dumps(policy))
        for name in found["repositories"]:
            ecr.create_repository(repositoryName=name)
        for name, reference, kind, text in found["manifests"]:
            self.account.registry.keep(name, reference, kind, text.encode())
        for record in found["models"]:
            self.account.models.records.add(record["ModelName"], record)
        for record in found["configs"]:
            self.account.hosting.configs.add(record["EndpointConfigName"], record)
        for record in found["training"]:
            job = TrainingJob(self.cloud, self.account.images, record)
            job.record = record
            job.ended.set()
            self.account.training.jobs.add(job.name, job)
        self.cloud.tags.update(found["tags"])
        self.loaded = True

    def save(self) -> None:
        """Write all of it; what was there stays until this is whole."""
        account = self.account
        used: set[str] = set()
        found = {
            "version": VERSION,
            "s3": self._s3(used),
            "roles": self._roles(),
            "repositories": self._repositories(),
            "manifests": [
                (name, reference, kind, content.decode())
                for (name, reference), (kind, content) in account.registry.manifests.items()
            ],
            "models": list(account.models.records),
            "configs": list(account.hosting.configs),
            "training": [
                job.record for job in account.training.jobs if job.record["TrainingJobStatus"] in ENDED
            ],
            "tags": self.cloud.tags,
        }
        with tempfile.NamedTemporaryFile("w", dir=self.folder, delete=False, encoding="utf-8") as file:
            json.dump(found, file, default=lambda value: {TIME: value.timestamp()})
        os.replace(file.name, self.folder / FILE)
        for left in self.objects.iterdir():
            if left.name not in used:
                left.unlink()

    def _s3(self, used: set[str]) -> dict[str, list[dict[str, Any]]]:
        s3 = self.cloud.client("s3")
        found: dict[str, list[dict[str, Any]]] = {}
        for bucket in s3.list_buckets()["Buckets"]:
            name = bucket["Name"]
            objects = found[name] = []
            for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name):
                for one in page.get("Contents", ()):
                    answer = s3.get_object(Bucket=name, Key=one["Key"])
                    content = self._keep(answer["Body"])
                    used.add(content)
                    told = {"ContentType": answer["ContentType"], "Metadata": answer["Metadata"]}
                    objects.append({"Key": one["Key"], "content": content, **told})
        return found

    def _keep(self, body: Any) -> str:
        """Write an object's content under its digest."""
        digest = hashlib.sha256()
        with tempfile.NamedTemporaryFile("wb", dir=self.objects, delete=False) as file:
            for chunk in body.iter_chunks(CHUNK):
                digest.update(chunk)
                file.write(chunk)
        os.replace(file.name, self.objects / digest.hexdigest())
        return digest.hexdigest()

    def _roles(self) -> list[dict[str, Any]]:
        iam = self.cloud.client("iam")
        found: list[dict[str, Any]] = []
        for page in iam.get_paginator("list_roles").paginate():
            for role in page["Roles"]:
                name = role["RoleName"]
                policies = {
                    policy: iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
                    for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]
                }
                trust = role["AssumeRolePolicyDocument"]
                found.append({"name": name, "path": role["Path"], "trust": trust, "policies": policies})
        return found

    def _repositories(self) -> list[str]:
        pages = self.cloud.client("ecr").get_paginator("describe_repositories").paginate()
        return [one["repositoryName"] for page in pages for one in page["repositories"]]


def _time(value: dict[str, Any]) -> Any:
    return datetime.datetime.fromtimestamp(value[TIME], datetime.UTC) if value.keys() == {TIME} else value
