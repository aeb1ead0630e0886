"""Amazon ECR and STS on this machine: moto answers the API, docker-registry keeps the images.

Moto keeps no image and the registry knows no AWS, but the registry asks for the
password that moto hands out, so nothing is pushed without a login.
"""

import base64
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from moto.server import ThreadedMotoServer

ACCOUNT = "123456789012"
PASSWORD = f"{ACCOUNT}-auth-token"  # moto's, for every caller
PASSWORD_BCRYPT = "$2y$05$34Y2mRzjbotnbLcdAIMOGOcTr82BYuiZAj6VvN0Uehq5pcvi.TWTi"

SCHEMA_2 = "application/vnd.docker.distribution.manifest.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
ANY_MANIFEST = ", ".join(
    [
        SCHEMA_2,
        OCI_MANIFEST,
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    ]
)


@dataclass(frozen=True)
class Manifest:
    media_type: str
    digest: str
    content: dict


@dataclass(frozen=True)
class Registry:
    host: str

    def _ask(self, path: str, **options) -> tuple[dict, bytes]:
        request = Request(f"http://{self.host}/v2/{path}", **options)
        login = base64.b64encode(f"AWS:{PASSWORD}".encode()).decode()
        request.add_header("Authorization", f"Basic {login}")
        with urlopen(request, timeout=10) as answer:
            return answer.headers, answer.read()

    def repositories(self) -> list[str]:
        return json.loads(self._ask("_catalog")[1])["repositories"]

    def tags(self, repository: str) -> list[str]:
        """The tags of a repository; none when nothing was ever pushed to it."""
        try:
            return json.loads(self._ask(f"{repository}/tags/list")[1])["tags"] or []
        except HTTPError as error:
            if error.code == 404:
                return []
            raise

    def manifest(self, repository: str, reference: str) -> Manifest:
        headers, body = self._ask(f"{repository}/manifests/{reference}", headers={"Accept": ANY_MANIFEST})
        return Manifest(headers["Content-Type"], headers["Docker-Content-Digest"], json.loads(body))

    def put_manifest(self, repository: str, reference: str, media_type: str, content: dict) -> str:
        headers, _ = self._ask(
            f"{repository}/manifests/{reference}",
            method="PUT",
            data=json.dumps(content).encode(),
            headers={"Content-Type": media_type},
        )
        return headers["Docker-Content-Digest"]

    def image_config(self, repository: str, reference: str) -> dict:
        digest = self.manifest(repository, reference).content["config"]["digest"]
        return json.loads(self._ask(f"{repository}/blobs/{digest}")[1])


@contextmanager
def registry(folder: Path) -> Iterator[Registry]:
    """A registry on a free port of the loopback interface, which Docker trusts without TLS."""
    program = shutil.which("docker-registry")
    if not program:
        raise RuntimeError("docker-registry is not installed: apt-get install docker-registry")
    host = f"127.0.0.1:{_free_port()}"
    (folder / "htpasswd").write_text(f"AWS:{PASSWORD_BCRYPT}\n")
    config = {
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "images")}},
        "auth": {"htpasswd": {"realm": "ecr", "path": str(folder / "htpasswd")}},
        "http": {"addr": host},
    }
    (folder / "config.yml").write_text(json.dumps(config))  # JSON is YAML, too
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([program, "serve", folder / "config.yml"], stdout=log, stderr=log)
        try:
            _wait_for(host, process, folder / "log")
            yield Registry(host)
        finally:
            process.terminate()
            process.wait(timeout=10)


@contextmanager
def aws_api() -> Iterator[str]:
    """The URL of an AWS in which nothing exists yet, for AWS_ENDPOINT_URL."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        urlopen(Request(f"{url}/moto-api/reset", method="POST"), timeout=10)
        yield url
    finally:
        server.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for(host: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urlopen(f"http://{host}/v2/", timeout=1)
        except HTTPError:
            return  # 401: it answers, and wants a login
        except URLError:
            time.sleep(0.05)
    raise RuntimeError(f"docker-registry does not answer at {host}: {log.read_text()[-2000:]}")
