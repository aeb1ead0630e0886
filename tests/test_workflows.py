"""The workflows of both kinds of repository: linted, pinned, with the permissions that they need."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers import ROOT, commit, git

BIN = Path(sys.executable).parent
GENERATED = ROOT / "template/project/{% if github_actions %}.github{% endif %}/workflows"
WORKFLOWS = [*(ROOT / ".github/workflows").glob("*.yml"), *GENERATED.glob("*.yml")]


def name(path: Path) -> str:
    return f"{'generated' if GENERATED in path.parents else 'own'}-{path.stem}"


@pytest.fixture(params=[ROOT / ".github/workflows", GENERATED], ids=["own", "generated"])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A repository that holds the workflows of one kind."""
    shutil.copytree(request.param, tmp_path / ".github/workflows")
    git(tmp_path, "init", "--quiet")
    return tmp_path


def test_actionlint_and_zizmor_find_nothing(repository: Path) -> None:
    for command in (["actionlint"], ["zizmor", "--offline", "--no-progress", "."]):
        done = subprocess.run(
            [BIN / command[0], *command[1:]], cwd=repository, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=name)
def test_actions_are_pinned_by_commit_and_jobs_name_their_permissions(path: Path) -> None:
    for action in re.findall(r"uses: (.+)", path.read_text()):
        assert re.fullmatch(r"[\w/.-]+@[0-9a-f]{40}  # v[0-9.]+", action), action
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {}
    assert all("permissions" in job for job in workflow["jobs"].values())


class Bot:
    """The update workflow's script in a repository with a remote, a `sagegen`, and a `gh` that logs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "clone"
        self.tools = folder / "tools"
        self.calls = folder / "gh.log"
        self.tools.mkdir()
        self.write("gh", f'echo "$@" >>{self.calls}\nif [ "$1" = pr ]; then cat "$8"; fi >>{self.calls}')
        (folder / "made/.github").mkdir(parents=True)
        (folder / "made/Makefile").write_text("update:\n\t@sagegen update\n")
        (folder / "made/.copier-answers.yml").write_text("_commit: v0.1.0\n")
        (folder / "made/.github/ci.yml").write_text("old\n")
        commit(folder / "made", "generated")
        git(folder, "clone", "--quiet", "--bare", "made", "origin")
        git(folder, "clone", "--quiet", "origin", "clone")

    def write(self, tool: str, script: str) -> None:
        (self.tools / tool).write_text(f"#!/bin/bash\n{script}\n")
        (self.tools / tool).chmod(0o755)

    def run(self, sagegen: str, **environment: str) -> subprocess.CompletedProcess[str]:
        self.write("sagegen", sagegen)
        workflow: dict[str, Any] = yaml.safe_load((GENERATED / "update.yml").read_text())
        script = workflow["jobs"]["update"]["steps"][-1]["run"]
        return subprocess.run(
            ["bash", "-eo", "pipefail", "-c", script],
            cwd=self.folder,
            env={
                **os.environ,
                "PATH": f"{self.tools}:{os.environ['PATH']}",
                "RUNNER_TEMP": str(self.tools.parent),
                "MAY_CHANGE_WORKFLOWS": "false",
                **environment,
            },
            capture_output=True,
            text=True,
        )

    def branches(self) -> list[str]:
        return git(self.folder, "ls-remote", "--heads", "origin").split()[1::2]


@pytest.fixture
def bot(tmp_path: Path) -> Bot:
    return Bot(tmp_path)


NEWER = """
echo "v0.1.0 → v0.2.0"
echo "_commit: v0.2.0" >.copier-answers.yml
echo new >.github/ci.yml
"""
BRANCH = "refs/heads/template-v0.2.0"


def test_a_newer_release_becomes_a_pull_request_once(bot: Bot) -> None:
    done = bot.run(NEWER)
    assert done.returncode == 0, done.stderr
    said = bot.calls.read_text()
    assert "pr create --head template-v0.2.0" in said and "--draft" not in said
    assert "v0.1.0 → v0.2.0" in said and "Left out: .github" in said
    assert BRANCH in bot.branches()
    assert git(bot.folder, "diff", "--name-only", "HEAD^") == ".copier-answers.yml\n"
    git(bot.folder, "switch", "--quiet", "-")
    bot.calls.unlink()
    assert bot.run(NEWER).returncode == 0
    assert "pr create" not in bot.calls.read_text()


def test_with_a_token_of_its_own_it_changes_workflows_too(bot: Bot) -> None:
    assert bot.run(NEWER, MAY_CHANGE_WORKFLOWS="true").returncode == 0
    assert ".github/ci.yml" in git(bot.folder, "diff", "--name-only", "HEAD^")
    assert "Left out" not in bot.calls.read_text()


def test_conflicts_make_a_draft_and_failures_make_nothing(bot: Bot) -> None:
    assert bot.run("echo 'cannot fetch the template' >&2; exit 1").returncode != 0
    assert bot.run("echo 'Up to date: v0.1.0'").returncode == 0
    assert BRANCH not in bot.branches() and not bot.calls.exists()
    git(bot.folder, "checkout", "--quiet", ".")
    git(bot.folder, "clean", "--quiet", "-fd")
    done = bot.run(NEWER + "echo; echo Conflicts:; exit 1")
    assert done.returncode == 0, done.stderr
    assert "--draft" in bot.calls.read_text() and BRANCH in bot.branches()
