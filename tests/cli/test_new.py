"""`sagegen new` without a terminal: what it writes, what it refuses, and what it leaves behind."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import copier
import pytest
import yaml
from cli_tools import SAGEGEN, fails
from helpers import commit, git, tree

from sagegen.render import render


def answers(folder: Path) -> dict:
    return yaml.safe_load((folder / ".copier-answers.yml").read_text())


def test_defaults_write_a_repository_named_after_the_project(run, here):
    done = run("new", "--defaults")
    assert done.returncode == 0, done.stderr
    assert answers(here / "my-model")["framework"] == "sklearn"
    assert [path.name for path in here.iterdir()] == ["my-model"]
    assert os.access(here / "my-model/src/train", os.X_OK)
    for line in ("my-model/", "Dockerfile", "  cd my-model", "  make build", "  make test"):
        assert line in done.stdout
    assert done.stdout.rstrip().endswith("make test")


def test_data_beats_answers_and_both_beat_defaults(run, here):
    (here / "a.yml").write_text("framework: keras\ndevice: gpu\nproject_name: churn\n")
    done = run(
        "new",
        "out",
        "--defaults",
        "--answers",
        "a.yml",
        "--data",
        "device=cpu",
        "--data",
        "keras_backend=jax",
    )
    assert done.returncode == 0, done.stderr
    got = answers(here / "out")
    assert (got["framework"], got["keras_backend"], got["device"]) == ("keras", "jax", "cpu")


def test_an_answers_file_that_says_everything_needs_no_defaults(run, here):
    assert run("new", "one", "--defaults", "--data", "stack=flask").returncode == 0
    done = run("new", "two", "--answers", "one/.copier-answers.yml")
    assert done.returncode == 0, done.stderr
    assert tree(here / "one") == tree(here / "two")


def test_copier_copy_gives_the_same_bytes(tmp_path, upstream):
    copier.run_copy(str(upstream), tmp_path / "copied", data={"stack": "flask"}, defaults=True, quiet=True)
    recorded = {"_src_path": str(upstream), "_commit": "v0.1.0"}
    render(tmp_path / "made", {"stack": "flask"}, recorded_origin=recorded)
    assert tree(tmp_path / "made") == tree(tmp_path / "copied")


def test_dry_run_writes_nothing(run, here):
    done = run("new", "--defaults", "--dry-run")
    assert done.returncode == 0
    assert "Dockerfile" in done.stdout and "nothing was written" in done.stdout
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    "arguments,says",
    [
        (["--data", "frmework=sklearn"], "No such question: frmework. Did you mean framework?"),
        (["--data", "fw=x"], "No such question: fw."),
        (["--data", "framework"], "--data framework has no value – write --data framework=VALUE"),
        (["--data", "framework=sklern"], "choose sklearn, pytorch, tensorflow, keras. Did you mean sklearn?"),
        (
            ["--data", "framework=keras", "--data", "python_version=3.11"],
            "python_version is refused: not proven",
        ),
        (["--data", "keras_backend=jax"], "keras_backend does not apply to the other answers – leave it out"),
        (["--data", "project_name=My_Model"], "project_name is refused: Use 2 to 50 lower-case letters"),
        (["--data", "aws_region=Frankfurt"], "aws_region is refused: Name a region as AWS spells it"),
        (["--data", "base_image=slm"], "base_image cannot be slm: choose slim, custom. Did you mean slim?"),
        (["--data", "base_image=cuda"], "base_image is refused: for GPU only: choose slim or custom"),
        (
            ["--data", "base_image=custom"],
            "base_image_name has no default – add --data base_image_name=VALUE",
        ),
        (
            ["--data", "base_image=python:3.13-slim-trixie", "--data", "python_version=3.11"],
            "python:3.13-slim-trixie brings Python 3.13, but python_version is 3.11: change one of them",
        ),
        (["--data", "github_actions=perhaps"], "github_actions cannot be perhaps: choose true, false."),
        (["--answers", "none.yml"], "cannot read none.yml: No such file or directory – name a YAML file"),
        (["--answers", "."], "cannot read .: Is a directory – name a YAML file"),
        (
            ["--answers", "broken.yml"],
            "broken.yml is not YAML (line 2) – write one 'question: answer' per line",
        ),
        (["--answers", "list.yml"], "list.yml holds no answers – write one 'question: answer' per line"),
        (["--answers", "binary.yml"], "binary.yml is not YAML – write one 'question: answer' per line"),
        (["--bogus"], "No such option '--bogus' – see sagegen new --help"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_status_2(run, here, arguments, says):
    (here / "broken.yml").write_text("framework: [sklearn\n")
    (here / "list.yml").write_text("- sklearn\n")
    (here / "binary.yml").write_bytes(b"\xff\xfe\x00")
    before = tree(here)
    assert says in fails(run("new", "out", "--defaults", *arguments), 2)
    assert tree(here) == before


@pytest.mark.parametrize(
    "line,says",
    [
        (r'project_name: "my-model\n"', "project_name is refused: Use 2 to 50"),
        (r'aws_region: "us-east-1\n"', "aws_region is refused: Name a region"),
        (r'base_image: "python:3.13-slim\n"', "base_image_name is refused: Name an image"),
        (r'description: "a\x1b[31m"', "description is refused: Use one line"),
        (r'description: "a\u202eb"', "description is refused: Use one line"),
        (r'"\e[31m": red', "No such question: \N{REPLACEMENT CHARACTER}[31m."),
        ("project_name: [churn]", "project_name must be text, not ['churn'] – write it in quotes"),
        ("project_name:", "project_name must be text, not empty"),
        ("description: 2026-01-01", "description must be text, not 2026-01-01"),
        ("framework: yes", "framework must be text, not True"),
        ("github_actions: [true]", "github_actions cannot be [True]: choose true, false."),
        ("description: 2026-13-01", "a.yml is not YAML"),
        ("description: " + 2000 * "[", "a.yml is not YAML"),
    ],
)
def test_a_wrong_answer_in_a_file_is_named(run, here, line, says):
    (here / "a.yml").write_text(line + "\n")
    said = fails(run("new", "out", "--defaults", "--answers", "a.yml"), 2)
    assert says in said and said.isprintable()


def test_half_a_character_in_an_argument_is_refused(run):
    assert "description is refused: Use one line" in fails(
        run("new", "out", "--defaults", "--data", b"description=a\xffb"), 2
    )


@pytest.mark.parametrize(
    "image", ["a//b", "a/:1", "a:", "a::1", "-a/b", "a/b-", "A/b", "a@sha256:0", "a:1:2", "a b/c"]
)
def test_an_image_name_that_docker_refuses_is_refused(run, image):
    done = run("new", "out", "--defaults", "--dry-run", "--data", f"base_image={image}")
    assert "base_image_name is refused: Name an image" in fails(done, 2)


@pytest.mark.parametrize(
    "image",
    ["debian:13", "registry.example.com:5000/team/a__b/c-d.e:1.0_x", f"ubuntu:24.04@sha256:{64 * 'a'}"],
)
def test_an_image_name_that_docker_takes_is_taken(run, image):
    assert run("new", "out", "--defaults", "--dry-run", "--data", f"base_image={image}").returncode == 0


def test_a_number_without_quotes_is_the_version_that_it_shows(run, here):
    (here / "a.yml").write_text("python_version: 3.11\n")
    assert run("new", "out", "--defaults", "--answers", "a.yml").returncode == 0
    assert answers(here / "out")["python_version"] == "3.11"


def test_without_a_terminal_open_questions_are_named(run, here):
    line = fails(run("new", "--data", "framework=sklearn"), 2)
    assert "there is no terminal to ask in" in line and "--defaults" in line and "stack" in line
    assert list(here.iterdir()) == []


def test_a_folder_that_is_not_empty_is_left_alone(run, here):
    (here / "out").mkdir()
    (here / "out/mine.txt").write_text("mine")
    assert "out is not empty" in fails(run("new", "out", "--defaults"), 1)
    assert tree(here) == {"out/mine.txt": (False, b"mine")}


@pytest.mark.parametrize("dest", [".", "out"])
def test_an_empty_folder_is_filled(run, here, dest):
    (here / "out").mkdir()
    (here / "out").rmdir() if dest == "." else None
    assert run("new", dest, "--defaults").returncode == 0
    assert (here / dest / "Dockerfile").is_file()
    assert not list((here / dest).glob(".sagegen-*"))


@pytest.mark.parametrize(
    "dest,name",
    [
        ("churn", "churn"),
        (".", "here"),
        ("My_Modèle--2", "my-modele-2"),
        ("r", "r-model"),
        ("a" * 60, "a" * 50),
    ],
)
def test_the_project_is_named_after_its_folder(run, here, dest, name):
    done = run("new", dest, "--defaults")
    assert done.returncode == 0, done.stderr
    assert answers(here / dest)["project_name"] == name
    assert (f"The project is called {name}" in done.stdout) == (name not in (dest, "here"))
    assert done.stdout.endswith("make test\n")


def test_a_name_that_is_given_beats_the_folder_s(run, here):
    assert run("new", "churn", "--defaults", "--data", "project_name=other").returncode == 0
    assert answers(here / "churn")["project_name"] == "other"


def test_a_folder_that_names_no_project_is_refused(run, here):
    assert "add --data project_name=NAME" in fails(run("new", "模型", "--defaults"), 2)
    assert list(here.iterdir()) == []


def test_a_repository_that_was_just_created_is_filled_and_its_files_stay(run, here):
    out = here / "out"
    out.mkdir()
    stays = {"README.md": "mine", "LICENSE": "mine", ".gitignore": "mine"}
    for name, content in stays.items():
        (out / name).write_text(content)
    commit(out, "made by a hosting service")
    done = run("new", "out", "--defaults")
    assert done.returncode == 0, done.stderr
    assert {name: (out / name).read_text() for name in stays} == stays
    assert "README.md  kept: it is yours" in done.stdout
    assert (out / "Dockerfile").exists() and not list(out.glob(".sagegen-*"))
    assert git(out, "diff", "--stat", "HEAD") == "", "git sees a change of what was there"


def test_force_replaces_what_is_the_template_s_and_keeps_what_is_the_user_s(run, here):
    assert run("new", "out", "--defaults").returncode == 0
    fresh = tree(here / "out")
    for name in ("src/model.py", "Dockerfile", "notes.txt"):
        (here / "out" / name).write_text("mine")
    done = run("new", "out", "--defaults", "--force")
    assert done.returncode == 0, done.stderr
    now = tree(here / "out")
    assert now["src/model.py"] == (False, b"mine") and now["notes.txt"] == (False, b"mine")
    assert now["Dockerfile"] == fresh["Dockerfile"]
    assert "model.py  kept: it is yours" in done.stdout


def test_force_moves_nothing_when_something_is_in_the_way(run, here):
    (here / "out").mkdir()
    (here / "out/src").write_text("a file where a folder goes")
    assert "out/src is in the way" in fails(run("new", "out", "--defaults", "--force"), 1)
    assert [path.name for path in (here / "out").iterdir()] == ["src"]


def test_force_does_not_write_through_a_link_out_of_the_folder(run, here):
    (here / "out").mkdir()
    (here / "elsewhere").mkdir()
    (here / "out/src").symlink_to(here / "elsewhere")
    assert "is in the way" in fails(run("new", "out", "--defaults", "--force"), 1)
    assert not list((here / "elsewhere").iterdir())


def test_a_file_or_a_broken_link_is_no_destination(run, here):
    (here / "file").write_text("mine")
    (here / "link").symlink_to("nowhere")
    assert "file is a file – name another folder" in fails(run("new", "file", "--defaults"), 1)
    assert "link is a broken link" in fails(run("new", "link", "--defaults"), 1)
    assert "not a folder that you may write" in fails(run("new", "file/below", "--defaults"), 1)


def test_a_full_disk_leaves_nothing(run, here, tmp_path):
    """A limit on the size of files stands in for a full disk: the same call fails at the same place."""
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))  # noqa: E731
    line = fails(run("new", "deep/out", "--defaults", preexec_fn=limit), 1)
    assert "cannot write the repository" in line
    assert list(here.iterdir()) == []


def test_a_folder_that_may_not_be_written(run, here):
    if os.geteuid() == 0:
        line = fails(run("new", "/proc/out", "--defaults"), 1)  # root may write everywhere else
    else:
        here.chmod(0o555)
        line = fails(run("new", "out", "--defaults"), 1)
    assert "name another folder" in line


@pytest.mark.parametrize("signum,status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_rendering_leaves_nothing(here, tmp_path, signum, status):
    here.mkdir()
    # Stopped exactly inside the render: the signal comes from the module that renders.
    code = f"""
import os, sagegen.render as r, sagegen.cli
def hit(*a, **k):
    (a[1] / "half").mkdir(parents=True)
    os.kill(os.getpid(), {int(signum)})
r.copier.run_copy = hit
sagegen.cli.main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "new", "out", "--defaults"], cwd=here, capture_output=True, text=True
    )
    assert done.returncode == status and "Traceback" not in done.stderr
    assert list(here.iterdir()) == []


def test_no_proof_is_shown_for_an_image_that_no_matrix_built_on(tmp_path, monkeypatch, capsys):
    from sagegen import new, proof

    known = {"date": "2026-11-20", "image_bytes": 587_000_000, "tests": 64, "rules": 90}
    monkeypatch.setattr(proof, "proofs", lambda: {"sklearn-gpu-fastapi": known})
    for base in ("debian:13", "cuda"):
        new.new(tmp_path / base[:4], True, ("device=gpu", f"base_image={base}"), None, False, False)
    assert "Proven" not in capsys.readouterr().out


def test_an_old_answers_file_still_names_its_image(run, here):
    """Before it was a choice, base_image held the name of the image."""
    assert run("new", "one", "--defaults").returncode == 0
    old = answers(here / "one") | {"base_image": "registry.example.com/python:3.13"}
    (here / "old.yml").write_text(yaml.safe_dump(old))
    assert run("new", "two", "--answers", "old.yml").returncode == 0
    assert "ARG BASE_IMAGE=registry.example.com/python:3.13\n" in (here / "two/Dockerfile").read_text()
    assert answers(here / "two")["base_image"] == "custom"


def test_help_version_and_no_command(run):
    assert run("--help").returncode == 0
    assert run().stdout == run("--help").stdout
    assert run("--version").stdout.startswith("sagegen 0.")
    assert "No such command 'nwe'" in fails(run("nwe"), 2)


@pytest.mark.parametrize("arguments, first", [(["list", "--json"], "{"), (["check", "--list"], "STATIC")])
def test_a_reader_that_leaves_is_no_error(here, arguments, first):
    here.mkdir()
    done = subprocess.run(
        ["bash", "-c", '"$@" | head -1', "-", *SAGEGEN, *arguments],
        capture_output=True,
        text=True,
        cwd=here,
    )
    assert done.stdout.strip() == first and not done.stderr
