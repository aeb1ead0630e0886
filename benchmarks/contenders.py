"""Who competes: a folder of contenders/ each, with a contender.toml and what its image is made of."""

import os
import shutil
import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from benchmarks.containers import Engine, command, docker
from benchmarks.payloads import Route

HERE = Path(__file__).parent
ROOT = HERE.parent
FOLDER = HERE / "contenders"
DEFAULT_PYTHON = "3.13"
# In the order of a round: ours, what they are compared with, then the field.
ROLES = ("ours", "classic", "ceiling", "peer")


@dataclass(frozen=True)
class Contender:
    """A way to serve the model, and how to talk to it."""

    name: str
    title: str
    role: str
    routes: dict[str, Route]
    python: str = DEFAULT_PYTHON
    package: str = ""
    workers_variable: str = ""
    render: dict[str, str] = field(default_factory=dict)

    @property
    def image(self) -> str:
        """Its tag."""
        return f"sagegen-benchmark/{self.name}:latest"

    def build(self, engine: Engine, work: Path) -> None:
        """Build its image: from a generated repository as its user would, or from its own Dockerfile."""
        context = work / self.name
        if self.render:
            render(self, context)
            engine.images.add(self.image)
            base = base_image(self.python)
            mirror = "".join(f" --build-arg {name}={value}" for name, value in mirrors().items())
            command(
                "make",
                "build",
                f"IMAGE={self.image}",
                f"BASE_IMAGE={base}",
                f"PLATFORM={docker('version', '--format', '{{.Server.Os}}/{{.Server.Arch}}')}",
                f"BUILD_ARGS=--build-arg PYTHON_IMAGE={base}{mirror}",
                cwd=context,
            )
            return
        shutil.copytree(FOLDER / self.name, context)
        shutil.copy(model_requirements(work), context / "model-requirements.txt")
        engine.build(self.image, context, {"BASE_IMAGE": base_image(self.python), **mirrors()})

    def version(self, engine: Engine) -> str:
        """Of the package that it is named after."""
        if not self.package:
            return ""
        code = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"
        return engine.python(self.image, code, {}, self.package)


def find(names: list[str]) -> list[Contender]:
    """The contenders of these names, or all."""
    found = [_read(file) for file in sorted(FOLDER.glob("*/contender.toml"))]
    known = {contender.name for contender in found}
    if unknown := sorted(set(names) - known):
        raise SystemExit(f"no such contender: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    chosen = [contender for contender in found if not names or contender.name in names]
    return sorted(chosen, key=lambda contender: ROLES.index(contender.role))


def render(contender: Contender, destination: Path) -> None:
    """A generated repository whose model.py is the benchmark's."""
    from sagegen.render import render as generate

    generate(destination, contender.render)
    shutil.copy(HERE / "iris" / "model.py", destination / "src" / "model.py")


@cache
def model_requirements(work: Path) -> Path:
    """What a generated repository installs for scikit-learn: the same for all, so one artifact fits all."""
    from sagegen.render import render as generate

    repository = work / "requirements-of"
    generate(repository, {"framework": "sklearn"})
    return repository / "requirements.txt"


@cache
def base_image(python: str) -> str:
    """The public image, or a stand-in where no registry answers."""
    return command(str(ROOT / "scripts" / "base-image"), "--python", python)


def mirrors() -> dict[str, str]:
    """A mirror of the package index, where this machine uses one."""
    return {name: os.environ[name] for name in ("PIP_INDEX_URL",) if os.environ.get(name)}


def _read(file: Path) -> Contender:
    data = tomllib.loads(file.read_text(encoding="utf-8"))
    routes = {kind: Route(**route) for kind, route in data.pop("routes").items()}
    return Contender(name=file.parent.name, routes=routes, **data)
