"""Output that goes nowhere, locales without letters, signals and shells: one line at most, no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from cli_tools import SAGEGEN, fails


@pytest.mark.parametrize(
    "arguments", [["list", "--json"], ["new", "out", "--defaults", "--dry-run"], ["--help"]]
)
def test_a_full_output_is_one_line(run, arguments):
    with open("/dev/full", "w") as full:
        done = subprocess.run([*SAGEGEN, *arguments], stdout=full, stderr=subprocess.PIPE, text=True)
    done.stdout = ""
    assert fails(done, 1) == "cannot write the output: No space left on device"


def test_closed_streams_change_nothing_that_is_written(run, here):
    here.mkdir(exist_ok=True)
    command = '"$@" <&- >&- 2>&-'
    arguments = ["new", "out", "--answers", "/dev/null"]
    done = subprocess.run(["bash", "-c", command, "-", *SAGEGEN, *arguments, "--defaults"], cwd=here)
    assert done.returncode == 0 and (here / "out/Dockerfile").exists()
    assert subprocess.run(["bash", "-c", command, "-", *SAGEGEN, *arguments[:1]], cwd=here).returncode == 2


def test_an_ascii_locale_prints_what_it_can(run, here):
    ascii_ = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = run("new", "Modèle", "--defaults", env=ascii_)
    assert done.returncode == 0 and not done.stderr
    assert "The project is called modele: " in done.stdout


def test_a_path_that_is_too_long_is_one_line(run):
    assert "File name too long – name another folder" in fails(run("new", 300 * "a", "--defaults"), 1)
    assert "name the folder of a generated repository" in fails(run("update", 300 * "a"), 2)


@pytest.mark.parametrize(
    "arguments",
    [
        ["matrix", "--json"],
        ["matrix", "--html"],
        ["matrix", "--full", "--proof"],
        ["check", "image", "--json"],
        ["check", "image", "--output"],
    ],
    ids=" ".join,
)
def test_a_report_that_could_not_be_written_is_refused_before_the_work(run, here, arguments):
    no_engine = os.environ | {"DOCKER_HOST": "tcp://127.0.0.1:1"}
    assert f"{here / 'missing'} is no folder" in fails(run(*arguments, "missing/report", env=no_engine), 2)
    assert "is a directory" in fails(run(*arguments, ".", env=no_engine), 2)


def test_a_terminal_that_closes_leaves_nothing(here):
    here.mkdir()
    code = f"""
import os, sagegen.render as r, sagegen.cli
def hit(*a, **k):
    (a[1] / "half").mkdir(parents=True)
    os.kill(os.getpid(), {int(signal.SIGHUP)})
r.copier.run_copy = hit
sagegen.cli.main()
"""
    done = subprocess.run([sys.executable, "-c", code, "new", "out", "--defaults"], cwd=here)
    assert done.returncode == 128 + signal.SIGHUP
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    "line,expected",
    [
        (["--data", "frame"], "framework=sklearn framework=pytorch framework=tensorflow framework=keras"),
        (["--data", "framework", "=", "py"], "pytorch"),
        (["--data", "github_actions", "="], "true false"),
        (["--data", "proj"], "project_name="),
        (["--dat"], "--data"),
    ],
)
def test_bash_completes_answers(tmp_path, line, expected):
    """As bash calls it, which breaks words at `=`, in the script that sagegen prints for it."""
    (tmp_path / "sagegen").write_text(f'#!/bin/sh\nexec {sys.executable} -m sagegen "$@"\n')
    (tmp_path / "sagegen").chmod(0o755)
    words = " ".join(f"'{word}'" for word in ["sagegen", "new", *line])
    script = f"""
eval "$(_SAGEGEN_COMPLETE=bash_source sagegen)"
COMP_WORDS=({words}); COMP_CWORD={len(line) + 1}
_sagegen_completion sagegen
echo "${{COMPREPLY[@]}}"
"""
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == expected, done.stderr
