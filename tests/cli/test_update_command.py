"""`sagegen update`: what it announces, refuses, applies, and leaves to the user."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import copier
import pytest
import yaml
from cli_tools import SAGEGEN, fails
from helpers import commit, git, tree

from sagegen.render import render

SKLEARN = "template/frameworks/sklearn/framework.yml"
CHANGELOG = "# Changelog\n\n## Unreleased\n\n- Known: was there before.\n"


@pytest.fixture
def first(upstream: Path) -> Path:
    """The template's repository at its first release, with a changelog."""
    (upstream / "CHANGELOG.md").write_text(CHANGELOG)
    commit(upstream, "a changelog", "v0.1.1")
    return upstream


@pytest.fixture
def project(first: Path, here: Path) -> Path:
    folder = here / "churn"
    render(folder, {}, recorded_origin={"_src_path": str(first), "_commit": "v0.1.1"})
    commit(folder, "generated")
    return folder


@pytest.fixture
def update(run, project):
    """`sagegen update ARGUMENTS` in the project."""
    return lambda *arguments, **options: run("update", *arguments, **({"cwd": project} | options))


def release(upstream: Path) -> None:
    """v0.2.0: another label, a file more, one less, one without a mode, a newer scikit-learn."""
    project = upstream / "template/project"
    replace_in(project / "Dockerfile.jinja", "ARG BASE_IMAGE", "# newer\nARG BASE_IMAGE")
    (project / "NEW.md").write_text("new\n")
    (project / ".yamllint.yaml").unlink()
    replace_in(upstream / SKLEARN, "scikit-learn==1.9.1", "scikit-learn==1.9.2")
    text = CHANGELOG.replace("Unreleased\n\n", "0.2.0\n\n- New: closes a hole\n  in scikit-learn.\n")
    (upstream / "CHANGELOG.md").write_text(text)
    commit(upstream, "the second release", "v0.2.0")


def replace_in(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def recorded(project: Path) -> dict:
    return yaml.safe_load((project / ".copier-answers.yml").read_text())


def test_an_update_says_what_is_new_and_what_it_changed(update, project, first):
    release(first)
    done = update()
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("v0.1.1 → v0.2.0\n")
    assert "\n0.2.0\n- New: closes a hole\n  in scikit-learn.\n" in done.stdout
    assert "Known" not in done.stdout
    assert re.search("line [0-9]: scikit-learn==1.9.1 → scikit-learn==1.9.2\n", done.stdout)
    for line in ("changed   Dockerfile", "new       NEW.md", "removed   .yamllint.yaml"):
        assert f"  {line}\n" in done.stdout
    assert "Conflicts" not in done.stdout
    assert recorded(project)["_commit"] == "v0.2.0"
    assert "scikit-learn==1.9.1" in (project / "requirements.txt").read_text()

    undo = re.search("To undo: (.*)", done.stdout)
    subprocess.run(undo[1], shell=True, cwd=project, check=True, capture_output=True)
    assert recorded(project)["_commit"] == "v0.1.1" and not git(project, "status", "--porcelain")


def test_the_files_are_those_of_copier_update(update, project, first, tmp_path):
    other = shutil.copytree(project, tmp_path / "other")
    release(first)
    assert update().returncode == 0
    copier.run_update(other, defaults=True, overwrite=True, quiet=True)
    assert tree(project) == tree(other)


def test_check_tells_a_bot_and_changes_nothing(update, project, first):
    assert update("--check").returncode == 0
    release(first)
    before = tree(project)
    done = update("--check")
    assert done.returncode == 1 and not done.stderr
    assert "v0.1.1 → v0.2.0" in done.stdout and "closes a hole" in done.stdout
    assert tree(project) == before
    shutil.rmtree(first)
    assert "cannot fetch the template from" in fails(update("--check"), 2)


def test_diff_shows_the_update_and_changes_nothing(update, project, first, tmp_path):
    release(first)
    before = tree(project)
    done = update("--diff")
    assert done.returncode == 0, done.stderr
    assert "+# newer\n" in done.stdout and tree(project) == before
    (tmp_path / "patch").write_text(done.stdout[done.stdout.index("diff --git") :])
    git(project, "apply", str(tmp_path / "patch"))
    assert (project / "NEW.md").exists() and recorded(project)["_commit"] == "v0.2.0"


def test_conflicts_are_listed_with_what_to_do_until_there_are_none(update, project, first):
    replace_in(project / "Dockerfile", "ARG BASE_IMAGE", "# mine\nARG BASE_IMAGE")
    (project / ".yamllint.yaml").write_text("mine: true\n")
    commit(project, "edited")
    release(first)

    done = update()
    assert done.returncode == 1 and not done.stderr
    assert "  conflict  Dockerfile\n" in done.stdout
    assert "git add Dockerfile" in done.stdout
    keep = re.search(r"\.yamllint\.yaml: the template no longer has it.*\n *(git .*)", done.stdout)
    subprocess.run(keep[1], shell=True, cwd=project, check=True)
    assert (project / ".yamllint.yaml").read_text() == "mine: true\n"

    assert "conflicts of the last update are open in Dockerfile" in fails(update(), 1)
    commit(project, "committed as it is")
    assert "conflicts of the last update are open in Dockerfile" in fails(update(), 1)
    kept = [line for line in (project / "Dockerfile").read_text().splitlines() if line[:7] not in MARKERS]
    (project / "Dockerfile").write_text("\n".join(kept) + "\n")
    commit(project, "resolved")
    done = update()
    assert done.returncode == 0 and "Up to date: v0.2.0" in done.stdout


MARKERS = ("<<<<<<<", "=======", ">>>>>>>", "|||||||")


def test_what_is_not_committed_stops_an_update(update, project, first):
    release(first)
    (project / "notes.txt").write_text("mine\n")
    line = fails(update(), 1)
    assert line == "not committed: notes.txt – git commit or git stash --include-untracked, and retry"
    assert not (project / "NEW.md").exists()


def test_a_repository_below_another_is_updated_alone(run, here, project, first):
    shutil.rmtree(project / ".git")
    (here / "beside").write_text("mine\n")
    commit(here, "a monorepo")
    (here / "beside").write_text("being edited\n")
    release(first)
    done = run("update", "churn")
    assert done.returncode == 0, done.stderr
    assert "  new       NEW.md\n" in done.stdout and "beside" not in done.stdout
    undo = re.search("To undo: (.*)", done.stdout)
    subprocess.run(undo[1], shell=True, cwd=here, check=True, capture_output=True)
    assert git(here, "status", "--porcelain") == " M beside\n"


def test_an_answer_is_changed_at_the_same_version(update, project):
    done = update("--data", "stack=flask")
    assert done.returncode == 0, done.stderr
    assert (project / "src/wsgi.py").exists() and recorded(project)["stack"] == "flask"
    assert "  removed   src/asgi.py\n" in done.stdout


def test_another_framework_replaces_files_that_nobody_edited(update, project, first, tmp_path):
    done = update("--data", "framework=keras", "--data", "device=gpu")
    assert done.returncode == 0, done.stderr
    assert "  src/model.py: as it was generated: it is replaced\n" in done.stdout
    copier.run_copy(str(first), tmp_path / "fresh", recorded(project), defaults=True, quiet=True)
    assert tree(project) == tree(tmp_path / "fresh")
    assert recorded(project)["framework"] == "keras"


def test_another_framework_keeps_what_was_edited_and_puts_the_new_one_beside_it(update, project, first):
    mine = (project / "src/model.py").read_text() + "# mine\n"
    (project / "src/model.py").write_text(mine)
    commit(project, "edited")
    preview = update("--data", "framework=pytorch", "--diff")
    assert "+++ b/src/model.py.new\n" in preview.stdout and not (project / "src/model.py.new").exists()
    done = update("--data", "framework=pytorch")
    assert done.returncode == 1 and not done.stderr
    assert "  src/model.py: edited: it stays" in done.stdout
    assert "  rm src/model.py.new\n" in done.stdout
    assert (project / "src/model.py").read_text() == mine
    assert "import torch" in (project / "src/model.py.new").read_text()
    assert "torch==" in (project / "requirements.txt").read_text()


def test_a_newer_default_of_an_answer_is_announced(update, project, first):
    questions = first / "template/questions/20_container.yml"
    replace_in(questions, 'default: "3.13"', 'default: "3.11"')
    commit(first, "another Python", "v0.2.0")
    done = update("--check")
    assert done.returncode == 1, done.stderr
    assert "python_version: the default is 3.11 now, yours stays 3.13.\n" in done.stdout
    assert "sagegen update --data python_version=3.11\n" in done.stdout
    assert "project_name" not in done.stdout


def test_a_commit_after_the_last_release_is_up_to_date(update, project, first):
    commit(first, "no release")
    head = git(first, "rev-parse", "HEAD").strip()
    replace_in(project / ".copier-answers.yml", "_commit: v0.1.1", f"_commit: {head}")
    commit(project, "from a commit")
    done = update()
    assert done.returncode == 0 and "Up to date: v0.1.1-1-g" in done.stdout
    assert update("--check").returncode == 0
    release(first)
    done = update()
    assert done.returncode == 0, done.stderr
    assert recorded(project)["_commit"] == "v0.2.0"


def test_an_interrupted_update_says_how_to_undo_it(project, first):
    release(first)
    code = """
import os, signal, sagegen.render as r, sagegen.cli
def half(dest, *a, **k):
    (dest / "NEW.md").write_text("half")
    os.kill(os.getpid(), signal.SIGINT)
r.copier.run_update = half
sagegen.cli.main()
"""
    command = [SAGEGEN[0], "-c", code, "update"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    undo = re.search("perhaps half-way – (.*) undoes it", fails(done, 130))
    subprocess.run(undo[1], shell=True, cwd=project, check=True, capture_output=True)
    assert not git(project, "status", "--porcelain")


@pytest.mark.parametrize(
    "break_,says,status",
    [
        (lambda p: (p / ".copier-answers.yml").unlink(), "name the folder of a generated repository", 2),
        (
            lambda p: replace_in(p / ".copier-answers.yml", "_commit: v0.1.1", ""),
            "add the line '_commit: '",
            1,
        ),
        (lambda p: replace_in(p / ".copier-answers.yml", "v0.1.1", "v9"), "has no commit v9", 1),
        (lambda p: shutil.rmtree(p / ".git"), "has no commit to return to – git init", 1),
    ],
)
def test_a_repository_that_cannot_be_updated_says_why(update, project, break_, says, status):
    break_(project)
    if (project / ".git").exists():
        commit(project, "broken")
    assert says in fails(update(), status)


@pytest.mark.parametrize(
    "arguments,says",
    [
        (["--check", "--diff"], "choose --check or --diff"),
        (["--data", "frmework=keras"], "frmework does not apply"),
        (["--data", "github_actions=perhaps"], "choose true, false"),
        (["--data", "stack=falsk"], "choose fastapi, flask. Did you mean flask?"),
    ],
)
def test_a_wrong_command_line_changes_nothing(update, project, arguments, says):
    assert says in fails(update(*arguments), 2)
    assert not git(project, "status", "--porcelain")
