"""What every service of the emulator shares: the account, its clients, its containers and its records."""

from __future__ import annotations

import datetime
import functools
import os
import secrets
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import IO, Any
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError

from sagegen.engine import Lab
from sagegen.local.wire import Fault, invalid

ACCOUNT = "123456789012"
#: Of botocore's session: neither the user's profile nor their files of settings are read.
ALONE = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}
PAGE = 100  # of a list, where the request does not say


def now() -> datetime.datetime:
    """The time as records have it."""
    return datetime.datetime.now(datetime.UTC)


class Cloud:
    """One account in one region, and the engine that runs its containers."""

    def __init__(self, lab: Lab, region: str, conditions: Collection[str] = ()) -> None:
        self.lab = lab
        self.region = region
        #: What the platform may do and seldom does, by its name in `--condition`.
        self.conditions = frozenset(conditions)
        self.url = ""  # set when the front listens
        self.key = f"AKIA{secrets.token_hex(8).upper()}"
        self.secret = secrets.token_hex(20)
        #: {access key: the role whose session it is, or None for a user}.
        self.keys: dict[str, str | None] = {self.key: None}
        self.tags: dict[str, dict[str, str]] = {}
        self._closed = threading.Event()
        self._clients: dict[tuple[str, str | None], Any] = {}
        self._session = boto3.session.Session(botocore_session=botocore.session.Session(ALONE))
        self._lock = threading.Lock()

    @property
    def host(self) -> str:
        """Where the front listens, as Docker names a registry."""
        return urlsplit(self.url).netloc

    @property
    def registry(self) -> str:
        """The account's registry, as images are named on AWS."""
        return f"{ACCOUNT}.dkr.ecr.{self.region}.amazonaws.com"

    def arn(self, kind: str, name: str) -> str:
        """The ARN of one of SageMaker's resources."""
        return f"arn:aws:sagemaker:{self.region}:{ACCOUNT}:{kind}/{name}"

    @functools.cached_property
    def environment(self) -> dict[str, str]:
        """What makes any AWS client use this endpoint and no other account."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
            "REGISTRY": self.host,
        }

    def client(self, service: str, role: str | None = None) -> Any:
        """A boto3 client of the account's owner, or of a role."""
        with self._lock:
            if (service, role) not in self._clients:
                key = self.key if role is None else self._key(role)
                self._clients[service, role] = self._session.client(
                    service,
                    endpoint_url=self.url,
                    region_name=self.region,
                    aws_access_key_id=key,
                    aws_secret_access_key=self.secret,
                    config=Config(
                        retries={"max_attempts": 1}, s3={"addressing_style": "path"}, max_pool_connections=50
                    ),
                )
            return self._clients[service, role]

    def _key(self, role: str) -> str:
        key = f"ASIA{secrets.token_hex(8).upper()}"
        self.keys[key] = role
        return key

    def session(self, role: str) -> dict[str, str]:
        """The variables of a process that calls as a role."""
        return {"AWS_ACCESS_KEY_ID": self._key(role), "AWS_SESSION_TOKEN": secrets.token_hex(20)}

    def storage(self, role: str | None = None) -> Storage:
        """S3 as a role sees it."""
        return Storage(self.client("s3", role))

    def tag(self, arn: str, given: Mapping[str, Any]) -> None:
        """Keep the tags of a request that makes a resource."""
        self.tags.setdefault(arn, {}).update({tag["Key"]: tag["Value"] for tag in given.get("Tags", ())})

    # --- the end ---------------------------------------------------------------------------------------

    def close(self) -> None:
        """Nothing new starts any more, and waits end."""
        self._closed.set()

    @property
    def closed(self) -> bool:
        """Whether the emulator is being ended."""
        return self._closed.is_set()

    def pause(self, seconds: float) -> bool:
        """Wait; True as soon as the emulator is being ended."""
        return self._closed.wait(seconds)

    def begin(self, work: Callable[..., None], *arguments: Any) -> None:
        """Let work go on beside the call that asked for it."""
        threading.Thread(target=work, args=arguments, daemon=True, name=work.__qualname__).start()


def place(uri: str) -> tuple[str, str]:
    """(bucket, key) of an S3 URI."""
    parts = urlsplit(uri, allow_fragments=False)
    key = parts.path.lstrip("/") + (f"?{parts.query}" if parts.query else "")
    return parts.netloc, key


class Storage:
    """S3 as a role sees it, or the account's owner."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def objects(self, uri: str) -> tuple[str, str, list[str]]:
        """(bucket, prefix, keys) of every object under an S3 URI, without folder markers."""
        bucket, prefix = place(uri)
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        try:
            found = [one["Key"] for page in pages for one in page.get("Contents", ())]
        except ClientError as error:
            raise Fault("ClientError", f"{error.response['Error']['Message']} ({uri})") from error
        return bucket, prefix, [key for key in found if not key.endswith("/")]

    def read(self, bucket: str, key: str) -> IO[bytes]:
        """An object's body, as a stream, with its size in `content_length`."""
        found = self.client.get_object(Bucket=bucket, Key=key)
        body = found["Body"]
        body.content_length = found["ContentLength"]
        return body  # type: ignore[no-any-return]

    def get(self, uri: str) -> bytes:
        """An object's content. Raises Fault where there is none."""
        bucket, key = place(uri)
        try:
            return self.read(bucket, key).read()
        except ClientError as error:
            raise Fault("ClientError", f"{error.response['Error']['Message']} ({uri})") from error

    def put(self, uri: str, body: bytes | IO[bytes], **more: str) -> None:
        """Write an object."""
        bucket, key = place(uri)
        try:
            self.client.put_object(Bucket=bucket, Key=key, Body=body, **more)
        except ClientError as error:
            raise Fault("ClientError", f"{error.response['Error']['Message']} ({uri})") from error

    def exists(self, uri: str) -> bool:
        """Whether there is an object at a URI."""
        bucket, key = place(uri)
        try:
            self.client.head_object(Bucket=bucket, Key=key)
        except ClientError:
            return False
        return True


class Records:
    """Resources of one kind, by name, oldest first."""

    def __init__(self, cloud: Cloud, kind: str, words: str, *, job: bool = False) -> None:
        self.cloud, self.kind, self.words, self.job = cloud, kind, words, job
        self._found: dict[str, Any] = {}
        self._lock = threading.Lock()

    def arn(self, name: str) -> str:
        """The resource's ARN: AWS writes names in lower case there."""
        return self.cloud.arn(self.kind, name.lower())

    def add(self, name: str, record: Any) -> None:
        """Keep a new one. Raises Fault where the name is taken."""
        with self._lock:
            if name not in self._found:
                self._found[name] = record
                return
        if self.job:
            unique = f"{self.words.capitalize()} names must be unique within an AWS account and region"
            text = f"{unique}, and a {self.words} with this name already exists ({self.arn(name)})"
            raise Fault("ResourceInUse", text)
        raise invalid(f'Cannot create already existing {self.words} "{self.arn(name)}".')

    def get(self, name: str) -> Any:
        """One by its name. Raises Fault where there is none."""
        try:
            return self._found[name]
        except KeyError:
            if self.job:
                raise invalid("Requested resource not found.") from None
            raise invalid(f'Could not find {self.words} "{self.arn(name)}".') from None

    def remove(self, name: str) -> Any:
        """Forget one. Raises Fault where there is none."""
        with self._lock:
            record = self.get(name)
            del self._found[name]
            return record

    def __contains__(self, name: str) -> bool:
        return name in self._found

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._found.values()))


def listed(
    records: list[dict[str, Any]], given: Mapping[str, Any], answer: str, *, name: str, status: str = ""
) -> dict[str, Any]:
    """A page of a list, filtered and sorted as the request says: newest first where it says nothing."""
    chosen = [
        one
        for one in records
        if given.get("NameContains", "").lower() in one[name].lower()
        and given.get("StatusEquals") in (None, one.get(status))
        and _between(one["CreationTime"], given.get("CreationTimeAfter"), given.get("CreationTimeBefore"))
    ]
    by = {"Name": name, "Status": status}.get(given.get("SortBy", ""), "CreationTime")
    chosen.sort(key=lambda one: one[by], reverse=given.get("SortOrder", "Descending") == "Descending")
    start, size = int(given.get("NextToken") or 0), given.get("MaxResults", PAGE)
    more = {"NextToken": str(start + size)} if start + size < len(chosen) else {}
    return {answer: chosen[start : start + size], **more}


def _between(when: datetime.datetime, after: float | None, before: float | None) -> bool:
    return (after is None or when.timestamp() > after) and (before is None or when.timestamp() < before)
