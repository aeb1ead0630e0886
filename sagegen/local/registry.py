"""The account's container registry: what `docker push` and `docker pull` speak, beside moto's API of ECR."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from sagegen.local.cloud import ACCOUNT, Cloud
from sagegen.local.front import Request
from sagegen.local.wire import Answer

VALID_SECONDS = 12 * 3600
CHUNK = 2**20
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
NAME = r"[a-z0-9]+(?:[._/-][a-z0-9]+)*"
PATH = re.compile(
    rf"/v2/(?P<name>{NAME})/(?:blobs/uploads/(?P<upload>[\w-]*)|blobs/(?P<blob>sha256:[0-9a-f]{{64}})"
    r"|manifests/(?P<reference>[\w.:-]+)|tags/(?P<tags>list))"
)


class Registry:
    """Blobs in a folder and manifests in memory; every manifest is an image of ECR, too."""

    def __init__(self, cloud: Cloud, folder: Path) -> None:
        self.cloud = cloud
        self.folder = folder / "registry"
        self.folder.mkdir(exist_ok=True)
        #: {(repository, tag or digest): (media type, content)}.
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self._lock = threading.Lock()

    @property
    def login(self) -> dict[str, str]:
        """What the engine says of itself when it pulls."""
        return {"username": "AWS", "password": self.cloud.secret}

    def token(self, given: dict[str, Any]) -> dict[str, Any]:
        """ECR's GetAuthorizationToken."""
        text = base64.b64encode(f"AWS:{self.cloud.secret}".encode()).decode()
        data = {
            "authorizationToken": text,
            "expiresAt": time.time() + VALID_SECONDS,
            "proxyEndpoint": f"https://{self.cloud.registry}",
        }
        return {"authorizationData": [data]}

    def find(self, name: str, reference: str) -> tuple[str, str] | None:
        """(media type, digest) of an image that was pushed."""
        if found := self.manifests.get((name, reference)):
            return found[0], digest(found[1])
        return None

    def config(self, name: str, reference: str) -> Mapping[str, Any]:
        """An image's configuration: its architecture, for example."""
        manifest = json.loads(self.manifests[name, reference][1])
        found: dict[str, Any] = json.loads(self._blob(manifest["config"]["digest"]).read_bytes())
        return found

    # --- the wire ---------------------------------------------------------------------------------------

    def route(self, request: Request) -> Answer | None:
        """The registry's paths, for who has its password."""
        if request.key is not None or not (request.path == "/v2" or request.path.startswith("/v2/")):
            return None
        request.call.service = "registry"
        wanted = base64.b64encode(f"AWS:{self.cloud.secret}".encode()).decode()
        if request.environ.get("HTTP_AUTHORIZATION") != f"Basic {wanted}":
            return refusal(401, "UNAUTHORIZED", "docker login first", WWW_Authenticate='Basic realm="ecr"')
        if request.path in ("/v2", "/v2/"):
            return reply(200)
        if not (parts := PATH.fullmatch(request.path)):
            return refusal(404, "NAME_INVALID", "no such path")
        name, method = parts["name"], request.method
        if parts["upload"] is not None:
            return self._upload(name, parts["upload"], request)
        if parts["blob"]:
            return self._send(parts["blob"], method)
        if parts["tags"]:
            tags = [ref for repository, ref in self.manifests if repository == name and ":" not in ref]
            return reply(200, json.dumps({"name": name, "tags": sorted(tags)}).encode())
        if method == "PUT":
            return self._keep(name, parts["reference"], request)
        if found := self.manifests.get((name, parts["reference"])):
            kind, content = found
            body = content if method == "GET" else b""
            return reply(
                200,
                body,
                Content_Type=kind,
                Content_Length=str(len(content)),
                Docker_Content_Digest=digest(content),
            )
        return refusal(404, "MANIFEST_UNKNOWN", f"Requested image not found: {name}:{parts['reference']}")

    def _blob(self, name: str) -> Path:
        return self.folder / name.replace(":", "-")

    def _send(self, name: str, method: str) -> Answer:
        file = self._blob(name)
        if not file.exists():
            return refusal(404, "BLOB_UNKNOWN", name)
        headers = {
            "Content_Type": "application/octet-stream",
            "Content_Length": str(file.stat().st_size),
            "Docker_Content_Digest": name,
        }
        if method != "GET":
            return reply(200, b"", **headers)
        answer = reply(200, b"", **headers)
        return Answer(200, chunks(file), answer.headers)

    def _upload(self, name: str, upload: str, request: Request) -> Answer:
        if request.method == "POST" and not upload:
            if missing := self._unknown(name):
                return missing
            upload = str(uuid.uuid4())
            (self.folder / upload).touch()
            return reply(
                202, Location=f"/v2/{name}/blobs/uploads/{upload}", Range="0-0", Docker_Upload_UUID=upload
            )
        file = self.folder / str(uuid.UUID(upload))
        if not file.exists():
            return refusal(404, "BLOB_UPLOAD_UNKNOWN", upload)
        with file.open("ab") as out:
            left = request.length
            while left is None or left > 0:
                chunk = request.stream.read(CHUNK if left is None else min(CHUNK, left))
                if not chunk:
                    break
                out.write(chunk)
                left = None if left is None else left - len(chunk)
        if request.method == "PATCH":
            most = max(0, file.stat().st_size - 1)
            return reply(202, Location=request.path, Range=f"0-{most}", Docker_Upload_UUID=upload)
        wanted = request.query.get("digest", "")
        with file.open("rb") as content:
            found = f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"
        if found != wanted:
            file.unlink()
            return refusal(400, "DIGEST_INVALID", f"the content is {found}, not {wanted}")
        os.replace(file, self._blob(found))
        return reply(201, Location=f"/v2/{name}/blobs/{found}", Docker_Content_Digest=found)

    def _unknown(self, name: str) -> Answer | None:
        """The refusal of a push to a repository that does not exist."""
        try:
            self.cloud.client("ecr").describe_repositories(repositoryNames=[name])
        except ClientError:
            text = f"The repository with name '{name}' does not exist in the registry with id '{ACCOUNT}'"
            return refusal(404, "NAME_UNKNOWN", text)
        return None

    def _keep(self, name: str, reference: str, request: Request) -> Answer:
        if missing := self._unknown(name):
            return missing
        content = request.body()
        if content is None:
            return refusal(413, "MANIFEST_INVALID", "the manifest is too long")
        try:
            found = self.keep(name, reference, request.headers.get("content-type", ""), content)
        except (ClientError, UnicodeDecodeError) as error:
            return refusal(400, "TAG_INVALID", str(error))
        return reply(201, Location=f"/v2/{name}/manifests/{found}", Docker_Content_Digest=found)

    def keep(self, name: str, reference: str, kind: str, content: bytes) -> str:
        """Take a manifest, by tag or digest; its digest. Raises ClientError where ECR refuses it."""
        found = digest(content)
        ecr = self.cloud.client("ecr")
        tag = {} if ":" in reference else {"imageTag": reference}
        with contextlib.suppress(ecr.exceptions.ImageAlreadyExistsException):
            ecr.put_image(
                repositoryName=name,
                imageManifest=content.decode(),
                imageManifestMediaType=kind,
                imageDigest=found,
                **tag,
            )
        with self._lock:
            self.manifests[name, reference] = self.manifests[name, found] = kind, content
        return found


def digest(content: bytes) -> str:
    """A manifest's name by its content."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def chunks(file: Path) -> Any:
    """A file, piece by piece."""
    with file.open("rb") as content:
        while chunk := content.read(CHUNK):
            yield chunk


def reply(status: int, body: bytes = b"", **headers: str) -> Answer:
    """An answer of the registry; an underscore in a header's name is a dash."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, body, {"Docker-Distribution-Api-Version": "registry/2.0", **named})


def refusal(status: int, code: str, text: str, **headers: str) -> Answer:
    """An error as Docker prints it."""
    body = json.dumps({"errors": [{"code": code, "message": text}]}).encode()
    return reply(status, body, Content_Type="application/json", **headers)
