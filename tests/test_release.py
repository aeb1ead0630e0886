"""`make release` refuses what is not ready, and what it makes is a changelog, a commit and a tag."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import ROOT, commit, git

from sagegen import catalogue, proof


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A clone whose branch main is ready for a release."""
    git(tmp_path, "clone", "--quiet", "--no-hardlinks", str(ROOT), "checkout")
    folder = tmp_path / "checkout"
    for tag in git(folder, "tag").split():
        git(folder, "tag", "--delete", tag)
    git(folder, "switch", "--quiet", "-C", "main")
    git(folder, "remote", "remove", "origin")
    one = {"date": "2026-11-20", "image_bytes": 1, "tests": 1, "rules": 1}
    known = {"digest": proof.digest(folder), "combinations": {c.id: one for c in catalogue.provable()}}
    (folder / "sagegen/proof.json").write_text(json.dumps(known))
    (folder / "README.md").write_text("The matrix last passed on 2026-11-20.\n")
    (folder / "changes/+new.tool.md").write_text("A thing that is new.\n")
    commit(folder, "ready")
    note_tests(folder)
    return folder


def note_tests(folder: Path) -> None:
    (folder / "build").mkdir(exist_ok=True)
    (folder / "build/tested").write_text(git(folder, "rev-parse", "HEAD^{tree}"))


def release(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "scripts/release.py", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_a_release_is_a_changelog_a_commit_and_a_tag_and_a_second_one_changes_nothing(checkout: Path) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    done = release(checkout, "9.1.0", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "- A thing that is new." in done.stdout and "Everything is ready for v9.1.0" in done.stdout
    assert git(checkout, "rev-parse", "HEAD") == head and git(checkout, "status", "--porcelain") == ""

    done = release(checkout, "9.1.0")
    assert done.returncode == 0, done.stderr
    assert "git push origin main v9.1.0" in done.stdout
    changelog = (checkout / "CHANGELOG.md").read_text()
    first, second = changelog.split("\n## ")[1:3]
    assert (
        first.strip() == "Unreleased" and second.startswith("9.1.0 (") and "- A thing that is new." in second
    )
    assert not (checkout / "changes/+new.tool.md").exists()
    assert git(checkout, "describe", "--tags") == "v9.1.0\n" and git(checkout, "status", "--porcelain") == ""

    after = git(checkout, "rev-parse", "HEAD")
    assert "v9.1.0 is released already" in release(checkout, "9.1.0").stdout
    git(checkout, "tag", "--delete", "v9.1.0")  # as if it had been interrupted before
    assert "v9.1.0 is tagged" in release(checkout, "9.1.0").stdout
    assert git(checkout, "rev-parse", "HEAD") == after


def on_a_branch(folder: Path) -> None:
    git(folder, "switch", "--quiet", "-c", "other")


def not_committed(folder: Path) -> None:
    (folder / "README.md").write_text("being edited\n")


def older(folder: Path) -> None:
    git(folder, "tag", "v9.2.0")


def taken(folder: Path) -> None:
    git(folder, "tag", "v9.1.0")


def unproven(folder: Path) -> None:
    (folder / "template/project/Makefile.jinja").write_text("changed\n")
    commit(folder, "changed")


def not_tested(folder: Path) -> None:
    commit(folder, "nothing")
    (folder / "notes").write_text("new\n")
    commit(folder, "another tree")


def nothing_new(folder: Path) -> None:
    for path in (folder / "changes").glob("*.*.md"):
        path.unlink()
    (folder / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n## 0.1.0\n\n- First.\n")
    commit(folder, "nothing new")
    note_tests(folder)


@pytest.mark.parametrize(
    "spoil,says",
    [
        (on_a_branch, "this is the branch other – git switch main"),
        (not_committed, "README.md is not committed – git commit"),
        (older, "9.1.0 is not newer than 9.2.0"),
        (taken, "v9.1.0 is the tag of another commit"),
        (unproven, "run make matrix MATRIX=--full"),
        (not_tested, "make test has not passed on this commit"),
        (nothing_new, "add fragments to changes/"),
    ],
)
def test_what_is_not_ready_is_refused_in_one_line(
    checkout: Path, spoil: Callable[[Path], None], says: str
) -> None:
    spoil(checkout)
    before = git(checkout, "rev-parse", "HEAD"), git(checkout, "tag"), git(checkout, "status", "--porcelain")
    done = release(checkout, "9.1.0")
    assert done.returncode == 1 and says in done.stderr and len(done.stderr.splitlines()) == 1
    after = git(checkout, "rev-parse", "HEAD"), git(checkout, "tag"), git(checkout, "status", "--porcelain")
    assert after == before


@pytest.mark.parametrize("version", ["one", "1.2.3.dev1", "v1.2.3"])
def test_a_version_that_is_none_is_refused(version: str) -> None:
    done = release(ROOT, version, "--dry-run")
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
