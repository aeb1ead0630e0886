"""The pipeline of each kind of hosting, run once; test_pipeline.py has the real-time one's whole life."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from deployments import Tiny, account
from emulators import Emulator, wait
from helpers import BASE_IMAGE


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with account(tmp_path_factory.mktemp("account")) as local:
        yield local


BUILD = f"BuildArgs='--build-arg BASE_IMAGE={BASE_IMAGE}'"


class Deployed:
    """A repository with a small image, whose pipeline waits less."""

    def __init__(self, local: Emulator, folder: Path, name: str, hosting: str) -> None:
        answers = {"project_name": name, "deploy": "pipeline", "hosting": hosting}
        self.local, self.name = local, name
        self.folder = Tiny(folder, local.environment, **answers).folder
        template = folder / "pipeline/template.yaml"
        template.write_text(template.read_text().replace('"Seconds": 15', '"Seconds": 1'))

    def make(self, *arguments: str) -> None:
        environment = {**self.local.environment, "PAUSE": "0.3"}
        command = ["make", "--no-print-directory", *arguments]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def resource(self, logical: str) -> str:
        stacks = self.local.client("cloudformation")
        found = stacks.describe_stack_resource(StackName=f"{self.name}-pipeline", LogicalResourceId=logical)
        return str(found["StackResourceDetail"]["PhysicalResourceId"])

    def down(self) -> None:
        """Remove the pipeline, and see that it is."""
        self.make("pipeline-down", "ARGS=--yes")
        sagemaker = self.local.client("sagemaker")
        assert sagemaker.list_models(NameContains=self.name)["Models"] == []
        assert sagemaker.list_endpoints(NameContains=self.name)["Endpoints"] == []
        assert self.name not in str(self.local.client("s3").list_buckets()["Buckets"])


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
    made = Deployed(local, tmp_path / "repository", f"pl-{hosting}", hosting)
    made.make("pipeline", f"ARGS={BUILD}")
    made.make("pipeline-run")
    assert ask(local, made.name, made.resource("Data")).strip() == b"cat"
    made.down()


def test_new_data_start_the_machine_with_the_role_of_the_trigger(local: Emulator, tmp_path: Path) -> None:
    made = Deployed(local, tmp_path / "repository", "pl-trigger", "batch")
    made.make("pipeline", f"ARGS={BUILD} Trigger=new-data")
    made.make("pipeline-run")
    s3, iam, role = local.client("s3"), local.client("iam"), made.resource("TriggerRole")
    machine, bucket = made.resource("Machine"), made.resource("Data")

    def ended() -> list[str]:
        states = local.client("stepfunctions")
        found = states.list_executions(stateMachineArn=machine)["executions"]
        return [one["status"] for one in found if one["status"] != "RUNNING"]

    policy = iam.get_role_policy(RoleName=role, PolicyName="trigger")
    iam.delete_role_policy(RoleName=role, PolicyName="trigger")
    s3.put_object(Bucket=bucket, Key="data/_SUCCESS")  # the rule may not start the machine
    document = json.dumps(policy["PolicyDocument"])
    iam.put_role_policy(RoleName=role, PolicyName="trigger", PolicyDocument=document)
    s3.put_object(Bucket=bucket, Key="data/train/more.csv", Body=b"no data are complete yet")
    s3.put_object(Bucket=bucket, Key="data/_SUCCESS")
    wait(lambda: len(ended()) > 1)
    assert ended() == ["SUCCEEDED", "SUCCEEDED"]
    made.down()
