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


def truncate(size: Callable[[int], int]) -> Callable[[Path], None]:
    return lambda folder: os.truncate(model_file(folder), size(model_file(folder).stat().st_size))


def flip_a_byte(folder: Path) -> None:
    content = bytearray(model_file(folder).read_bytes())
    content[len(content) // 3] ^= 0xFF
    model_file(folder).write_bytes(content)


def fill_with_zeros(folder: Path) -> None:
    """A sparse file: huge to whoever trusts its size."""
    model_file(folder).write_bytes(b"")
    os.truncate(model_file(folder), HUGE)


def replace_with_a_folder(folder: Path) -> None:
    file = model_file(folder)
    file.unlink()
    file.mkdir()


def replace_with_a_link_to_nowhere(folder: Path) -> None:
    file = model_file(folder)
    file.unlink()
    file.symlink_to("/nowhere")


#: What is done to the folder of a model that works, and what the log must then say.
BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "without the model": (lambda f: model_file(f).unlink(), "No such file"),
    "empty model": (truncate(lambda size: 0), "cannot be loaded"),
    "half a model": (truncate(lambda size: size // 2), "cannot be loaded"),
    "a model but for its last byte": (truncate(lambda size: size - 1), "cannot be loaded"),
    "huge and void": (fill_with_zeros, "cannot be loaded"),
    "a folder for a model": (replace_with_a_folder, "cannot be loaded"),
    "a link to nowhere": (replace_with_a_link_to_nowhere, "No such file"),
    "an older framework": (
        lambda f: manifest(f, versions={"sklearn": "0.24.2"}),
        "written by sklearn 0.24.2",
    ),
    "another framework": (lambda f: manifest(f, framework=["torch"]), "the artifact is for torch"),
    "other columns": (lambda f: manifest(f, features=["age", "income"]), "expects the columns"),
    "a damaged manifest": (lambda f: (f / MANIFEST).write_bytes(b"\x00{"), MANIFEST),
    "a manifest that is a list": (lambda f: (f / MANIFEST).write_text("[]"), MANIFEST),
    "a manifest without versions": (lambda f: manifest(f, versions=["1"]), MANIFEST),
    "a deep manifest": (lambda f: (f / MANIFEST).write_text("[" * 200_000), MANIFEST),
}
#: All of them in one stack; in the others, which load by the same code, one for each way to fail.
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
