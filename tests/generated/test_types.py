"""Every generated src/byoc passes mypy --strict: each stack's, and each framework's one module."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sagegen import catalogue

FLAGS = ("--strict", "--ignore-missing-imports", "--explicit-package-bases")


@pytest.fixture(scope="module")
def sources(rendered: dict[str, Path]) -> dict[str, Path]:
    """The src folder of one combination for each framework.py and for each stack."""
    found: dict[str, Path] = {}
    keys: set[object] = set()
    for c in catalogue.existing():
        answers = c.answers
        framework = tuple(answers.get(name) for name in ("framework", "keras_backend", "device"))
        stack = answers["stack"]
        if framework in keys and stack in keys:
            continue
        keys |= {framework, stack}
        found[c.id] = rendered[c.id] / "src"
    return found


def mypy(folder: Path, cache: Path, *paths: str) -> str:
    command = [sys.executable, "-m", "mypy", *FLAGS, "--config-file=", f"--cache-dir={cache}", *paths]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_every_src_byoc_is_strictly_typed(sources: dict[str, Path], tmp_path: Path) -> None:
    cache = tmp_path / "mypy"
    of_stacks = {(src / "byoc/serving/stack.py").read_bytes(): src for src in sources.values()}
    assert len(of_stacks) == 2
    for src in of_stacks.values():
        assert not mypy(src, cache, "byoc")
    src = shutil.copytree(next(iter(of_stacks.values())), tmp_path / "src")
    names = []
    for name, other in sources.items():
        names.append(f"framework_of_{name.replace('-', '_').replace('.', '_')}.py")
        shutil.copy(other / "byoc/framework.py", src / names[-1])
    assert len(names) >= 12
    # Frameworks are not installed here, and what they would make of an ignored line is unknown.
    assert not mypy(src, cache, "--no-warn-unused-ignores", *names)


def test_deploy_is_strictly_typed(rendered: dict[str, Path], tmp_path: Path) -> None:
    for device in ("cpu", "gpu"):
        assert not mypy(rendered[f"sklearn-{device}-fastapi"], tmp_path / "mypy", "deploy")
