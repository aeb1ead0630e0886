"""The settings of `serve`: each is checked before anything starts, and one line says what is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sagegen import catalogue
from sagegen.render import render

EXIT_CONFIG = 78
VARIABLES = (
    "HOSTING_MODE",
    "SAGEMAKER_BIND_TO_PORT",
    "SAGEMAKER_BATCH",
    "SAGEMAKER_BATCH_STRATEGY",
    "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS",
    "SAGEMAKER_MAX_PAYLOAD_IN_MB",
    "SAGEMAKER_MODEL_SERVER_THREADS",
    "SAGEMAKER_MODEL_SERVER_TIMEOUT",
    "SAGEMAKER_MODEL_SERVER_WORKERS",
    "SAGEMAKER_PROGRAM",
    "OMP_NUM_THREADS",
    "REQUIRE_GPU",
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of a repository with the default framework. Its settings are the same in every stack."""
    repository = tmp_path_factory.mktemp("settings") / "repository"
    render(repository, {"stack": next(iter(catalogue.choices("stack")))})
    return repository / "src"


def python(source: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python beside the program, with these variables and none of ours."""
    inherited = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    environment = {**inherited, "SAGEMAKER_BASE_DIR": str(source / "absent"), **environment}
    return subprocess.run(
        [sys.executable, *arguments], cwd=source, env=environment, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize(
    "name, value",
    [
        ("SAGEMAKER_MODEL_SERVER_WORKERS", "0"),
        ("SAGEMAKER_MODEL_SERVER_WORKERS", "-3"),
        ("SAGEMAKER_MODEL_SERVER_WORKERS", "auto"),
        ("SAGEMAKER_MODEL_SERVER_WORKERS", "2.5"),
        ("SAGEMAKER_MODEL_SERVER_WORKERS", "²"),
        ("SAGEMAKER_MODEL_SERVER_WORKERS", "9" * 5000),
        ("SAGEMAKER_MODEL_SERVER_THREADS", "0"),
        ("SAGEMAKER_MODEL_SERVER_TIMEOUT", "0"),
        ("SAGEMAKER_MODEL_SERVER_TIMEOUT", "60s"),
        ("SAGEMAKER_BIND_TO_PORT", "99999"),
        ("SAGEMAKER_BIND_TO_PORT", "0"),
        ("SAGEMAKER_BIND_TO_PORT", "http"),
        ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "-1"),
        ("SAGEMAKER_MAX_CONCURRENT_TRANSFORMS", "none"),
        ("OMP_NUM_THREADS", "0"),
        ("HOSTING_MODE", "edge"),
    ],
)
def test_a_setting_that_cannot_work_is_one_line_that_names_it_and_exit_78(
    name: str, value: str, source: Path
) -> None:
    done = python(source, "-m", "byoc", "serve", **{name: value})
    assert done.returncode == EXIT_CONFIG, done.stderr
    [line] = done.stderr.splitlines()
    assert name in line
    assert "must be" in line
    assert len(line) < 300


def test_a_script_that_the_sdk_brings_to_an_endpoint_is_refused_in_one_line(source: Path) -> None:
    done = python(source, "-m", "byoc", "serve", SAGEMAKER_PROGRAM="inference.py")
    assert done.returncode == EXIT_CONFIG, done.stderr
    [line] = done.stderr.splitlines()
    assert "SAGEMAKER_PROGRAM is 'inference.py'" in line


def test_an_empty_variable_counts_as_unset(source: Path) -> None:
    show = "from byoc.serving import settings; print(repr(settings.read()))"
    unset = python(source, "-c", show)
    assert unset.returncode == 0, unset.stderr
    assert python(source, "-c", show, **dict.fromkeys(VARIABLES, "")).stdout == unset.stdout


def test_a_transform_job_s_strategy_is_named_only_where_the_user_chose_one(source: Path) -> None:
    show = (
        "import json; from byoc.serving.settings import read; print(json.dumps(read().execution_parameters))"
    )
    answered = json.loads(python(source, "-c", show).stdout)
    assert answered.keys() == {"MaxConcurrentTransforms", "MaxPayloadInMB"}
    chosen = json.loads(python(source, "-c", show, SAGEMAKER_BATCH_STRATEGY="SINGLE_RECORD").stdout)
    assert chosen == {**answered, "BatchStrategy": "SINGLE_RECORD"}
