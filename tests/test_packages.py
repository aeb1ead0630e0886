"""Wheel and sdist from a clean clone, installed with every Python that is promised and found here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from helpers import ROOT, commit, git, tree

from sagegen.render import render
from sagegen.update import REQUIREMENTS

BIN = Path(sys.executable).parent
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def interpreter(version: str) -> str | None:
    """A Python on the PATH, or one that pyenv installed."""
    if found := shutil.which(f"python{version}"):
        works = subprocess.run([found, "-c", "import venv"], capture_output=True).returncode == 0
        if works:
            return found
    installed = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    return str(installed[-1]) if installed else None


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel and the sdist of a release: the clone has a tag."""
    folder = tmp_path_factory.mktemp("packages")
    git(folder, "clone", "--quiet", "--no-hardlinks", str(ROOT), "clone")
    git(folder / "clone", "tag", "v9.8.7")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", folder / "clone"],
        check=True, capture_output=True,
    )  # fmt: skip
    return {
        "clone": folder / "clone",
        "wheel": folder / "dist/sagegen-9.8.7-py3-none-any.whl",
        "sdist": folder / "dist/sagegen-9.8.7.tar.gz",
    }


def uv(*arguments: str | Path) -> None:
    done = subprocess.run([BIN / "uv", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# The sdist is built into a wheel once more: with the oldest Python, whose result is the same for all.
@pytest.mark.parametrize("kind,version", [("sdist", PYTHONS[0]), *(("wheel", one) for one in PYTHONS)])
def test_a_package_needs_neither_git_nor_network_and_records_its_release(
    packages: dict[str, Path], tmp_path: Path, kind: str, version: str
) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} on this machine; the publish workflow has it")
    uv("venv", "--quiet", "--python", python, tmp_path / "venv")
    uv("pip", "install", "--quiet", "--python", tmp_path / "venv/bin/python", packages[kind])
    sagegen = tmp_path / "venv/bin/sagegen"
    nothing = {"PATH": "/nonexistent", "HOME": str(tmp_path), "http_proxy": "http://127.0.0.1:9"}
    said = subprocess.run([sagegen, "--version"], capture_output=True, text=True, env=nothing)
    assert said.stdout == "sagegen 9.8.7\n", said.stderr
    done = subprocess.run(
        [sagegen, "new", "out", "--defaults"], cwd=tmp_path, capture_output=True, text=True, env=nothing
    )
    assert done.returncode == 0, done.stderr
    recorded = yaml.safe_load((tmp_path / "out/.copier-answers.yml").read_text())
    assert recorded["_commit"] == "v9.8.7"

    same = {"_src_path": recorded["_src_path"], "_commit": "v9.8.7"}
    render(tmp_path / "checkout/out", {"project_name": "out"}, recorded_origin=same)
    assert tree(tmp_path / "out") == tree(tmp_path / "checkout/out")
    assert (tmp_path / "out" / REQUIREMENTS).is_file() and os.access(tmp_path / "out/src/train", os.X_OK)


def test_what_a_wheel_generated_is_updated_from_a_git_address(
    packages: dict[str, Path], tmp_path: Path
) -> None:
    uv("venv", "--quiet", "--python", sys.executable, tmp_path / "venv")
    uv("pip", "install", "--quiet", "--python", tmp_path / "venv/bin/python", packages["wheel"])
    sagegen, project = tmp_path / "venv/bin/sagegen", tmp_path / "churn"
    subprocess.run([sagegen, "new", project, "--defaults"], check=True, capture_output=True)
    answers = project / ".copier-answers.yml"
    # The public address cannot be reached from a test: the clone stands in for it.
    answers.write_text(answers.read_text().replace("gh:sagegen/sagegen", f"git+{packages['clone'].as_uri()}"))
    commit(project, "generated")
    (packages["clone"] / "template/project/NEW.md").write_text("new\n")
    commit(packages["clone"], "the next release", "v9.9.0")

    done = subprocess.run([sagegen, "update"], cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "v9.8.7 → v9.9.0" in done.stdout
    assert (project / "NEW.md").is_file() and "_commit: v9.9.0" in answers.read_text()
