"""Every generated src/byoc passes mypy --strict: each stack's, and each framework's one module."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sagegen import catalogue
from sagegen.examples import render_example

# Frameworks and servers are not installed here, and what they would make of an ignored line is unknown.
FLAGS = ("--strict", "--ignore-missing-imports", "--no-warn-unused-ignores", "--explicit-package-bases")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
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
        found[c.id] = render_example(c, tmp_path_factory.mktemp("typed") / c.id) / "src"
    return found


def mypy(folder: Path, cache: Path, *paths: str) -> str:
    command = [sys.executable, "-m", "mypy", *FLAGS, "--config-file=", f"--cache-dir={cache}", *paths]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_every_src_byoc_is_strictly_typed(
    sources: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    cache = tmp_path_factory.mktemp("mypy")
    of_stacks = {(src / "byoc/serving/stack.py").read_bytes(): src for src in sources.values()}
    assert len(of_stacks) == 2
    for src in of_stacks.values():
        assert not mypy(src, cache, "byoc")
    src = next(iter(of_stacks.values()))
    names = []
    for name, other in sources.items():
        names.append(f"framework_of_{name.replace('-', '_').replace('.', '_')}.py")
        shutil.copy(other / "byoc/framework.py", src / names[-1])
    assert len(names) >= 12
    assert not mypy(src, cache, *names)
