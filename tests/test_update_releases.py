"""Updates over four releases, with the changes that releases make and the edits that users make.

The promise: an update gives what the new release renders, with the user's edits. Where both changed the same
lines, it shows a conflict. All edits are made before one update, and each is looked for afterwards.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import copier
import pytest
import yaml
from helpers import commit, git, tree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sagegen import render
from sagegen.render import template

RELEASES = ("v0.1.0", "v0.2.0", "v0.3.0", "v0.4.0")
ANSWERS = ".copier-answers.yml"


def replace_in(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text, f"{file} has no {old!r}"
    file.write_text(text.replace(old, new, 1))


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template as it is now, and three releases after it with every kind of change."""
    folder = tmp_path_factory.mktemp("releases") / "upstream"
    shutil.copytree(template(), folder, ignore=shutil.ignore_patterns(".git", "*cache*", "*.png"))
    commit(folder, "the first release", "v0.1.0")
    project, questions = folder / "template/project", folder / "template/questions"

    # A bumped pin, a new file, a new module, an executable bit, a changed default.
    replace_in(folder / "template/stacks/fastapi/stack.yml", "fastapi==", "fastapi==9.")
    (project / "NOTICE.md").write_text("A notice of the template.\n")
    (project / "src/byoc/extra.py").write_text('"""New."""\n')
    (project / "src/byoc/metrics.py").chmod(0o755)
    replace_in(questions / "20_container.yml", "default: fastapi", "default: flask")
    commit(folder, "the second release", "v0.2.0")

    # A removed file, a renamed module, a renamed question whose old answers count.
    (project / ".yamllint.yaml").unlink()
    (project / "src/byoc/machine.py").rename(project / "src/byoc/host.py")
    replace_in(questions / "30_aws.yml", "aws_region:\n", "region:\n")
    replace_in(
        questions / "30_aws.yml", "default: us-east-1", "default: \"{{ aws_region | default('us-east-1') }}\""
    )
    text = (questions / "30_aws.yml").read_text().replace("(aws_region |", "(region |")
    (questions / "30_aws.yml").write_text(text)
    for file in folder.rglob("*.jinja"):
        file.write_text(file.read_text().replace("{{ aws_region }}", "{{ region }}"))
    commit(folder, "the third release", "v0.3.0")

    # A renamed file, the user's own file changed, a line beside one that users edit.
    (project / "NOTICE.md").rename(project / "NOTICES.md")
    model = folder / "template/data/table/models/sklearn.py"
    model.write_text(model.read_text() + "\n# newer\n")
    replace_in(project / "compose.yaml.jinja", "stop_grace_period: 30s", "stop_grace_period: 29s")
    commit(folder, "the fourth release", "v0.4.0")
    return folder


def made(history: Path, folder: Path, release: str, **answers: str) -> Path:
    """A repository of `release`, committed."""
    copier.run_copy(str(history), folder, answers, vcs_ref=release, defaults=True, quiet=True)
    commit(folder, "generated")
    return folder


def renamed(root: Path) -> None:
    (root / "tools").mkdir()
    (root / "local_test/predict.sh").rename(root / "tools/predict.sh")


def with_crlf(root: Path) -> None:
    (root / "notes.bat").write_bytes(b"one\r\ntwo\r\n")


EDITS: dict[str, Callable[[Path], object]] = {
    "a line added": lambda root: replace_in(root / "Makefile", "PYTHON ?=", "MINE ?= 1\nPYTHON ?="),
    "a line changed": lambda root: replace_in(root / ".dockerignore", "\n", "\n# ours\n"),
    "a paragraph at the end": lambda root: (root / "README.md").open("a").write("\nOur own paragraph.\n"),
    "a line removed": lambda root: replace_in(root / "Dockerfile", "\n# ", "\n#  "),
    "a file deleted": lambda root: (root / "local_test/serve_local.sh").unlink(),
    "a file renamed": renamed,
    "an executable bit": lambda root: (root / "src/predictor.py").chmod(0o755),
    "a file of one's own": lambda root: (root / "src/features.py").write_text("MINE = True\n"),
    "the user's file rewritten": lambda root: (root / "src/model.py").write_text("mine = True\n"),
    "a name with spaces and any letters": lambda root: (root / "Größe 模型.txt").write_text("mine\n"),
    "bytes that are no text": lambda root: (root / "weights.bin").write_bytes(bytes(range(256))),
    "CRLF": with_crlf,
    "a link": lambda root: (root / "current").symlink_to("src"),
}  # fmt: skip


@pytest.fixture(scope="module", params=RELEASES[:-1])
def updated(
    request: pytest.FixtureRequest, history: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """(repository after the update, what the new release renders plus the edits).

    The repository is a folder of a monorepo. Its path has spaces and letters beyond ASCII.
    """
    answers = {"stack": "fastapi", "aws_region": "eu-central-1"}
    monorepo = tmp_path_factory.mktemp("Größe 2")
    project = monorepo / "models/churn ü"
    copier.run_copy(
        str(history), project, _of(request.param, answers), vcs_ref=request.param, defaults=True, quiet=True
    )
    (monorepo / "beside.txt").write_text("mine\n")
    commit(monorepo, "generated")
    for edit in EDITS.values():
        edit(project)
    commit(monorepo, "edited")

    render.update(project, {}, stay=False)

    fresh = tmp_path_factory.mktemp("fresh") / "fresh"
    copier.run_copy(str(history), fresh, _of("v0.4.0", answers), defaults=True, quiet=True)
    for edit in EDITS.values():
        edit(fresh)
    assert git(monorepo, "status", "--porcelain", "--", "beside.txt") == ""
    return project, fresh


def _of(release: str, answers: dict[str, str]) -> dict[str, str]:
    """The answers as the questions of a release are called."""
    if release < "v0.3.0":
        return answers
    return {"region" if name == "aws_region" else name: value for name, value in answers.items()}


def test_an_update_is_the_new_release_with_the_edits(updated: tuple[Path, Path]) -> None:
    project, fresh = (tree(folder) for folder in updated)
    differ = sorted(name for name in project.keys() | fresh.keys() if project.get(name) != fresh.get(name))
    assert differ == []


@pytest.mark.parametrize(
    "file,says",
    [
        ("requirements-serving.txt", "fastapi==9."),
        ("NOTICES.md", "A notice of the template."),
        ("src/byoc/extra.py", "New."),
        ("src/byoc/host.py", "memory"),
        ("compose.yaml", "stop_grace_period: 29s"),
        (ANSWERS, "region: eu-central-1"),
        (ANSWERS, "stack: fastapi"),
        (ANSWERS, "_commit: v0.4.0"),
    ],
)
def test_what_the_releases_changed_is_there(updated: tuple[Path, Path], file: str, says: str) -> None:
    assert says in (updated[0] / file).read_text()


def test_what_the_releases_removed_is_gone_and_a_bit_has_arrived(updated: tuple[Path, Path]) -> None:
    project, _ = updated
    assert not any(
        (project / name).exists() for name in (".yamllint.yaml", "NOTICE.md", "src/byoc/machine.py")
    )
    assert os.access(project / "src/byoc/metrics.py", os.X_OK)
    assert "aws_region" not in yaml.safe_load((project / ANSWERS).read_text())
    assert os.readlink(project / "current") == "src"


LINES = [f"line {number}" for number in range(12)]
edits = st.lists(
    st.tuples(st.sampled_from(["insert", "replace", "delete"]), st.integers(0, len(LINES) - 1)),
    max_size=4,
    unique_by=lambda edit: edit[1],
)


def edited(changes: list[tuple[str, int]], who: str) -> list[str]:
    lines = []
    for number, line in enumerate(LINES):
        kind = {at: kind for kind, at in changes}.get(number)
        lines += [] if kind in ("replace", "delete") else [line]
        lines += [f"{who} {number}"] if kind in ("insert", "replace") else []
    return lines


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A template of one file, which each example releases anew."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "copier.yml").write_text("_subdirectory: t\n")
    (folder / "t").mkdir()
    (folder / "t/{{ _copier_conf.answers_file }}.jinja").write_text("{{ _copier_answers | to_nice_yaml }}")
    (folder / "t/file.txt").write_text("\n".join(LINES) + "\n")
    commit(folder, "first", "v0.1.0")
    return folder


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(mine=edits, theirs=edits, crlf=st.booleans())
def test_no_edit_is_ever_lost_neither_side_s(small, tmp_path_factory, mine, theirs, crlf):
    """Lines of both sides are in the file afterwards, merged or inside a conflict that git shows."""
    upstream = shutil.copytree(small, tmp_path_factory.mktemp("small") / "upstream")
    project = tmp_path_factory.mktemp("small") / "project"
    end = "\r\n" if crlf else "\n"
    if crlf:
        (upstream / "t/file.txt").write_bytes((end.join(LINES) + end).encode())
        commit(upstream, "first, with CRLF", "v0.1.1")
    made(upstream, project, "v0.1.1" if crlf else "v0.1.0")
    (project / "file.txt").write_bytes((end.join(edited(mine, "mine")) + end).encode())
    commit(project, "edited")
    (upstream / "t/file.txt").write_bytes((end.join(edited(theirs, "theirs")) + end).encode())
    commit(upstream, "second", "v0.2.0")

    render.update(project, {}, stay=False)

    after = (project / "file.txt").read_bytes().decode()
    lines = after.splitlines()
    ours = [f"{who} {at}" for who, changes in (("mine", mine), ("theirs", theirs)) for kind, at in changes
            if kind != "delete"]  # fmt: skip
    assert [line for line in ours if line not in lines] == []
    unmerged = git(project, "diff", "--name-only", "--diff-filter=U")
    assert bool(unmerged) == ("<<<<<<< before updating" in after)
    touched = {at for _, at in mine} & {at for _, at in theirs}
    if not unmerged and not touched:  # merged: what one side deleted is gone
        gone = [f"line {at}" for kind, at in mine + theirs if kind in ("delete", "replace")]
        assert [line for line in gone if line in lines] == []


#: As shares of the processes that a whole update starts.
MOMENTS = (0.05, 0.6, 0.95)


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_update_that_is_killed_can_be_undone_and_repeated(
    history: Path, killed: Killed, moment: float
) -> None:
    project = killed.project()
    before = tree(project)
    killed.run(project, int(killed.total * moment))
    subprocess.run(
        "git restore --source=HEAD --staged --worktree . && git clean -fdq .",
        shell=True,
        cwd=project,
        check=True,
    )
    assert tree(project) == before and git(project, "status", "--porcelain") == ""
    if moment == MOMENTS[-1]:  # the repository is as it was, so one retry speaks for all
        assert killed.run(project, None) == 0
        assert tree(project) == killed.complete


class Killed:
    """Updates that kill themselves when they start their nth process: most of these are git's."""

    CODE = """
import os, signal, subprocess, sys
from pathlib import Path
from sagegen import render
begin, at, count = subprocess.Popen.__init__, int(sys.argv[1]), 0
def counted(*arguments, **options):
    global count
    count += 1
    if count == at:
        os.kill(os.getpid(), signal.SIGKILL)
    begin(*arguments, **options)
subprocess.Popen.__init__ = counted
render.update(Path.cwd(), {}, stay=False)
print(count)
"""

    def __init__(self, original: Path) -> None:
        self.original = original
        self.copies = 0
        self.total = 0
        project = self.project()
        assert self.run(project, None) == 0
        self.complete = tree(project)

    def project(self) -> Path:
        self.copies += 1
        return shutil.copytree(self.original, self.original.with_name(f"copy-{self.copies}"), symlinks=True)

    def run(self, project: Path, at: int | None) -> int:
        done = subprocess.run(
            [sys.executable, "-c", self.CODE, str(at or 0)], cwd=project, capture_output=True, text=True
        )
        assert done.returncode == (-signal.SIGKILL if at else 0), done.stderr
        self.total = self.total or int(done.stdout)
        return done.returncode


@pytest.fixture(scope="module")
def killed(history: Path, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    project = made(history, tmp_path_factory.mktemp("killed") / "project", "v0.1.0", stack="fastapi")
    replace_in(project / "Makefile", "PYTHON ?= python3\n", "PYTHON ?= python3\nMINE ?= 1\n")
    commit(project, "edited")
    return Killed(project)


def test_neighbouring_lines_conflict_visibly(history: Path, tmp_path: Path) -> None:
    project = made(history, tmp_path / "project", "v0.3.0")
    replace_in(project / "compose.yaml", "stop_grace_period: 30s", "stop_grace_period: 40s")
    commit(project, "edited")
    render.update(project, {}, stay=False)
    text = (project / "compose.yaml").read_text()
    assert (
        "stop_grace_period: 40s" in text
        and "stop_grace_period: 29s" in text
        and "<<<<<<< before updating" in text
    )
    assert git(project, "diff", "--name-only", "--diff-filter=U") == "compose.yaml\n"
