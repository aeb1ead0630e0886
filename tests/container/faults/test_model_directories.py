"""Model directories that cannot be served: /ping never lies, and one line of the log says what is wrong."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .containers import Container, Containers
from .images import STACKS, Subject
from .waiting import wait_until

HUGE = 200 * 1024**3
MANIFEST = "byoc-manifest.json"


def manifest(folder: Path, **changes: object) -> None:
    file = folder / MANIFEST
    file.write_text(json.dumps({**json.loads(file.read_bytes()), **changes}))


def model_file(folder: Path) -> Path:
    [file] = [path for path in folder.iterdir() if path.name != MANIFEST]
    return file


def halve(folder: Path) -> None:
    os.truncate(model_file(folder), model_file(folder).stat().st_size // 2)


def fill_with_zeros(folder: Path) -> None:
    """A sparse file: huge to whoever trusts its size."""
    model_file(folder).write_bytes(b"")
    os.truncate(model_file(folder), HUGE)


#: What is done to the folder of a model that works, and what the log must then say: one for each way to fail.
#: tests/runtime/test_manifest.py has every manifest that is refused.
BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "without the model": (lambda f: model_file(f).unlink(), "No such file"),
    "half a model": (halve, "cannot be loaded"),
    "huge and void": (fill_with_zeros, "cannot be loaded"),
    "an older framework": (
        lambda f: manifest(f, versions={"sklearn": "0.24.2"}),
        "written by sklearn 0.24.2",
    ),
}
#: All of them in one stack; in the others, which load by the same code, one of model and manifest each.
CASES = [
    (stack, name)
    for stack in STACKS
    for name in (BROKEN if stack == STACKS[0] else ("half a model", "an older framework"))
]


@pytest.fixture(scope="module")
def started(
    shared_containers: Containers, image: Subject, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Container]:
    """A container for each, started together."""
    found = {}
    for number, name in enumerate(name for stack, name in CASES if stack == image.stack):
        folder = tmp_path_factory.mktemp("broken") / "model"
        shutil.copytree(image.model_dir, folder)
        BROKEN[name][0](folder)
        found[name] = shared_containers.serve(folder, workers=1 + number % 2)
    return found


@pytest.mark.parametrize("image, name", CASES, indirect=["image"], scope="session")
def test_a_model_that_cannot_work_is_never_healthy_and_one_line_says_why(
    name: str, started: dict[str, Container]
) -> None:
    container = started[name]
    said = []

    def has_failed() -> bool:
        said.append(container.ping())
        return said[-1] not in (None, 503) or container.exit_code is not None

    wait_until(has_failed, "the load to fail", 120)
    assert set(said) <= {None, 503, 500}
    # It stays so, and does not try again and again.
    wait_until(lambda: not container.pids("worker"), "the workers' end")
    log = container.log
    assert container.ping() == 500
    assert container.ask()[0] == 500
    lines = [line for line in log.splitlines() if BROKEN[name][1] in line and "cannot be loaded" in line]
    assert lines, log
    assert all(len(line) < 500 for line in lines)
    assert container.log == log
    assert len(log) < 20_000


def test_a_model_of_any_size_that_can_be_loaded_is_served(
    containers: Containers, image: Subject, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(image.model_dir, folder)
    (folder / "more.bin").write_bytes(b"")
    os.truncate(folder / "more.bin", HUGE)
    container = containers.serve(folder)
    container.wait_until_healthy()
