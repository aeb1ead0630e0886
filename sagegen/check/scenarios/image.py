"""The image at rest."""

from __future__ import annotations

import re
import tarfile
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from sagegen.check.bench import Bench
from sagegen.check.core import Evidence, scenario

PROGRAMS = ("train", "serve")
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
    opt_ml: list[str] = field(default_factory=list)
    drivers: list[str] = field(default_factory=list)
    cuda: bool = False
    programs: dict[str, Program] = field(default_factory=dict)
    executables: set[str] = field(default_factory=set)

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


@scenario("image")
def IMAGE(bench: Bench, _: Evidence) -> Image:
    """Reads the image's configuration and files."""
    lab = bench.lab
    image = Image(lab.image, lab.attributes, lab.history(), lab.manifest_type())
    search = [p.strip("/") for p in image.environment.get("PATH", "/usr/bin:/bin").split(":")]
    links: dict[str, str] = {}
    found: dict[str, Program] = {}
    with suppress(tarfile.TarError):
        for item in lab.export():
            entry, head = item if isinstance(item, tuple) else (item, b"")
            path = entry.name.removeprefix("./").strip("/")
            if path.startswith("opt/ml/") and not entry.isdir():
                image.opt_ml.append(f"/{path}")
            if DRIVER.search(path) and not HARMLESS.search(path) and not entry.issym() and entry.size:
                image.drivers.append(f"/{path}")
            if LIBRARY.search(path):
                links[path] = "cuda"
            folder, name = path.rsplit("/", 1) if "/" in path else ("", path)
            if name in PROGRAMS and not entry.isdir():
                found[path] = Program(f"/{path}", entry.mode, head, entry.linkname if entry.issym() else "")
            if folder in search and not entry.isdir():
                image.executables.add(name)
            # /bin is a link to /usr/bin in today's distributions.
            if folder in ("bin", "usr/bin") and name in ("sh", "bash"):
                image.executables.add(f"/bin/{name}")
    for name in PROGRAMS:
        for folder in search:
            if program := found.get(f"{folder}/{name}"):
                target = found.get(program.link.strip("/")) if program.link else program
                image.programs[name] = target or program
                break
    object.__setattr__(image, "cuda", "cuda" in links.values())
    return image
