"""CodeBuild projects whose buildspecs really run."""

from __future__ import annotations

import io
import os
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from emulators import ACCOUNT, BUCKET, SAGEGEN, Emulator, role, wait, zipped

ROLE = f"arn:aws:iam::{ACCOUNT}:role/build"
SPEC = """
version: 0.2
env:
  variables: {WORD: from the buildspec, OTHER: stays}
  exported-variables: [IMAGE]
phases:
  pre_build:
    commands:
      - MINE=kept
      - cd folder
  build:
    commands:
      - ./script.sh
      - export IMAGE="$MINE $WORD $OTHER"
      - aws sts get-caller-identity --query Account --output text
  post_build:
    commands:
      - echo "succeeding $CODEBUILD_BUILD_SUCCEEDING in $(basename "$PWD")"
"""


def source(local: Emulator, spec: str) -> None:
    """A zip with a buildspec and a script that is executable."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("buildspec.yml", spec)
        script = zipfile.ZipInfo("folder/script.sh")
        script.external_attr = 0o100755 << 16
        archive.writestr(script, "#!/bin/sh\necho the script ran\n")
        archive.writestr("folder/Dockerfile", "FROM scratch\nCOPY script.sh /\n")
    local.put(**{"source.zip": out.getvalue()})


@pytest.fixture(scope="module")
def builds(local: Emulator) -> Iterator[Any]:
    role(local, "build", "codebuild.amazonaws.com", "s3:GetObject", "logs:*", "sts:*", "ecr:*")
    found = local.client("codebuild")
    found.create_project(**project())
    yield found
    found.delete_project(name="proj")


def project(**more: Any) -> dict[str, Any]:
    environment = {
        "type": "LINUX_CONTAINER", "image": "aws/codebuild/standard:7.0",
        "computeType": "BUILD_GENERAL1_SMALL", "privilegedMode": True,
        "environmentVariables": [{"name": "WORD", "value": "of the project"}],
    }  # fmt: skip
    return {
        "name": "proj",
        "source": {"type": "S3", "location": f"{BUCKET}/source.zip"},
        "artifacts": {"type": "NO_ARTIFACTS"},
        "environment": environment,
        "serviceRole": ROLE,
        **more,
    }


def run(builds: Any, **more: Any) -> dict[str, Any]:
    """A build that has ended."""
    identity = builds.start_build(projectName="proj", **more)["build"]["id"]

    def ended() -> Any:
        (found,) = builds.batch_get_builds(ids=[identity])["builds"]
        return found if found["buildComplete"] else None

    found: dict[str, Any] = wait(ended)
    return found


def trouble(build: dict[str, Any]) -> str:
    return " ".join(one["message"] for phase in build["phases"] for one in phase.get("contexts", ()))


def test_a_build_runs_its_commands_in_one_shell(local: Emulator, builds: Any) -> None:
    source(local, SPEC)
    build = run(builds, environmentVariablesOverride=[{"name": "CHOSEN", "value": "1"}])
    assert build["buildStatus"] == "SUCCEEDED", trouble(build)
    (exported,) = build["exportedEnvironmentVariables"]
    assert exported == {"name": "IMAGE", "value": "kept of the project stays"}
    lines = local.logged("/aws/codebuild/proj", build["logs"]["streamName"])
    assert {"the script ran", ACCOUNT, "succeeding 1 in folder"} <= set(lines)
    kinds = [phase["phaseType"] for phase in build["phases"]]
    assert kinds == ["SUBMITTED", "QUEUED", "PROVISIONING", "DOWNLOAD_SOURCE", "PRE_BUILD", "BUILD",
                     "POST_BUILD", "UPLOAD_ARTIFACTS", "FINALIZING", "COMPLETED"]  # fmt: skip


def test_a_build_pushes_an_image_into_the_registry(local: Emulator, builds: Any) -> None:
    local.client("ecr").create_repository(repositoryName="built")
    commands = [
        "aws ecr get-login-password | docker login --username AWS --password-stdin $REGISTRY",
        "docker build --quiet --tag $REGISTRY/built:1 folder",
        "docker push $REGISTRY/built:1",
        "docker rmi $REGISTRY/built:1",
    ]
    steps = "".join(f"      - {command}\n" for command in commands)
    source(local, f"version: 0.2\nphases:\n  build:\n    commands:\n{steps}")
    build = run(builds)
    stream = build["logs"]["streamName"]
    assert build["buildStatus"] == "SUCCEEDED", local.logged("/aws/codebuild/proj", stream)
    (image,) = local.client("ecr").describe_images(repositoryName="built")["imageDetails"]
    assert image["imageTags"] == ["1"]
    # Without PrivilegedMode there is no engine.
    refused = run(builds, privilegedModeOverride=False)
    assert refused["buildStatus"] == "FAILED" and "exit status" in trouble(refused)


@pytest.mark.parametrize(
    "spec, words",
    [
        (SPEC.replace("./script.sh", "false"), "Error while executing command: false. Reason: exit status 1"),
        (SPEC.replace("./script.sh", "exit 4"), "exit status 4"),
        (SPEC.replace("version: 0.2", "version: 0.1"), "not emulated: version 0.1 of a buildspec"),
        ("phases: [", "while parsing"),
        (SPEC.replace("phases:", "batch: {}\nphases:"), "not emulated: batch in a buildspec"),
    ],
    ids=("command", "exit", "version", "yaml", "batch"),
)
def test_a_build_that_fails_says_where(local: Emulator, builds: Any, spec: str, words: str) -> None:
    source(local, spec)
    build = run(builds)
    assert (build["buildStatus"], words in trouble(build)) == ("FAILED", True), trouble(build)


def running(mark: str) -> int:
    """How many processes sleep for that long."""
    return int(subprocess.run(["pgrep", "-fc", f"sleep {mark}$"], capture_output=True).stdout)


def test_a_stopped_build_leaves_no_process(local: Emulator, builds: Any) -> None:
    mark = f"3{os.getpid()}"
    source(local, SPEC.replace("./script.sh", f"sleep {mark} & sleep {mark}"))
    identity = builds.start_build(projectName="proj")["build"]["id"]
    wait(lambda: running(mark))
    builds.stop_build(id=identity)
    wait(lambda: builds.batch_get_builds(ids=[identity])["builds"][0]["buildStatus"] == "STOPPED")
    wait(lambda: not running(mark), 10)


def test_no_build_and_no_function_outlives_a_killed_emulator() -> None:
    process = subprocess.Popen(
        [*SAGEGEN, "local"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    killed, mark = Emulator(process, Path()), f"4{os.getpid()}"
    build = role(killed, "build", "codebuild.amazonaws.com", "logs:*")
    function = role(killed, "function", "lambda.amazonaws.com", "logs:*")
    spec = f"version: 0.2\nphases: {{build: {{commands: [sleep {mark}]}}}}"
    made = project(serviceRole=build, source={"type": "NO_SOURCE", "buildspec": spec})
    killed.client("codebuild").create_project(**made)
    killed.client("codebuild").start_build(projectName="proj")
    killed.client("lambda").create_function(
        FunctionName="f", Runtime="python3.13", Handler="index.handler", Role=function, Timeout=60,
        Code={"ZipFile": zipped(f"import os\ndef handler(*_): os.system('sleep {mark}')")},
    )  # fmt: skip
    killed.client("lambda").invoke(FunctionName="f", InvocationType="Event", Payload=b"{}")
    wait(lambda: running(mark) >= 2)
    process.kill()
    process.wait()
    wait(lambda: not running(mark), 10)


@pytest.mark.parametrize(
    "given, words",
    [
        (
            {"serviceRole": f"arn:aws:iam::{ACCOUNT}:role/sagemaker"},
            "not authorized to perform: sts:AssumeRole",
        ),
        ({"source": {"type": "GITHUB", "location": "x"}}, "not emulated: sources of type GITHUB"),
        ({"artifacts": {"type": "S3", "location": "b"}}, "not emulated: artifacts of type S3"),
        ({"name": "proj"}, "Project already exists"),
    ],
)
def test_projects_that_cannot_be_built_are_refused(builds: Any, given: dict[str, Any], words: str) -> None:
    with pytest.raises(ClientError, match=words):
        builds.create_project(**{**project(), "name": "other", **given})
    assert builds.list_projects()["projects"] == ["proj"]
