"""The pipeline of each kind of hosting, run once; test_pipeline.py has the real-time one's whole life."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import BASE_IMAGE, ROOT

sys.path.insert(0, str(ROOT / "tests/deploy"))
sys.path.insert(0, str(ROOT / "tests/local"))
from deployments import Tiny, account
from emulators import Emulator, wait


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with account(tmp_path_factory.mktemp("account")) as local:
        yield local


def at_once(local: Emulator, name: str, bucket: str) -> bytes:
    runtime = local.client("sagemaker-runtime")
    return runtime.invoke_endpoint(EndpointName=name, Body=b"one", ContentType="text/csv")["Body"].read()  # type: ignore[no-any-return]


def by_queue(local: Emulator, name: str, bucket: str) -> bytes:
    local.client("s3").put_object(Bucket=bucket, Key="requests/one.csv", Body=b"one")
    place = {"InputLocation": f"s3://{bucket}/requests/one.csv", "ContentType": "text/csv"}
    runtime = local.client("sagemaker-runtime")
    sent = runtime.invoke_endpoint_async(EndpointName=name, **place)
    key = sent["OutputLocation"].partition(f"{bucket}/")[2]
    s3 = local.client("s3")
    wait(lambda: s3.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents"))
    return local.get(sent["OutputLocation"])


def by_batch(local: Emulator, name: str, bucket: str) -> bytes:
    local.client("s3").put_object(Bucket=bucket, Key="requests/one.csv", Body=b"one")
    sagemaker = local.client("sagemaker")
    (model,) = sagemaker.list_models(NameContains=name)["Models"]
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/requests/"}}
    sagemaker.create_transform_job(
        TransformJobName=name,
        ModelName=model["ModelName"],
        TransformInput={"DataSource": source, "ContentType": "text/csv"},
        TransformOutput={"S3OutputPath": f"s3://{bucket}/answers/"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )

    def ended() -> Any:
        found = sagemaker.describe_transform_job(TransformJobName=name)
        return found if found["TransformJobStatus"] != "InProgress" else None

    assert wait(ended)["TransformJobStatus"] == "Completed"
    return local.get(f"s3://{bucket}/answers/one.csv.out")


@pytest.mark.parametrize("hosting,ask", [("serverless", at_once), ("async", by_queue), ("batch", by_batch)])
def test_the_pipeline_of_each_hosting_runs_answers_and_is_removed(
    local: Emulator, tmp_path: Path, hosting: str, ask: Callable[[Emulator, str, str], bytes]
) -> None:
    name = f"pl-{hosting}"
    made = Tiny(
        tmp_path / "repository", local.environment, project_name=name, deploy="pipeline", hosting=hosting
    )
    template = made.folder / "pipeline/template.yaml"
    template.write_text(template.read_text().replace('"Seconds": 15', '"Seconds": 1'))

    def make(*arguments: str) -> str:
        environment = {**local.environment, "PAUSE": "0.3", "PATH": os.environ["PATH"]}
        command = ["make", "--no-print-directory", *arguments]
        done = subprocess.run(command, cwd=made.folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stderr

    make("pipeline", f"ARGS=BuildArgs='--build-arg BASE_IMAGE={BASE_IMAGE}'")
    make("pipeline-run")
    stack = {"StackName": f"{name}-pipeline", "LogicalResourceId": "Data"}
    found = local.client("cloudformation").describe_stack_resource(**stack)["StackResourceDetail"]
    assert ask(local, name, found["PhysicalResourceId"]).strip() == b"cat"
    make("pipeline-down", "ARGS=--yes")
    sagemaker = local.client("sagemaker")
    assert sagemaker.list_models(NameContains=name)["Models"] == []
    assert sagemaker.list_endpoints(NameContains=name)["Endpoints"] == []
    assert name not in str(local.client("s3").list_buckets()["Buckets"])
