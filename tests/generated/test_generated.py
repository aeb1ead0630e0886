"""What a generated repository promises about itself without Docker: lint, format, types, targets.

The combinations share most of their files, so every file is linted once, however many of them have it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import ROOT

from sagegen.render import SOURCE, render

# Taken once: pytest changes its own beside our threads, and a new process that is just given it would fail.
ENVIRONMENT = dict(os.environ)


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default repository, with everything that may be added to it."""
    folder = tmp_path_factory.mktemp("generated") / "repository"
    render(folder, {"deploy": "pipeline", "notebooks": True})
    return folder


@pytest.fixture(scope="session")
def tools(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generated repositories' development tools."""
    venv = tmp_path_factory.mktemp("tools") / "venv"
    run(repository, "make", f"{venv}/.tools", f"VENV={venv}", f"PYTHON={sys.executable}")
    return venv / "bin"


def run(folder: Path, *command: str | Path, **environment: str) -> str:
    """Run a command that must succeed; what it printed."""
    variables = {**ENVIRONMENT, **environment}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not {".ruff_cache", ".pytest_cache", "__pycache__"} & set(path.parts)
    }


def test_a_repository_passes_its_own_lint_and_has_nothing_to_format(repository: Path, tools: Path) -> None:
    written = contents(repository)
    # Tools are older than the render: do not install them again.
    make = ["make", "--old-file=requirements-dev.txt", f"VENV={tools.parent}"]
    run(repository, *make, "lint")
    run(repository, *make, "format")
    assert contents(repository) == written


@pytest.fixture(scope="module")
def distinct(
    rendered: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., list[Path]]:
    """`distinct(GLOB…)`: every file of any combination once per content, in a folder like its own."""
    scratch = tmp_path_factory.mktemp("distinct")

    def distinct(*patterns: str) -> list[Path]:
        found: dict[tuple[str, str], Path] = {}
        for root in rendered.values():
            for path in (path for pattern in patterns for path in root.glob(pattern)):
                name = path.relative_to(root)
                key = (str(name), hashlib.sha256(path.read_bytes()).hexdigest())
                if key not in found:
                    found[key] = scratch / key[1][:12] / name
                    found[key].parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, found[key])
        return list(found.values())

    return distinct


def test_every_file_of_any_combination_passes_the_same_lint(
    distinct: Callable[..., list[Path]], repository: Path, tools: Path
) -> None:
    python = distinct("src/**/*.py", "src/train", "src/serve", "tests/*.py", "deploy/*.py")
    config = [f"--config={repository}/pyproject.toml", f'--config=src=["{repository}/src", "{repository}"]']
    run(repository, tools / "ruff", "check", *config, *python)
    run(repository, tools / "ruff", "format", "--check", config[0], *python)
    run(repository, tools / "shellcheck", *distinct("*.sh", "local_test/*.sh"))
    run(repository, tools / "hadolint", *distinct("Dockerfile"))
    yaml = distinct("*.yaml", "*.yml", ".github/**/*.yml")
    run(repository, tools / "yamllint", "--strict", "--config-file", ".yamllint.yaml", *yaml)


def test_a_models_tests_are_skipped_where_its_framework_is_not_installed(
    repository: Path, tools: Path
) -> None:
    pytest_alone = [tools / "python", "-m", "pytest", "-q", "-rs", "tests/test_model.py"]
    done = subprocess.run(pytest_alone, cwd=repository, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED
    assert "is not installed here; `make setup` installs what requirements.txt lists" in done.stdout


def test_help_lists_every_target(rendered: dict[str, Path]) -> None:
    targets = [
        "setup",
        "build",
        "train",
        "serve",
        "predict",
        "record",
        "test",
        "check",
        "lint",
        "format",
        "push",
    ]
    for makefile in {(root / "Makefile").read_text(): root for root in rendered.values()}.values():
        printed = run(makefile, "make")
        assert [target for target in targets if f"make {target} " not in printed] == []


@pytest.mark.parametrize(
    "origin,spec",
    [
        ({"_src_path": SOURCE, "_commit": "v1.2.3"}, "git+https://github.com/sagegen/sagegen@v1.2.3"),
        ({"_src_path": SOURCE}, "git+https://github.com/sagegen/sagegen"),
        ({"_src_path": "git+https://git.example.com/a", "_commit": "c0ffee"},
         "git+https://git.example.com/a@c0ffee"),
        ({"_src_path": "https://git.example.com/a.git", "_commit": "v1"},
         "git+https://git.example.com/a.git@v1"),
    ],
)  # fmt: skip
def test_make_check_fetches_the_sagegen_that_made_the_repository(
    repository: Path, tmp_path: Path, origin: dict[str, str], spec: str
) -> None:
    shutil.copy(repository / "Makefile", tmp_path)
    (tmp_path / ".copier-answers.yml").write_text("".join(f"{k}: {v}\n" for k, v in origin.items()))
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("make", "sh", "sed"):
        (tools / tool).symlink_to(shutil.which(tool) or f"/bin/{tool}")
    assert f"pipx run --spec {spec} sagegen check" in run(
        tmp_path, "make", "--dry-run", "check", PATH=str(tools)
    )
    (tools / "sagegen").symlink_to("/bin/true")
    assert f"{tools}/sagegen check" in run(tmp_path, "make", "--dry-run", "check", PATH=str(tools))


def test_a_port_that_is_taken_is_named_before_anything_starts(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = subprocess.run(
            ["make", "serve", f"PORT={port}"], cwd=repository, capture_output=True, text=True,
            env=ENVIRONMENT | {"OPT_ML": str(tmp_path)},
        )  # fmt: skip
    assert done.returncode != 0 and f"Port {port} is taken. Take another" in done.stderr


def test_targets_do_without_executable_bits_and_deleted_scripts(repository: Path, tmp_path: Path) -> None:
    """As git leaves them with core.fileMode=false, and a user who does not push to ECR."""
    copy = shutil.copytree(repository, tmp_path / "copy")
    (copy / "build_and_push.sh").unlink()
    for script in (copy / "local_test").glob("*.sh"):
        script.chmod(0o644)
    done = subprocess.run(["make", "predict", "PORT=1"], cwd=copy, capture_output=True, text=True)
    assert "No healthy server at http://localhost:1" in done.stderr
    linted = run(copy, "make", "--dry-run", "lint")
    assert "shellcheck local_test/" in linted and "build_and_push" not in linted


def test_clean_needs_no_container_engine(repository: Path, tmp_path: Path) -> None:
    shutil.copytree(repository, tmp_path / "copy")
    model = tmp_path / "copy/local_test/opt_ml/model"
    model.mkdir()
    (tmp_path / "docker").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "docker").chmod(0o755)
    run(tmp_path / "copy", "make", "clean", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert not model.exists()


@pytest.mark.parametrize(
    "names, sent",
    [
        (["expected.json", "one.jpg", "three.json"], "one.jpg"),
        (["a.txt", "a.txt.expected.csv", "b.jsonl", "expected.csv"], "b.jsonl"),
        (["a.json", "rows.csv", "rows.csv.expected.csv"], "rows.csv"),
    ],
)
def test_make_check_sends_a_request_that_the_user_has(
    repository: Path, tmp_path: Path, names: list[str], sent: str
) -> None:
    payloads = tmp_path / "local_test/payloads"
    payloads.mkdir(parents=True)
    for name in names:
        (payloads / name).touch()
    printed = run(
        tmp_path, "make", "--dry-run", "--file", repository / "Makefile", "check", SAGEGEN="sagegen"
    )
    assert f"--payload local_test/payloads/{sent} " in printed


def test_the_templates_own_tests_do_not_know_the_sample_and_stay_small(rendered: dict[str, Path]) -> None:
    owned = {
        path.name: path.read_text()
        for root in rendered.values()
        for path in (root / "tests").glob("*.py")
        if path.name != "test_model.py"
    }
    assert sum(len(text.splitlines()) for text in owned.values()) <= 500
    scripts = [path.read_text() for root in rendered.values() for path in (root / "local_test").glob("*.sh")]
    for text in [*owned.values(), *scripts]:
        assert not [word for word in ("penguin", "epoch", "evaluation", "Gentoo") if word in text]
    assert not list(ROOT.glob("template/project/tests/*docker*"))


def test_a_sample_differs_by_at_most_five_lines_between_one_host_and_many(rendered: dict[str, Path]) -> None:
    for name, repository in rendered.items():
        code = (repository / "src/model.py").read_text().splitlines()
        several = [line for line in code if re.search(r"\b(distributed|parallel)\b", line)]
        # Statistics and numbers of rows, which hosts have in common unless the channel is sharded.
        sharded = [line for line in several if re.search(r"moments|total, own|row_count =", line)]
        assert len(several) - len(sharded) <= 5, (name, several)
        assert len(sharded) <= 2, (name, sharded)
