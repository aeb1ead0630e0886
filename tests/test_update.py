"""`copier update` brings a newer template and keeps what the user wrote, without --trust."""

from __future__ import annotations

from pathlib import Path

import copier
import pytest
import yaml
from helpers import commit, git, tree

from sagegen.render import render

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
    model = upstream / "template/data/table/models/sklearn.py"
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


CONTAINER = "template/questions/20_container.yml"


def replace_in(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.fixture
def images(tmp_path: Path, upstream: Path) -> Path:
    """A release whose base_image is the name of an image, as it was first; the next one makes it a choice."""
    new = (upstream / CONTAINER).read_text()
    questions = yaml.safe_load(new)
    for name in ("given_base_image", "base_image_name", "from_image"):
        del questions[name]
    questions["base_image"] = {"type": "str", "default": "python:{{ python_version }}-slim"}
    (upstream / CONTAINER).write_text(yaml.safe_dump(questions, sort_keys=False))
    replace_in(upstream / "template/project/Dockerfile.jinja", "from_image", "base_image")
    commit(upstream, "names of images", "v0.1.1")
    git(upstream, "checkout", "--quiet", "v0.1.0", ".")
    commit(upstream, "choices", "v0.1.2")
    return upstream


@pytest.mark.parametrize(
    "answers,choice",
    [
        ({}, {"base_image": "slim"}),
        ({"python_version": "3.11", "base_image": "python:3.13-slim"}, {"base_image": "slim"}),
        ({"device": "gpu", "base_image": "nvidia/cuda:13.0.2-runtime-ubuntu24.04"}, {"base_image": "cuda"}),
        ({"base_image": "nvidia/cuda:13.0.2-runtime-ubuntu24.04"},
         {"base_image": "custom", "base_image_name": "nvidia/cuda:13.0.2-runtime-ubuntu24.04"}),
        ({"base_image": "example.com/python:1"},
         {"base_image": "custom", "base_image_name": "example.com/python:1"}),
    ],
)  # fmt: skip
def test_the_name_of_an_image_becomes_a_choice(images, tmp_path, answers, choice):
    folder = tmp_path / "old"
    copier.run_copy(str(images), folder, answers, vcs_ref="v0.1.1", defaults=True, quiet=True)
    before = (folder / "Dockerfile").read_text()
    commit(folder, "generated")

    update(folder)

    recorded = yaml.safe_load((folder / ".copier-answers.yml").read_text())
    assert {name: value for name, value in recorded.items() if name.startswith("base_image")} == choice
    if answers.get("python_version") != "3.11":  # where the two contradict, the version is right
        assert (folder / "Dockerfile").read_text() == before
    else:
        assert "ARG BASE_IMAGE=python:3.11-slim\n" in (folder / "Dockerfile").read_text()


@pytest.mark.parametrize(
    "answers,image",
    [
        ({}, "python:3.13-slim-trixie"),
        ({"device": "gpu", "base_image": "cuda"}, "nvidia/cuda:14.0.0-runtime-ubuntu26.04"),
        ({"base_image": "custom", "base_image_name": "debian:13"}, "debian:13"),
    ],
)
def test_a_new_default_image_arrives_and_one_s_own_stays(tmp_path, upstream, answers, image):
    folder = tmp_path / "old"
    copier.run_copy(str(upstream), folder, answers, defaults=True, quiet=True)
    commit(folder, "generated")
    replace_in(upstream / CONTAINER, "python_version ~ '-slim'", "python_version ~ '-slim-trixie'")
    replace_in(
        upstream / "template/frameworks/sklearn/framework.yml",
        "cuda_image: nvidia/cuda:13.0.2-runtime-ubuntu24.04",
        "cuda_image: nvidia/cuda:14.0.0-runtime-ubuntu26.04",
    )
    commit(upstream, "newer images", "v0.2.0")
    update(folder)
    assert f"ARG BASE_IMAGE={image}\n" in (folder / "Dockerfile").read_text()


def test_a_python_that_is_no_longer_offered_becomes_the_default(project, upstream):
    copier.run_update(project, data={"python_version": "3.11"}, defaults=True, overwrite=True, quiet=True)
    commit(project, "on 3.11")
    replace_in(upstream / CONTAINER, '"3.11":\n      value: "3.11"', '"3.12":\n      value: "3.12"')
    commit(upstream, "without 3.11", "v0.2.0")
    update(project)
    assert "ARG BASE_IMAGE=python:3.13-slim\n" in (project / "Dockerfile").read_text()


def test_the_image_follows_the_python_version(project):
    copier.run_update(project, data={"python_version": "3.11"}, defaults=True, overwrite=True, quiet=True)
    assert "ARG BASE_IMAGE=python:3.11-slim\n" in (project / "Dockerfile").read_text()


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
