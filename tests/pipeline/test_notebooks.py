"""The generated notebooks: pairs that agree, and that run from top to bottom against `sagegen local`."""

from __future__ import annotations

import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import jupytext
import nbformat
import pytest
from accounts import emulator
from emulators import wait
from helpers import BASE_IMAGE
from nbclient import NotebookClient

from sagegen.render import render

NOTEBOOKS = ("1_prepare", "2_deploy", "3_invoke")


@pytest.mark.parametrize("hosting", ["realtime", "serverless", "async", "batch"])
def test_a_notebook_and_the_py_beside_it_say_the_same_and_have_no_outputs(
    tmp_path: Path, hosting: str
) -> None:
    render(tmp_path / "repository", {"hosting": hosting, "notebooks": True})
    for name in NOTEBOOKS:
        path = tmp_path / f"repository/notebooks/{name}.ipynb"
        notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
        nbformat.validate(notebook)  # type: ignore[no-untyped-call]
        beside = jupytext.read(path.with_suffix(".py"))
        told = [[(cell.cell_type, cell.source) for cell in one.cells] for one in (notebook, beside)]
        assert told[0] == told[1]
        assert not [cell for cell in notebook.cells if cell.get("outputs")]


@pytest.fixture
def name() -> Iterator[str]:
    """A project's name that no other test has, because its image does."""
    name = f"notebooks-{uuid.uuid4().hex[:8]}"
    yield name
    names = subprocess.check_output(["docker", "images", "--format", "{{.Repository}}:{{.Tag}}"], text=True)
    for image in re.findall(rf"^.*/{name}:.*$", names, re.MULTILINE):
        subprocess.run(["docker", "rmi", "--force", image], check=False, capture_output=True)


def test_notebooks_run_from_top_to_bottom_and_leave_nothing_that_costs(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "repository"
    render(folder, {"project_name": name, "notebooks": True})
    settings = folder / "deploy/settings.toml"
    settings.write_text(settings.read_text().replace("poll_seconds = 15", "poll_seconds = 1"))
    build = {"BASE_IMAGE": BASE_IMAGE, "BUILD_ARGS": f"--build-arg PYTHON_IMAGE={BASE_IMAGE}"}
    printed = {}
    with emulator(tmp_path) as local:
        environment = {**local.environment, **build}
        for one in NOTEBOOKS:
            notebook = nbformat.read(folder / f"notebooks/{one}.ipynb", as_version=4)  # type: ignore[no-untyped-call]
            place = {"metadata": {"path": str(folder / "notebooks")}}
            NotebookClient(notebook, timeout=300, resources=place).execute(env=environment)
            outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
            printed[one] = "".join(output.get("text", "") for output in outputs)
            assert any("image/png" in output.get("data", {}) for output in outputs), f"{one} has no plot"
        wait(lambda: not local.client("sagemaker").list_endpoints()["Endpoints"])
        down = subprocess.run(
            [sys.executable, "-m", "deploy", "down", "--yes"],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert down.returncode == 0, down.stdout + down.stderr
        assert not local.client("s3").list_buckets()["Buckets"]
    assert printed["3_invoke"].count("right ") == 4 and "WRONG" not in printed["3_invoke"]
