"""The pipeline's life against `sagegen local`: made, run, run once more, broken in every way, and removed."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from accounts import emulator
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from emulators import Emulator, wait
from helpers import BASE_IMAGE

from sagegen.render import render

#: What AWS asks for and the emulator does not judge: pulls and pushes of images, logs of services, metrics,
#: the configuration that an endpoint is made with. A job is stopped where somebody stops an execution.
NOT_JUDGED = re.compile(
    r" ecr:(Batch|GetDownload|Complete|Initiate|Put|Upload)| logs:| cloudwatch:|ExecutionRole ecr:"
    r"|Endpoint arn:.*:endpoint-config/|StopTrainingJob"
)


class Pipeline:
    """A repository's pipeline in an emulator of its own."""

    def __init__(self, local: Emulator, folder: Path, name: str) -> None:
        self.local, self.folder, self.name = local, folder, name
        self.states = local.client("stepfunctions")
        self.sagemaker = local.client("sagemaker")
        self.iam = local.client("iam")

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["make", "--no-print-directory", *arguments]
        environment = {**self.local.environment, "PAUSE": "0.3", "AWS_PAGER": ""}
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)

    def resource(self, logical: str) -> str:
        """The physical name of a resource of the stack."""
        stacks = self.local.client("cloudformation")
        found = stacks.describe_stack_resource(StackName=f"{self.name}-pipeline", LogicalResourceId=logical)
        return str(found["StackResourceDetail"]["PhysicalResourceId"])

    def executed(self, start: str, data: Any, end: str = "") -> dict[str, Any]:
        """How an execution ended that begins at a state, and ends after another if one is named."""
        machine = self.states.describe_state_machine(stateMachineArn=self.resource("Machine"))
        definition = json.loads(machine["definition"])
        definition["StartAt"] = start
        if end:
            definition["States"][end].pop("Next")
            definition["States"][end]["End"] = True
        reached, asked = set(), [start]
        while asked:
            reached.add(one := asked.pop())
            state = definition["States"][one]
            ways = [
                way for way in (state, *state.get("Choices", ()), *state.get("Catch", ())) if "Next" in way
            ]
            asked += {*(way["Next"] for way in ways), state.get("Default", one)} - reached
        definition["States"] = {one: definition["States"][one] for one in reached}
        for state in definition["States"].values():
            state.pop("Retry", None)  # a right that is missing stays so
        given = {"name": f"probe-{uuid.uuid4().hex[:8]}", "definition": json.dumps(definition)}
        try:
            made = self.states.create_state_machine(**given, roleArn=machine["roleArn"])
        except ClientError as error:  # no machine that waits for jobs without the rights on events
            return {"status": "FAILED", "cause": str(error)}
        arn = made["stateMachineArn"]
        begun = self.states.start_execution(stateMachineArn=arn, input=json.dumps(data))["executionArn"]

        def ended() -> Any:
            found = self.states.describe_execution(executionArn=begun)
            return found if found["status"] != "RUNNING" else None

        try:
            return wait(ended, 120)  # type: ignore[no-any-return]
        finally:
            self.states.delete_state_machine(stateMachineArn=arn)

    def last(self) -> dict[str, Any]:
        """The output of the last execution that succeeded."""
        given = {"stateMachineArn": self.resource("Machine"), "statusFilter": "SUCCEEDED"}
        newest = max(self.states.list_executions(**given)["executions"], key=lambda one: one["startDate"])
        ended = self.states.describe_execution(executionArn=newest["executionArn"])
        return json.loads(ended["output"])  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A pipeline that ran once in an empty account."""
    name, scratch = f"pl-{uuid.uuid4().hex[:8]}", tmp_path_factory.mktemp("pipeline")
    folder = scratch / "repository"
    render(folder, {"project_name": name, "deploy": "pipeline"})
    template = folder / "pipeline/template.yaml"
    template.write_text(template.read_text().replace('"Seconds": 15', '"Seconds": 1'))
    with emulator(scratch) as local:
        found = Pipeline(local, folder, name)
        options = f"--build-arg PYTHON_IMAGE={BASE_IMAGE} --build-arg BASE_IMAGE={BASE_IMAGE}"
        made = found.make("pipeline", f"ARGS=BuildArgs='{options}' Trigger=new-data")
        assert made.returncode == 0, made.stderr
        done = found.make("pipeline-run")
        assert done.returncode == 0, done.stderr
        yield found


def test_from_an_empty_account_to_an_endpoint_and_an_api_that_answer(pipeline: Pipeline) -> None:
    payloads = pipeline.folder / "local_test/payloads"
    expected = (payloads / "expected.csv").read_bytes()
    for file, kind in (("records.csv", "text/csv"), ("records.parquet", "application/x-parquet")):
        assert api(pipeline, (payloads / file).read_bytes(), kind) == (200, expected)
    status, answer = api(pipeline, b"a,b\n1,2\n", "text/csv")
    assert status == 400 and answer
    assert api(pipeline, b"1", "text/csv", signed=False)[0] == 403
    (job,) = pipeline.sagemaker.list_training_jobs()["TrainingJobSummaries"]
    job = pipeline.sagemaker.describe_training_job(TrainingJobName=job["TrainingJobName"])
    assert "test_accuracy" in [metric["MetricName"] for metric in job["FinalMetricDataList"]]


def api(pipeline: Pipeline, body: bytes, kind: str, signed: bool = True) -> tuple[int, bytes]:
    """Ask the API as a client with IAM credentials does."""
    exports = pipeline.local.exports
    place = f"_aws/execute-api/{pipeline.resource('Api')}/v1/predictions"
    request = AWSRequest("POST", f"{exports['AWS_ENDPOINT_URL']}/{place}", data=body)
    request.headers["Content-Type"], request.headers["Accept"] = kind, "text/csv"
    if signed:
        who = Credentials(exports["AWS_ACCESS_KEY_ID"], exports["AWS_SECRET_ACCESS_KEY"])
        SigV4Auth(who, "execute-api", exports["AWS_DEFAULT_REGION"]).add_auth(request)
    plain = urllib.request.Request(request.url, body, dict(request.headers), method="POST")
    try:
        with urllib.request.urlopen(plain, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_a_second_run_builds_nothing_and_updates_the_endpoint_in_place(pipeline: Pipeline) -> None:
    before = pipeline.sagemaker.describe_endpoint(EndpointName=pipeline.name)
    done = pipeline.make("pipeline-run")
    assert done.returncode == 0, done.stderr
    after = pipeline.sagemaker.describe_endpoint(EndpointName=pipeline.name)
    assert "UpdateEndpoint" in done.stderr and "CreateEndpoint\n" not in done.stderr
    assert after["CreationTime"] == before["CreationTime"]
    assert after["EndpointConfigName"] != before["EndpointConfigName"]
    builds = pipeline.local.client("codebuild").list_builds_for_project(projectName=f"{pipeline.name}-build")
    assert len(builds["ids"]) == 1


def test_a_failed_training_job_is_named_with_its_reason(pipeline: Pipeline) -> None:
    file = pipeline.folder / "local_test/opt_ml/input/config/hyperparameters.json"
    kept = file.read_text()
    file.write_text('{"epochs": "many"}')
    done = pipeline.make("pipeline-run")
    file.write_text(kept)
    assert done.returncode != 0
    assert "pipeline.sh: FAILED: AlgorithmError: hyperparameter 'epochs'" in done.stderr, done.stderr


def test_a_model_that_does_not_come_up_is_a_failure_and_the_old_one_serves_on(pipeline: Pipeline) -> None:
    before = pipeline.sagemaker.describe_endpoint(EndpointName=pipeline.name)["EndpointConfigName"]
    data = run_of(pipeline)
    bucket = pipeline.resource("Data")
    pipeline.local.client("s3").put_object(Bucket=bucket, Key="models/model.tar.gz", Body=b"no archive")
    data["trained"]["artifact"] = f"s3://{bucket}/models/model.tar.gz"
    found = pipeline.executed("CreateModel", data)
    assert found["status"] == "FAILED" and found["error"] == "NotDeployed", found
    served = json.loads(found["cause"])
    assert served["EndpointConfigName"] == before and served["FailureReason"]


def run_of(pipeline: Pipeline) -> dict[str, Any]:
    """The data of the last run before its model is made, with a name that nothing has."""
    data = {key: value for key, value in pipeline.last().items() if key in ("run", "trained")}
    data["run"]["name"] = f"{pipeline.name}-{time.time_ns() % 10**12:012}"
    return data


def statements(pipeline: Pipeline) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """(role of the template, its name, policy, document) of each role."""
    for logical in ("BuildRole", "StartBuildRole", "MachineRole", "ExecutionRole", "PredictRole"):
        role = pipeline.resource(logical)
        (policy,) = pipeline.iam.list_role_policies(RoleName=role)["PolicyNames"]
        found = pipeline.iam.get_role_policy(RoleName=role, PolicyName=policy)
        yield logical, role, policy, found["PolicyDocument"]


def test_a_failure_at_each_state_is_the_executions_cause_and_no_right_goes_unused(pipeline: Pipeline) -> None:
    """Each action of each role is taken away in turn: what needs it must fail, and name what is missing."""
    s3, bucket = pipeline.local.client("s3"), pipeline.resource("Data")
    source = s3.get_object(Bucket=bucket, Key="source.zip")["Body"].read()
    (built,) = pipeline.local.client("codebuild").list_builds_for_project(
        projectName=f"{pipeline.name}-build"
    )["ids"]

    def fresh(end: str) -> Any:
        """A run of a source that has no image."""
        s3.put_object(Bucket=bucket, Key="source.zip", Body=source + uuid.uuid4().bytes)
        try:
            return pipeline.executed("Build", {}, end)
        finally:
            s3.put_object(Bucket=bucket, Key="source.zip", Body=source)

    def at(state: str) -> Callable[[], Any]:
        return lambda: pipeline.executed(state, run_of(pipeline), state)

    def predicted() -> Any:
        body = (pipeline.folder / "local_test/payloads/records.csv").read_bytes()
        status, answer = api(pipeline, body, "text/csv")
        return {"status": "SUCCEEDED" if status == 200 else "FAILED", "cause": answer.decode()}

    def begun() -> Any:
        return pipeline.executed("Build", {}, "Build")

    looked = {"run": {"build": built, "tag": "none"}}
    probes: dict[str, Callable[[], Any]] = {
        "BuildRole": lambda: fresh("Train"),
        "StartBuildRole": begun,
        "StartBuildRole codebuild:StartBuild": lambda: fresh("Build"),
        "StartBuildRole codebuild:BatchGetBuilds": lambda: pipeline.executed("Build", looked, "Build"),
        "MachineRole": at("Train"),
        "MachineRole lambda:InvokeFunction": begun,
        "MachineRole sagemaker:CreateModel": at("CreateModel"),
        "MachineRole sagemaker:CreateEndpointConfig": at("CreateEndpointConfig"),
        "MachineRole sagemaker:CreateEndpoint": at("CreateEndpoint"),
        "MachineRole sagemaker:UpdateEndpoint": at("UpdateEndpoint"),
        "MachineRole sagemaker:DescribeEndpoint": at("DescribeEndpoint"),
        "ExecutionRole": at("Train"),
        "PredictRole": predicted,
    }
    wrong = []
    for logical, role, policy, document in statements(pipeline):
        for number, statement in enumerate(document["Statement"]):
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            for action in actions:
                right = f"{logical} {action} {statement['Resource']}"
                if NOT_JUDGED.search(right):
                    continue
                less = copy.deepcopy(document)
                less["Statement"][number]["Action"] = [one for one in actions if one != action]
                less["Statement"] = [one for one in less["Statement"] if one["Action"]]
                put = {"RoleName": role, "PolicyName": policy}
                pipeline.iam.put_role_policy(**put, PolicyDocument=json.dumps(less))
                try:
                    found = probes.get(f"{logical} {action}", probes[logical])()
                finally:
                    pipeline.iam.put_role_policy(**put, PolicyDocument=json.dumps(document))
                told = found.get("cause", "")
                missing = [action.split(":")[1], "AccessDenied", "Access Denied", "exit status"]
                if found["status"] != "FAILED" or not any(word in told for word in missing):
                    wrong.append((right, found["status"], told))
    assert wrong == []


def test_new_data_start_the_machine(pipeline: Pipeline) -> None:
    rule = pipeline.local.client("events").describe_rule(Name=pipeline.resource("TriggerRule"))
    pattern = json.loads(rule["EventPattern"])
    assert pattern["detail"]["bucket"]["name"] == [pipeline.resource("Data")]
    (target,) = pipeline.local.client("events").list_targets_by_rule(Rule=rule["Name"])["Targets"]
    assert target["Arn"] == pipeline.resource("Machine")


def test_down_leaves_nothing(pipeline: Pipeline) -> None:
    asked = pipeline.make("pipeline-down")
    assert asked.returncode != 0 and "nothing was removed" in asked.stderr
    done = pipeline.make("pipeline-down", "ARGS=--yes")
    assert done.returncode == 0, done.stderr
    client = pipeline.local.client
    assert pipeline.sagemaker.list_endpoints()["Endpoints"] == []
    assert pipeline.sagemaker.list_endpoint_configs()["EndpointConfigs"] == []
    assert pipeline.sagemaker.list_models()["Models"] == []
    assert client("s3").list_buckets()["Buckets"] == []
    assert client("ecr").describe_repositories()["repositories"] == []
    assert client("stepfunctions").list_state_machines()["stateMachines"] == []
    assert client("iam").list_roles()["Roles"] == []
    groups = [one["logGroupName"] for one in client("logs").describe_log_groups()["logGroups"]]
    assert [group for group in groups if group != "/aws/sagemaker/TrainingJobs"] == []
    again = pipeline.make("pipeline-down", "ARGS=--yes")
    assert again.returncode == 0 and "nothing to remove" in again.stderr
