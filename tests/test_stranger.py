"""A stranger adds a framework: a folder, a model for each kind of data, one line of choices."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT, git, tree

TESTS = ["tests/test_catalogue.py", "-k", "spec or choice or requirement or ids or exists or kind or value"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the repository in which `toy` was added as docs/how-to/extend.md says."""
    folder = tmp_path / "sagegen"
    parts = ("sagegen", "template", "tests", "copier.yml", "pyproject.toml")
    for name in git(ROOT, "ls-files", "-z", "--", *parts).split("\0")[:-1]:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    template = folder / "template"
    shutil.copytree(template / "frameworks/sklearn", template / "frameworks/toy")
    spec = template / "frameworks/toy/framework.yml"
    spec.write_text(spec.read_text().replace("title: scikit-learn", "title: Toy"))
    for models in template.glob("data/*/models"):
        model = (models / "sklearn.py").read_text().replace("frameworks/sklearn/", "frameworks/toy/")
        (models / "toy.py").write_text(model + "\n# toy\n")
    questions = template / "questions/20_container.yml"
    text = questions.read_text()
    questions.write_text(text.replace("    PyTorch: pytorch\n", "    PyTorch: pytorch\n    Toy: toy\n", 1))
    return folder


def run(checkout: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=checkout,
        env=os.environ
        | {"PYTHONPATH": f"{checkout}{os.pathsep}{checkout}/tests", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_framework_is_added_without_python_dockerfile_or_test(
    checkout: Path, trees, tmp_path: Path
) -> None:
    # What `make examples` does, for the new combinations alone: the others are rendered in other tests.
    code = """
import sys
from pathlib import Path
from sagegen import catalogue
from sagegen.examples import render_example
for c in catalogue.provable():
    if c.answers["framework"] == "toy":
        render_example(c, Path(sys.argv[1]) / c.id)
"""
    run(checkout, "-c", code, str(tmp_path / "examples"))
    made = {path.name: tree(path) for path in (tmp_path / "examples").iterdir()}
    assert {
        "toy-cpu-fastapi",
        "toy-gpu-flask",
        "toy-cpu-fastapi-text",
        "toy-cpu-fastapi-image",
    } <= made.keys()
    for name, files in made.items():
        like = trees[name.replace("toy", "sklearn")]
        assert files.keys() == like.keys()
        assert files["src/model.py"][1].endswith(b"# toy\n")
        assert b"Toy on " in files["README.md"][1]

    listed = json.loads(run(checkout, "-m", "sagegen", "list", "--json"))
    assert "toy" in [framework["name"] for framework in listed["frameworks"]]
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(checkout)]
    assert " passed" in run(checkout, *command, *TESTS)
