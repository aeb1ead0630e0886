"""A generated repository records where its template came from, so that `copier update` can reach it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import copier
import pytest
import yaml
from helpers import ROOT, commit, git

from sagegen.origin import SOURCE, Origin, from_checkout, from_installation

AT = "@"  # apart, or the address of the repository reads like one of a person


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """All of sagegen as a git repository without any tag."""
    folder = tmp_path / "published"
    folder.mkdir()
    for name in ("sagegen", "template", "copier.yml", "README.md", "LICENSE", "pyproject.toml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    (folder / ".gitignore").write_text("__pycache__\n")
    commit(folder, "no release yet")
    return folder


@pytest.fixture
def checkout(published: Path, tmp_path: Path) -> Path:
    git(tmp_path, "clone", "--quiet", str(published), "checkout")
    return tmp_path / "checkout"


def generate(package: Path, folder: Path) -> tuple[dict, str]:
    """The answers file and the output of `sagegen new`, run from the package in `package`."""
    done = subprocess.run(
        [sys.executable, "-m", "sagegen", "new", folder, "--defaults"],
        cwd=folder.parent,
        env=os.environ | {"PYTHONPATH": str(package)},
        check=True,
        capture_output=True,
        text=True,
    )
    return yaml.safe_load((folder / ".copier-answers.yml").read_text()), " ".join(done.stdout.split())


def newer(published: Path) -> None:
    (published / "template/project/NEW.md").write_text("new\n")
    commit(published, "a release", "v0.1.0")


def test_what_pip_installed_from_git_is_updated_from_its_commit(published, tmp_path, monkeypatch):
    monkeypatch.setenv("COPIER_CACHE_DIR", str(tmp_path / "cache"))
    head = git(published, "rev-parse", "HEAD").strip()
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
         "--target", tmp_path / "site", f"git+{published.as_uri()}"],
        check=True, capture_output=True,
    )  # fmt: skip
    project = tmp_path / "project"
    recorded, said = generate(tmp_path / "site", project)
    assert recorded["_commit"] == head and recorded["_src_path"] == f"git+{published.as_uri()}"
    assert "No update" not in said

    commit(project, "generated")
    newer(published)
    copier.run_update(project, defaults=True, overwrite=True, quiet=True)
    assert (project / "NEW.md").exists()
    assert yaml.safe_load((project / ".copier-answers.yml").read_text())["_commit"] == "v0.1.0"


def test_a_pushed_checkout_records_its_commit_and_is_updated_from_it(checkout, published, tmp_path):
    project = tmp_path / "project"
    recorded, _ = generate(checkout, project)
    assert recorded["_commit"] == git(checkout, "rev-parse", "HEAD").strip()
    commit(project, "generated")
    newer(published)
    copier.run_update(project, defaults=True, overwrite=True, quiet=True)
    assert (project / "NEW.md").exists()


def test_a_checkout_records_no_commit_that_its_remote_lacks(checkout, tmp_path):
    commit(checkout, "not pushed")
    recorded, said = generate(checkout, tmp_path / "project")
    assert "_commit" not in recorded
    assert "No update will reach this repository: the commit of this checkout is not pushed" in said
    assert "pipx install git+https://github.com/sagegen/sagegen" in said


def test_a_checkout_with_a_changed_template_records_no_commit(checkout):
    (checkout / "template/project/NEW.md").write_text("mine\n")
    why = from_checkout(checkout).unknown
    assert why == "the template in this checkout has changes that are not committed"


@pytest.mark.parametrize(
    "url,source",
    [
        ("https://github.com/sagegen/sagegen", SOURCE),
        ("ssh://github.com/sagegen/sagegen.git", SOURCE),
        ("https://git.example.com/team/sagegen", "git+https://git.example.com/team/sagegen"),
        (f"https://user:secret{AT}git.example.com/sagegen.git", "https://git.example.com/sagegen.git"),
    ],
)
def test_a_git_address_is_recorded_as_copier_takes_it_and_without_a_password(url, source):
    direct_url = {"url": url, "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}}
    assert from_installation(direct_url, "0.1.0.dev0") == Origin(source, "c0ffee")


def test_only_a_release_records_a_tag():
    assert from_installation(None, "0.2.0") == Origin(SOURCE, "v0.2.0")
    assert from_installation({"url": "file:///w.whl", "archive_info": {}}, "0.2.0rc1").commit == "v0.2.0rc1"
    for version in ("0.2.0.dev0", "0.2.0+local"):
        assert from_installation(None, version).unknown == f"sagegen {version} is not a release"
    assert from_installation({"url": "file:///here", "dir_info": {}}, "0.2.0").commit is None
