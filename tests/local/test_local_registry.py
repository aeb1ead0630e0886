"""Images that are pushed with docker, and named as on AWS."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from emulators import ENDED, Emulator, request, wait

ECR = "123456789012.dkr.ecr.us-east-1.amazonaws.com"


@pytest.fixture(scope="module")
def docker(local: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The docker command, logged in as ECR's users log in."""
    environment = {**local.environment, "DOCKER_CONFIG": str(tmp_path_factory.mktemp("docker"))}
    host = local.exports["REGISTRY"]

    def run(*words: str, **more: Any) -> subprocess.CompletedProcess[str]:
        command = ["docker", *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, **more)

    word = local.aws("ecr", "get-login-password").stdout
    done = run("login", "--username", "AWS", "--password-stdin", host, input=word)
    assert done.returncode == 0, done.stderr
    return run


def test_a_pushed_image_trains_by_tag_and_serves_by_digest(local: Emulator, image: str, docker: Any) -> None:
    ecr, sagemaker, host = local.client("ecr"), local.client("sagemaker"), local.exports["REGISTRY"]
    docker("tag", image, f"{host}/team/model:v1")
    missing = docker("push", f"{host}/team/model:v1")
    assert missing.returncode != 0 and "does not exist in the registry" in missing.stderr
    ecr.create_repository(repositoryName="team/model")
    pushed = docker("push", f"{host}/team/model:v1")
    assert pushed.returncode == 0, pushed.stderr
    (kept,) = ecr.describe_images(repositoryName="team/model")["imageDetails"]
    assert kept["imageTags"] == ["v1"]
    docker("rmi", f"{host}/team/model:v1")

    sagemaker.create_training_job(**request(f"{ECR}/team/model:v1", "pushed"))
    job = wait(lambda: _ended(sagemaker, "pushed"))
    assert job["TrainingJobStatus"] == "Completed", job

    by_digest = f"{ECR}/team/model@{kept['imageDigest']}"
    sagemaker.create_model(ModelName="pushed", PrimaryContainer={"Image": by_digest})
    variant = {
        "VariantName": "all",
        "ModelName": "pushed",
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    sagemaker.create_endpoint_config(EndpointConfigName="pushed", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="pushed", EndpointConfigName="pushed")
    slow = {"Delay": 1, "MaxAttempts": 60}
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="pushed", WaiterConfig=slow)
    (found,) = sagemaker.describe_endpoint(EndpointName="pushed")["ProductionVariants"]
    assert found["DeployedImages"][0]["ResolvedImage"] == by_digest
    sagemaker.delete_endpoint(EndpointName="pushed")


def _ended(sagemaker: Any, name: str) -> Any:
    found = sagemaker.describe_training_job(TrainingJobName=name)
    return found if found["TrainingJobStatus"] in ENDED else None


def test_images_that_sagemaker_does_not_take_are_refused(local: Emulator, docker: Any) -> None:
    local.client("ecr").create_repository(repositoryName="odd")
    kind = "application/vnd.oci.image.index.v1+json"
    index = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": []}).encode()
    put(local, "odd", "index", kind, index)
    for name, words in (
        (f"{ECR}/odd:index", f"Unsupported manifest media type {kind}"),
        (f"{ECR}/odd:other", "not found"),
        (f"{ECR.replace('us-east-1', 'eu-west-1')}/odd:index", "IMG-06"),
        (f"{ECR.replace('1234', '4321')}/odd:index", "not found"),
    ):
        with pytest.raises(ClientError, match="ValidationException") as refused:
            local.client("sagemaker").create_model(ModelName="odd", PrimaryContainer={"Image": name})
        assert words in str(refused.value)


def put(local: Emulator, name: str, tag: str, kind: str, content: bytes) -> None:
    token = local.client("ecr").get_authorization_token()["authorizationData"][0]["authorizationToken"]
    url = f"{local.exports['AWS_ENDPOINT_URL']}/v2/{name}/manifests/{tag}"
    headers = {"Authorization": f"Basic {token}", "Content-Type": kind}
    urllib.request.urlopen(urllib.request.Request(url, content, headers, method="PUT"), timeout=10)


def test_nobody_reads_the_registry_without_its_password(local: Emulator, tmp_path: Path) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{local.exports['AWS_ENDPOINT_URL']}/v2/odd/tags/list", timeout=5)
    assert refused.value.code == 401
