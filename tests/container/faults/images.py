"""The images under test, one for each stack, and a model for them to serve."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sagegen import catalogue
from sagegen.render import render

from .containers import LABEL, docker

MODEL = Path(__file__).parent / "numbers/model.py"
STACKS = list(catalogue.choices("stack"))
BASE_IMAGE = os.environ.get("SAGEGEN_BASE_IMAGE", "python:{python}-slim").replace("{python}", "3.13")


@dataclass(frozen=True)
class Subject:
    """A stack's image, the repository that it was built from, and a model that it has trained."""

    stack: str
    image: str
    repository: Path
    model_dir: Path


@contextmanager
def subject(stack: str, folder: Path, image: str = "") -> Iterator[Subject]:
    """Render, build and train a model of numbers; or take an image that exists."""
    repository = folder / "repository"
    render(repository, {"stack": stack})
    shutil.copy(MODEL, repository / "src/model.py")
    name = image.replace("{stack}", stack) or f"sagegen-faults-{stack}:{os.getpid()}"
    try:
        if not image:
            _build(repository, name)
        yield Subject(stack, name, repository, _train(name, repository, folder / "opt_ml"))
    finally:
        if not image:
            subprocess.run(["docker", "rmi", "--force", name], check=False, capture_output=True)


def _build(repository: Path, image: str) -> None:
    arguments = [f"PYTHON_IMAGE={BASE_IMAGE}", *shlex.split(os.environ.get("SAGEGEN_BUILD_ARGS", ""))]
    build_args = " ".join([f"--label {LABEL}", *(f"--build-arg {argument}" for argument in arguments)])
    command = ["make", "build", f"IMAGE={image}", f"BASE_IMAGE={BASE_IMAGE}", f"BUILD_ARGS={build_args}"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def _train(image: str, repository: Path, opt_ml: Path) -> Path:
    shutil.copytree(repository / "local_test/opt_ml/input", opt_ml / "input")
    for name in ("model", "output", "checkpoints"):
        (opt_ml / name).mkdir()
    user = f"{os.getuid()}:{os.getgid()}"
    docker("run", "--rm", "--label", LABEL, "--user", user, "--volume", f"{opt_ml}:/opt/ml", image, "train")
    return opt_ml / "model"
