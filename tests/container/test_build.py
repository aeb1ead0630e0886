"""What a rebuild costs, and how a build fails."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sagegen.render import render

IMAGE = f"sagegen-test-build:{os.getpid()}"
BASE_IMAGE = os.environ.get("SAGEGEN_BASE_IMAGE", "python:{python}-slim").replace("{python}", "3.13")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("build") / "repository"
    render(folder, {})
    yield folder
    subprocess.run(["docker", "rmi", "--force", IMAGE], check=False, capture_output=True)


def build(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    build_args = f"--progress plain --build-arg PYTHON_IMAGE={BASE_IMAGE} {' '.join(arguments)}"
    return subprocess.run(
        ["make", "build", f"IMAGE={IMAGE}", f"BASE_IMAGE={BASE_IMAGE}", f"BUILD_ARGS={build_args}"],
        cwd=repository,
        capture_output=True,
        text=True,
    )


def layers(image: str) -> list[str]:
    inspected = ["docker", "inspect", "--format", '{{join .RootFS.Layers " "}}', image]
    return subprocess.run(inspected, check=True, capture_output=True, text=True).stdout.split()


def test_an_edit_of_the_model_reuses_every_layer_below_the_code(repository: Path) -> None:
    assert build(repository).returncode == 0
    before = layers(IMAGE)
    model = repository / "src/model.py"
    model.write_text(model.read_text() + "\n# edited\n")

    again = build(repository)

    assert again.returncode == 0
    after = layers(IMAGE)
    code = len(before) - 3  # COPY src, compileall and WORKDIR are the code's own
    assert before[:code] == after[:code]
    assert before[code] != after[code], "the edit did not reach the image"
    ran = [line for line in again.stderr.splitlines() if "RUN" in line and "uv pip install" in line]
    assert len(ran) == 2
    for step in (line.split()[0] for line in ran):
        assert f"{step} CACHED" in again.stderr


def test_make_metrics_prints_the_definitions_for_create_training_job(repository: Path) -> None:
    assert build(repository).returncode == 0
    command = ["make", "--silent", "--no-print-directory", "metrics", f"IMAGE={IMAGE}"]
    definitions = json.loads(subprocess.check_output(command, cwd=repository))
    assert "test_accuracy" in {definition["Name"] for definition in definitions}
    assert all(re.compile(definition["Regex"]).groups == 1 for definition in definitions)


def test_a_requirement_that_does_not_exist_fails_the_build_with_its_name(repository: Path) -> None:
    requirements = repository / "requirements-serving.txt"
    original = requirements.read_text()
    requirements.write_text("no-such-package-of-sagegen==1.0\n")
    try:
        failed = build(repository)
    finally:
        requirements.write_text(original)
    assert failed.returncode != 0
    assert "no-such-package-of-sagegen" in failed.stderr
