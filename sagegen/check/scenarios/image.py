"""The image at rest."""

from __future__ import annotations

import re
import tarfile
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from sagegen.check.core import Evidence, scenario
from sagegen.check.rig import Rig
from sagegen.engine import TROUBLE
from sagegen.engine.images import export, find, history, in_layers, manifest_type

DRIVER = re.compile(
    r"(^|/)(libcuda\.so\.\d{3}[\d.]*|libnvidia-ml\.so\.\d{3}[\d.]*|nvidia-smi|nvidia\.ko(\.\w+)?)$"
)
HARMLESS = re.compile(r"(^|/)(compat|stubs)/")
LIBRARY = re.compile(r"(^|/)(libcudart\.so[\d.]*|libcublas\.so[\d.]*)$")


@dataclass(frozen=True)
class Program:
    """A file called train or serve on the PATH."""

    path: str
    mode: int
    head: bytes
    link: str = ""


@dataclass(frozen=True)
class Image:
    """Configuration and files."""

    name: str
    attributes: dict[str, Any]
    history: list[str]
    manifest_type: str | None
    serverless: bool = False  # it says that it is meant for serverless endpoints
    opt_ml: list[str] = field(default_factory=list)
    drivers: list[str] = field(default_factory=list)
    libraries: list[str] = field(default_factory=list)
    programs: dict[str, Program] = field(default_factory=dict)
    executables: set[str] = field(default_factory=set)
    #: The beginning of each file that holds credentials, by where it lies.
    credentials: dict[str, str] = field(default_factory=dict)

    @property
    def cuda(self) -> bool:
        """It has CUDA's libraries."""
        return bool(self.libraries)

    @property
    def config(self) -> dict[str, Any]:
        """What the Dockerfile set."""
        found: dict[str, Any] = self.attributes["Config"]
        return found

    @property
    def entrypoint(self) -> list[str]:
        """ENTRYPOINT; empty where there is none."""
        return self.config.get("Entrypoint") or []

    @property
    def environment(self) -> dict[str, str]:
        """ENV."""
        return dict(entry.partition("=")[::2] for entry in self.config.get("Env") or [])

    @property
    def line(self) -> str:
        """How to look at the configuration."""
        return f"docker image inspect {self.name}"

    def listing(self, path: str) -> str:
        """How to look at a file."""
        return f"docker run --rm --entrypoint ls {self.name} -la {path}"

    def in_layers(self, path: str) -> str:
        """How to look at a file that a later layer removes."""
        show = f'do tar -xOf "$one" {path.lstrip("/")} 2>/dev/null; done'
        return f'd=$(mktemp -d); docker save {self.name} | tar -xC "$d"; for one in "$d"/*/*{{,/*}}; {show}'


PROGRAMS = ("train", "serve")
#: Files whose business is to hold credentials, by the end of their path.
CREDENTIAL_FILES = (
    ".aws/credentials", ".netrc", ".pypirc", ".npmrc", ".git-credentials", ".docker/config.json", ".env",
    ".pgpass", "id_rsa", "id_ecdsa", "id_ed25519", "kaggle.json", "pip.conf", "huggingface/token",
    "application_default_credentials.json",
)  # fmt: skip


def holds_credentials(path: str) -> bool:
    """Whether a file's name says that it holds credentials."""
    return any(path.endswith(f"/{name}") for name in CREDENTIAL_FILES)


def _read(path: str) -> bool:
    """Whether the rules look into a file."""
    return path.rsplit("/", 1)[-1] in PROGRAMS or holds_credentials(path)


#: What the rules look for, as conditions of `find`.
WANTED = (
    *("-path", "/opt/ml/*", "-not", "-type", "d"),
    *("-o", "-name", "train", "-o", "-name", "serve", "-o", "-path", "/bin/sh", "-o", "-path", "/usr/bin/sh"),
    *("-o", "-name", "libcuda.so*", "-o", "-name", "libnvidia-ml.so*", "-o", "-name", "nvidia-smi"),
    *("-o", "-name", "nvidia.ko*", "-o", "-name", "libcudart.so*", "-o", "-name", "libcublas.so*"),
    *(word for name in CREDENTIAL_FILES for word in ("-o", "-path", f"*/{name}")),
)


@scenario("image")
def IMAGE(rig: Rig, _: Evidence) -> Image:
    """Reads the image's configuration and looks for files."""
    lab = rig.lab
    image = Image(lab.image, lab.attributes, history(lab), manifest_type(lab), rig.declares("serverless"))
    search = [p.rstrip("/") for p in image.environment.get("PATH", "/usr/bin:/bin").split(":")]
    found: dict[str, Program] = {}
    with suppress(tarfile.TarError):
        files = find(lab, WANTED, _read)
        for file in export(lab, _read) if files is None else files:
            if file.kind == "d":
                continue
            if file.path.startswith("/opt/ml/"):
                image.opt_ml.append(file.path)
            if DRIVER.search(file.path) and not HARMLESS.search(file.path) and file.kind == "f" and file.size:
                image.drivers.append(file.path)
            if LIBRARY.search(file.path):
                image.libraries.append(file.path)
            if file.path.rsplit("/", 1)[-1] in PROGRAMS:
                found[file.path] = Program(file.path, file.mode, file.head, file.target)
            if holds_credentials(file.path) and file.kind == "f":
                image.credentials[file.path] = file.head.decode(errors="replace")
            # /bin is a link to /usr/bin in today's distributions.
            if file.path in ("/bin/sh", "/usr/bin/sh"):
                image.executables.add("/bin/sh")
    if _were_removed(image):
        with suppress(tarfile.TarError, *TROUBLE):
            for file in in_layers(lab, holds_credentials):
                image.credentials.setdefault(f"{file.path} in a layer", file.head.decode(errors="replace"))
    for name in PROGRAMS:
        for folder in search:
            if program := found.get(f"{folder}/{name}"):
                image.programs[name] = found.get(program.link, program) if program.link else program
                break
    return image


def _were_removed(image: Image) -> bool:
    """Whether a build command names a file of credentials that the image has no more: a layer may."""
    text = "\n".join(image.history)
    names = {name for name in CREDENTIAL_FILES if re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", text)}
    return any(not any(path.endswith(f"/{name}") for path in image.credentials) for name in names)
