"""What pipeline.sh makes of the AWS CLI's answers: only "it does not exist" is read as missing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from sagegen.render import render

#: An `aws` that has a stack, no endpoint and nothing else, and refuses the calls that $DENIED names.
AWS = """#!/bin/sh
echo "$1 $2" >>"$CALLS"
removing=$(grep -c delete-stack "$CALLS")
case "$removing $1 $2" in
  *"$DENIED"*)
    echo "An error occurred (AccessDenied) when calling $2: User: bob is not authorized" >&2
    exit 254 ;;
  *list-executions) echo "arn:execution" ;;
  *list-endpoint-configs) echo "penguins-000000000001" ;;
  *list-models) echo "penguins-000000000001" ;;
  "1 cloudformation describe-stacks")
    echo "An error occurred (ValidationError): Stack with id penguins-pipeline does not exist" >&2
    exit 254 ;;
  *describe-stacks) printf 'the-bucket\\tarn:machine\\tCREATE_COMPLETE\\n' ;;
  *describe-endpoint)
    echo 'An error occurred (ValidationException): Could not find endpoint "penguins".' >&2
    exit 254 ;;
esac
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("script") / "penguins"
    render(folder, {"project_name": "penguins", "deploy": "pipeline"})
    return folder


def run(folder: Path, scratch: Path, denied: str, *arguments: str) -> tuple[int, str, list[str]]:
    """The exit code, what was said, and the calls that were made."""
    (scratch / "bin").mkdir()
    (scratch / "bin/aws").write_text(AWS)
    (scratch / "bin/aws").chmod(0o755)
    calls = scratch / "calls"
    calls.touch()
    given = {
        "PATH": f"{scratch / 'bin'}:{os.environ['PATH']}",
        "DENIED": denied,
        "CALLS": str(calls),
        "PAUSE": "0",
    }
    done = subprocess.run(
        ["bash", "pipeline/pipeline.sh", *arguments],
        cwd=folder,
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stderr, calls.read_text().splitlines()


@pytest.mark.parametrize(
    "verb,denied",
    [
        ("run", "0 cloudformation describe-stacks"),
        ("run", "s3api list-objects-v2"),
        ("down", "0 cloudformation describe-stacks"),
        ("down", "stepfunctions list-executions"),
        ("down", "sagemaker describe-endpoint"),
        ("down", "sagemaker list-endpoint-configs"),
        ("down", "logs delete-log-group"),
        ("down", "sagemaker list-models"),
        ("down", "s3api head-bucket"),
        ("down", "1 cloudformation describe-stacks"),
    ],
)
def test_a_question_that_aws_refuses_is_not_read_as_missing(
    folder: Path, tmp_path: Path, verb: str, denied: str
) -> None:
    arguments = [verb, "--yes"] if verb == "down" else [verb]
    code, said, calls = run(folder, tmp_path, denied, *arguments)
    assert code != 0 and "AccessDenied" in said, said
    assert "no stack" not in said and "Removed." not in said and "no data yet" not in said, said
    assert calls[-1] == " ".join(denied.split()[-2:]), "it went on"


def test_down_takes_what_is_gone_for_gone(folder: Path, tmp_path: Path) -> None:
    code, said, calls = run(folder, tmp_path, "nothing", "down", "--yes")
    assert code == 0 and "Removed." in said, said
    assert "sagemaker delete-endpoint-config" in calls and "cloudformation delete-stack" in calls
