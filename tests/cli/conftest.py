"""sagegen in an empty folder."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_tools import SAGEGEN, Sagegen, Terminal


@pytest.fixture(scope="session")
def sagegen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sagegen]:
    """Runs commands that need nothing special of their process."""
    prepared = Sagegen(tmp_path_factory.mktemp("sagegen"))
    yield prepared
    prepared.close()


@pytest.fixture
def run(tmp_path: Path, sagegen: Sagegen) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`sagegen ARGUMENTS` in an empty folder, without a terminal."""
    folder = tmp_path / "here"
    folder.mkdir()

    def run(*arguments: str, cwd: Path = folder, **options) -> subprocess.CompletedProcess[str]:
        if not options:
            return sagegen.run(*arguments, cwd=cwd)
        options = {"cwd": cwd, "stdin": subprocess.DEVNULL, "timeout": 120} | options
        return subprocess.run([*SAGEGEN, *arguments], capture_output=True, text=True, **options)

    return run


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The folder that `run` and `terminal` work in."""
    return tmp_path / "here"


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """`terminal(ARGUMENTS)` starts sagegen in an empty folder."""
    opened: list[Terminal] = []
    folder = tmp_path / "here"
    folder.mkdir(exist_ok=True)

    def start(*arguments: str) -> Terminal:
        opened.append(Terminal(list(arguments), folder))
        return opened[-1]

    yield start
    for one in opened:
        one.kill()
