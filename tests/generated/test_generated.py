"""Every combination's own lint, format and tests, as its user would run them – without Docker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sagegen import catalogue
from sagegen.render import render

EXISTING = {combination.id: combination for combination in catalogue.existing()}


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generated repositories' development tools, installed once for all."""
    folder = tmp_path_factory.mktemp("tools")
    render(folder / "repository", {})
    venv = folder / "venv"
    run(folder / "repository", "make", f"{venv}/.tools", f"VENV={venv}", f"PYTHON={sys.executable}")
    return venv


@pytest.fixture(params=EXISTING.values(), ids=EXISTING)
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    render(tmp_path / "repository", request.param.answers)
    return tmp_path / "repository"


def run(folder: Path, *command: str) -> str:
    """Run a command that must succeed; what it printed."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not {".ruff_cache", ".pytest_cache", "__pycache__"} & set(path.parts)
    }


def test_passes_its_own_lint_and_has_nothing_to_format(repository: Path, tools: Path) -> None:
    written = contents(repository)
    # Tools are older than the render: do not install them again.
    make = ["make", "--old-file=requirements-dev.txt", f"VENV={tools}"]
    run(repository, *make, "lint")
    run(repository, *make, "format")
    assert contents(repository) == written


def test_passes_its_own_tests_without_docker(repository: Path, tools: Path) -> None:
    printed = run(
        repository, f"{tools}/bin/python", "-m", "pytest", "-q", "tests/test_byoc.py", "tests/test_model.py"
    )
    assert " passed" in printed


def test_help_lists_every_target(repository: Path) -> None:
    printed = run(repository, "make")
    targets = ["setup", "build", "train", "serve", "predict", "test", "lint", "format", "push", "clean"]
    assert [target for target in targets if f"make {target} " not in printed] == []
