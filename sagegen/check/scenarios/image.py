"""The image at rest."""

from __future__ import annotations

import re
import tarfile
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from sagegen.check.core import Evidence, scenario
from sagegen.check.rig import Rig
from sagegen.engine.images import PROGRAMS, export, find, history, manifest_type

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


#: What the rules look for, as conditions of `find`.
WANTED = (
    *("-path", "/opt/ml/*", "-not", "-type", "d"),
    *("-o", "-name", "train", "-o", "-name", "serve", "-o", "-path", "/bin/sh", "-o", "-path", "/usr/bin/sh"),
    *("-o", "-name", "libcuda.so*", "-o", "-name", "libnvidia-ml.so*", "-o", "-name", "nvidia-smi"),
    *("-o", "-name", "nvidia.ko*", "-o", "-name", "libcudart.so*", "-o", "-name", "libcublas.so*"),
)


@scenario("image")
def IMAGE(rig: Rig, _: Evidence) -> Image:
    """Reads the image's configuration and looks for files."""
    lab = rig.lab
    image = Image(lab.image, lab.attributes, history(lab), manifest_type(lab), rig.declares("serverless"))
    search = [p.rstrip("/") for p in image.environment.get("PATH", "/usr/bin:/bin").split(":")]
    found: dict[str, Program] = {}
    with suppress(tarfile.TarError):
        files = find(lab, WANTED)
        for file in export(lab) if files is None else files:
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
            # /bin is a link to /usr/bin in today's distributions.
            if file.path in ("/bin/sh", "/usr/bin/sh"):
                image.executables.add("/bin/sh")
    for name in PROGRAMS:
        for folder in search:
            if program := found.get(f"{folder}/{name}"):
                image.programs[name] = found.get(program.link, program) if program.link else program
                break
    return image
