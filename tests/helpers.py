"""What tests of all layers call: the combinations, trees as data, and git."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import jinja2

from sagegen import catalogue
from sagegen.catalogue import Combination

ROOT = Path(__file__).parent.parent
COMBOS = catalogue.existing()
SAMPLES = catalogue.samples()
BASE_IMAGE = os.environ.get("SAGEGEN_BASE_IMAGE", "python:{python}-slim").replace("{python}", "3.13")


def combo_id(combination: Combination) -> str:
    return combination.id


def tree(root: Path) -> dict[str, tuple[bool, bytes]]:
    """{path: (executable, bytes)} of every file under `root`, git's own aside."""
    return {
        name: (bool(path.stat().st_mode & 0o111), path.read_bytes())
        for path in sorted(root.rglob("*"))
        if path.is_file() and not (name := path.relative_to(root).as_posix()).startswith(".git/")
    }


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout


def commit(folder: Path, message: str, tag: str = "") -> None:
    """Everything in `folder` as a commit, whether or not it was a repository before."""
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", message)
    if tag:
        git(folder, "tag", tag)


def compile_once() -> None:
    """Compile each string of a template once. Copier does it for each file: half of a render's time."""
    compiled: dict[tuple[object, ...], Any] = {}
    compile_ = jinja2.Environment.compile

    def once(self: jinja2.Environment, source: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(source, str):
            self.preprocess(source)  # where Copier's `yield` tag forgets the path before
        key = (type(self), self.lexer, source, *arguments, *options.items())
        if key not in compiled:
            compiled[key] = compile_(self, source, *arguments, **options)
        return compiled[key]

    jinja2.Environment.compile = once  # type: ignore[method-assign]


def build_image(
    repository: Path, image: str, *arguments: str, base: str = BASE_IMAGE
) -> subprocess.CompletedProcess[str]:
    """Build a generated repository's image, with more arguments for docker build."""
    for argument in [f"PYTHON_IMAGE={base}", *shlex.split(os.environ.get("SAGEGEN_BUILD_ARGS", ""))]:
        arguments += (f"--build-arg {argument}",)
    build_args = " ".join(["--progress plain", *arguments])
    return subprocess.run(
        ["make", "build", f"IMAGE={image}", f"BASE_IMAGE={base}", f"BUILD_ARGS={build_args}"],
        cwd=repository,
        capture_output=True,
        text=True,
    )
