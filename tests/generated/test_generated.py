"""Every combination's own lint, format and tests, as its user would run them – without Docker."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from sagegen import catalogue
from sagegen.render import render

# Taken once: pytest changes its own beside our threads, and a new process that is just given it would fail.
ENVIRONMENT = dict(os.environ)
EXISTING = {combination.id: combination for combination in catalogue.existing()}


def rendered(folder: Path, combination: str) -> Path:
    """A repository of that combination."""
    render(folder / "repository", EXISTING[combination].answers)
    return folder / "repository"


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generated repositories' development tools, installed once for all."""
    folder = tmp_path_factory.mktemp("tools")
    render(folder / "repository", {})
    venv = folder / "venv"
    run(folder / "repository", "make", f"{venv}/.tools", f"VENV={venv}", f"PYTHON={sys.executable}")
    return venv


def run(folder: Path, *command: str) -> str:
    """Run a command that must succeed; what it printed."""
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not {".ruff_cache", ".pytest_cache", "__pycache__"} & set(path.parts)
    }


def passes_its_own_lint_and_has_nothing_to_format(repository: Path, tools: Path) -> None:
    written = contents(repository)
    # Tools are older than the render: do not install them again.
    make = ["make", "--old-file=requirements-dev.txt", f"VENV={tools}"]
    run(repository, *make, "lint")
    run(repository, *make, "format")
    assert contents(repository) == written


def passes_its_own_tests_without_docker(repository: Path, tools: Path) -> None:
    tests = [f"tests/test_{name}.py" for name in ("byoc", "index", "model")]
    printed = run(repository, f"{tools}/bin/python", "-m", "pytest", "-q", *tests)
    assert " passed" in printed


Promise = Callable[[Path, Path], None]
PROMISES: list[Promise] = [
    passes_its_own_lint_and_has_nothing_to_format,
    passes_its_own_tests_without_docker,
]


@pytest.fixture(scope="session")
def begun(
    request: pytest.FixtureRequest, tools: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[tuple[Promise, str], Future[None]]]:
    """Every promise that a selected test wants kept: put to the proof as many at a time as there are CPUs."""
    wanted = [
        (item.callspec.params["promise"], item.callspec.params["combination"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.originalname == "test_a_generated_repository"
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = {}
        for promise, combination in wanted:
            # Here, for Copier is not made for threads.
            repository = rendered(tmp_path_factory.mktemp("generated"), combination)
            results[promise, combination] = pool.submit(promise, repository, tools)
        yield results
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
@pytest.mark.parametrize("combination", EXISTING)
def test_a_generated_repository(
    promise: Promise, combination: str, begun: dict[tuple[Promise, str], Future[None]]
) -> None:
    begun[promise, combination].result()


@pytest.mark.parametrize("combination", EXISTING)
def test_help_lists_every_target(combination: str, tmp_path: Path) -> None:
    printed = run(rendered(tmp_path, combination), "make")
    targets = ["setup", "build", "train", "serve", "predict", "test", "lint", "format", "push", "clean"]
    assert [target for target in targets if f"make {target} " not in printed] == []
