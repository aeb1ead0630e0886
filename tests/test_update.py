"""`copier update` brings a newer template and keeps what the user wrote, without --trust."""

from __future__ import annotations

from pathlib import Path

import copier
import pytest
import yaml
from helpers import commit, git, tree

from sagegen.render import origin, render

MODEL = "src/model.py"


@pytest.fixture
def project(tmp_path: Path, upstream: Path) -> Path:
    """A repository as `sagegen new` of the first release makes it: without git or network."""
    folder = tmp_path / "project"
    render(folder, {}, recorded_origin={"_src_path": str(upstream), "_commit": "v0.1.0"})
    commit(folder, "generated")
    return folder


def release(upstream: Path) -> None:
    """A second release that changes text, a mode and the user's own file, and adds and drops a file."""
    project = upstream / "template/project"
    dockerfile = project / "Dockerfile.jinja"
    dockerfile.write_text(dockerfile.read_text() + "LABEL newer=yes\n")
    model = upstream / "template/frameworks/sklearn" / MODEL
    model.write_text(model.read_text() + "\n# newer\n")
    (project / "NEW.md").write_text("new\n")
    (project / "NEW.md").chmod(0o755)
    (project / "src/byoc/metrics.py").chmod(0o755)
    (project / ".yamllint.yaml").unlink()
    commit(upstream, "the second release", "v0.2.0")


def update(project: Path) -> None:
    copier.run_update(project, defaults=True, overwrite=True, quiet=True)  # never unsafe=True


def test_edits_survive(project, upstream):
    (project / MODEL).write_text("mine = True\n")
    readme = project / "README.md"
    readme.write_text(readme.read_text() + "\nOur own paragraph.\n")
    (project / "src/predictor.py").chmod(0o755)
    (project / "notes.txt").write_text("mine\n")
    commit(project, "edited")
    release(upstream)

    update(project)

    after = tree(project)
    assert after[MODEL] == (False, b"mine = True\n")
    assert b"Our own paragraph." in after["README.md"][1]
    assert after["src/predictor.py"][0], "the user's executable bit is gone"
    assert after["notes.txt"][1] == b"mine\n"
    assert b"LABEL newer=yes" in after["Dockerfile"][1]
    assert after["src/byoc/metrics.py"][0], "the template's executable bit did not arrive"
    assert after["NEW.md"] == (True, b"new\n")
    assert ".yamllint.yaml" not in after
    assert yaml.safe_load(after[".copier-answers.yml"][1])["_commit"] == "v0.2.0"


def test_the_executable_bits_of_scripts_survive(project, upstream):
    before = {path for path, (executable, _) in tree(project).items() if executable}
    assert {"src/train", "src/serve", "build_and_push.sh"} <= before
    release(upstream)
    update(project)
    assert before <= {path for path, (executable, _) in tree(project).items() if executable}


def test_an_unedited_project_becomes_what_the_new_release_renders(project, upstream, tmp_path):
    release(upstream)
    update(project)
    copier.run_copy(str(upstream), tmp_path / "fresh", defaults=True, quiet=True)
    fresh = tree(tmp_path / "fresh")
    fresh.pop(MODEL)  # the user's from the first minute, edited or not
    assert {path: entry for path, entry in tree(project).items() if path != MODEL} == fresh
    assert "newer" not in (project / MODEL).read_text()


def test_another_answer_moves_the_project_and_keeps_the_user_s_files(project, upstream):
    (project / MODEL).write_text("mine = True\n")
    commit(project, "edited")
    copier.run_update(project, data={"stack": "flask"}, defaults=True, overwrite=True, quiet=True)
    assert (project / "src/wsgi.py").exists() and not (project / "src/asgi.py").exists()
    assert (project / MODEL).read_text() == "mine = True\n"
    assert "<<<<<<<" not in git(project, "diff")


def test_only_a_release_records_a_tag():
    assert origin("0.2.0")["_commit"] == "v0.2.0"
    assert "_commit" not in origin("0.2.0.dev0")
