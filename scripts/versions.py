"""`make versions`: move every pin to the newest version within versions.toml, and lock our own tools.

uv resolves pins together that are installed together, for the oldest Python that their image may have. A pin
keeps its line, its extras and its reason. locks/ has what `make setup LOCKED=1` installs, with hashes.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

PIN = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?P<extras>\[[^\]]+\])?==(?P<version>[0-9][A-Za-z0-9.]*)"
)
SERVING = "template/project/requirements-serving.txt.jinja"
LOCKS = {"dev": "locks/dev.txt", "docs": "locks/docs.txt"}
#: The oldest Python that reads a lock: the tool's, and that of the current Sphinx.
LOCK_PYTHONS = {"dev": "3.11", "docs": "3.12"}


@dataclass(frozen=True)
class Group:
    """Pins that are installed together: {file: its lines that belong to the group}, and the oldest Python."""

    name: str
    python: str
    lines: tuple[tuple[str, str], ...]

    def pins(self) -> Iterator[tuple[str, re.Match[str]]]:
        for file, line in self.lines:
            for pin in PIN.finditer(line):
                yield file, pin


def groups(root: Path) -> Iterator[Group]:
    """Every set of pins of the template."""

    def pins(requirements: Iterable[Mapping[str, str]], file: Path) -> tuple[tuple[str, str], ...]:
        return tuple((file.relative_to(root).as_posix(), one["pin"]) for one in requirements)

    kinds = {
        path: yaml.safe_load(path.read_text()) for path in sorted((root / "template/data").glob("*/data.yml"))
    }
    for path in sorted((root / "template/frameworks").glob("*/framework.yml")):
        spec: dict[str, Any] = yaml.safe_load(path.read_text())
        for backend, build in spec.get("backends", {"": spec}).items():
            for device, requirements in build["requirements"].items():
                own = pins(requirements, path)
                for kind, data in kinds.items():
                    own += pins(data["requirements"].get(path.parent.name, []), kind)
                yield Group(
                    f"{path.parent.name} {backend} {device}", min(spec["python"][device], key=_key), own
                )
    serving = (root / SERVING).read_text().splitlines()
    shared = tuple((SERVING, line) for line in serving if PIN.match(line))
    for kind, data in kinds.items():
        shared += pins(data["decoder"], kind)
    for path in sorted((root / "template/stacks").glob("*/stack.yml")):
        spec = yaml.safe_load(path.read_text())
        yield Group(f"serving {path.parent.name}", "3.11", pins(spec["requirements"], path) + shared)
    deploy = "template/project/{% if scripts %}requirements-deploy.txt{% endif %}"
    for file in ("template/project/requirements-dev.txt.jinja", deploy, "template/project/Dockerfile.jinja"):
        lines = tuple((file, line) for line in (root / file).read_text().splitlines() if PIN.search(line))
        yield Group(file, "3.11", lines)


def _key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def newest(group: Group, bounds: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """{package: its newest version} such that the group can be installed together and no bound is broken."""
    wanted = []
    for file, pin in group.pins():
        allowed = [
            one["allowed"]
            for one in bounds
            if one["package"] == pin["name"] and ("files" not in one or file in one["files"])
        ]
        wanted.append(",".join([f"{pin['name']}{pin['extras'] or ''}>={pin['version']}", *allowed]))
    command = ["uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--no-build", "--upgrade"]
    command += ["--python-version", group.python, "--python-platform", "x86_64-manylinux_2_28", "-"]
    done = subprocess.run(command, input="\n".join(wanted), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"versions: {group.name} cannot be resolved:\n{done.stderr.strip()}")
    return {pin["name"].lower(): pin["version"] for pin in PIN.finditer(done.stdout)}


def moved(text: str, lines: Iterable[str], found: Mapping[str, str]) -> tuple[str, list[str]]:
    """`text` with the pins of `lines` at the versions in `found`, and what changed."""
    changes = []
    for line in lines:

        def replace(pin: re.Match[str]) -> str:
            return f"{pin['name']}{pin['extras'] or ''}=={found.get(pin['name'].lower(), pin['version'])}"

        after = PIN.sub(replace, line)
        if after != line and line in text:
            text = text.replace(line, after)
            changes.append(f"{line.strip()} → {after.strip()}")
    return text, changes


def main(root: Path) -> None:
    bounds = tomllib.loads((root / "versions.toml").read_text())["bound"]
    for group in list(groups(root)):
        found = newest(group, bounds)
        for file in dict(group.lines):
            path = root / file
            text, changes = moved(
                path.read_text(), [line for name, line in group.lines if name == file], found
            )
            path.write_text(text)
            for change in changes:
                print(f"{file}: {change}", flush=True)
    for bound in bounds:
        print(f"bound: {bound['package']}{bound['allowed']} – {bound['why']}")
    for extra, file in LOCKS.items():
        (root / file).parent.mkdir(exist_ok=True)
        command = ["uv", "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--upgrade"]
        command += ["--no-emit-package", "sagegen", "--custom-compile-command", "make versions"]
        command += ["--python-version", LOCK_PYTHONS[extra], "--extra", extra, "--output-file", file]
        subprocess.run([*command, "pyproject.toml"], cwd=root, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent)
