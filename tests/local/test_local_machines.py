"""State machines that train, build, deploy and call functions."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from emulators import ACCOUNT, BUCKET, CODE, ROLE, Emulator, request, role, wait, zipped

FLOW = f"arn:aws:iam::{ACCOUNT}:role/flow"
TRAIN = "arn:aws:states:::sagemaker:createTrainingJob.sync"
MANAGED = ["events:PutTargets", "events:PutRule", "events:DescribeRule"]
Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def run(local: Emulator) -> Iterator[Run]:
    """Runs a definition once; the execution that has ended."""
    role(local, "flow", "states.amazonaws.com", "sagemaker:*", "iam:PassRole", "lambda:*", "s3:*", *MANAGED)
    states, made = local.client("stepfunctions"), []

    def once(definition: Any, data: Any = None, **more: Any) -> dict[str, Any]:
        whole = definition if "StartAt" in definition else {"StartAt": "First", "States": definition}
        name = f"m{len(made)}"
        arn = states.create_state_machine(name=name, definition=json.dumps(whole), roleArn=FLOW)[
            "stateMachineArn"
        ]
        made.append(arn)
        begun = states.start_execution(stateMachineArn=arn, input=json.dumps(data or {}))["executionArn"]
        return ended(local, begun)

    yield once
    for arn in made:
        states.delete_state_machine(stateMachineArn=arn)


def ended(local: Emulator, arn: str) -> dict[str, Any]:
    def told() -> Any:
        found = local.client("stepfunctions").describe_execution(executionArn=arn)
        return found if found["status"] != "RUNNING" else None

    found: dict[str, Any] = wait(told)
    return {**found, "output": json.loads(found.get("output", "null"))}


def kinds(local: Emulator, execution: dict[str, Any]) -> list[str]:
    """Its history's types of events."""
    states = local.client("stepfunctions")
    pages = states.get_paginator("get_execution_history").paginate(executionArn=execution["executionArn"])
    return [event["type"] for page in pages for event in page["events"]]


def test_data_flows_as_the_language_says(local: Emulator, run: Run) -> None:
    one = {"StartAt": "One", "States": {"One": {"Type": "Pass", "InputPath": "$.value", "End": True}}}
    two = {"StartAt": "Two", "States": {"Two": {"Type": "Wait", "Seconds": 0, "End": True}}}
    found = run(
        {
            "First": {
                "Type": "Pass",
                "Parameters": {
                    "one.$": "$.list[0].name",
                    "all.$": "$.list[*].name",
                    "text.$": "States.Format('{} of {}', $.list[1].name, $$.Execution.Name)",
                    "sum.$": "States.MathAdd($.n, 2)",
                },
                "ResultPath": "$.made",
                "Next": "Choose",
            },
            "Choose": {
                "Type": "Choice",
                "Choices": [
                    {"Variable": "$.missing", "IsPresent": True, "Next": "Never"},
                    {"And": [{"Variable": "$.made.sum", "NumericGreaterThan": 2},
                             {"Variable": "$.made.one", "StringMatches": "f*t"}], "Next": "Both"},
                ],
                "Default": "Never",
            },
            "Never": {"Type": "Fail", "Error": "No"},
            "Both": {
                "Type": "Parallel",
                "Branches": [one, two],
                "ResultSelector": {"left.$": "$[0]", "right.$": "$[1].value"},
                "Parameters": {"value": 1},
                "ResultPath": "$.both",
                "End": True,
            },
        },
        {"list": [{"name": "first"}, {"name": "second"}], "n": 3},
    )  # fmt: skip
    assert found["status"] == "SUCCEEDED", found
    made = found["output"]["made"]
    assert made.pop("text").startswith("second of ")
    assert made == {"one": "first", "all": ["first", "second"], "sum": 5}
    assert found["output"]["both"] == {"left": 1, "right": 1}
    with urllib.request.urlopen(local.exports["AWS_ENDPOINT_URL"], timeout=10) as page:
        shown = page.read().decode()
    assert "<svg" in shown and ">Choose</text>" in shown and found["name"] in shown


def test_each_item_of_a_map_has_its_index(run: Run) -> None:
    one = {"Type": "Pass", "End": True, "Parameters": {"at.$": "$$.Map.Item.Index", "is.$": "$.value"}}
    found = run(
        {
            "First": {
                "Type": "Map",
                "ItemsPath": "$.list",
                "ItemSelector": {"value.$": "$$.Map.Item.Value.name"},
                "ItemProcessor": {"StartAt": "One", "States": {"One": one}},
                "ResultPath": "$.each",
                "OutputPath": "$.each",
                "End": True,
            }
        },
        {"list": [{"name": "first"}, {"name": "second"}]},
    )
    assert found["output"] == [{"at": 0, "is": "first"}, {"at": 1, "is": "second"}]


def task(resource: str) -> dict[str, Any]:
    return {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", "End": True}


def training(image: str, name: str, **more: Any) -> dict[str, Any]:
    return {**request(image, name), **more}


def test_a_machine_waits_for_a_training_job_and_deploys_its_model(
    local: Emulator, run: Run, image: str
) -> None:
    found = run(
        {
            "First": {
                "Type": "Task",
                "Resource": TRAIN,
                "Parameters": {**training(image, ""), "TrainingJobName.$": "$.name"},
                "ResultSelector": {"artifact.$": "$.ModelArtifacts.S3ModelArtifacts"},
                "ResultPath": "$.trained",
                "Next": "Model",
            },
            "Model": {
                "Type": "Task",
                "Resource": "arn:aws:states:::sagemaker:createModel",
                "Parameters": {"ModelName.$": "$.name", "ExecutionRoleArn": ROLE,
                               "PrimaryContainer": {"Image": image, "ModelDataUrl.$": "$.trained.artifact"}},
                "ResultPath": None,
                "Next": "Config",
            },
            "Config": {
                "Type": "Task",
                "Resource": "arn:aws:states:::aws-sdk:sagemaker:createEndpointConfig",
                "Parameters": {"EndpointConfigName.$": "$.name", "ProductionVariants": [
                    {"VariantName": "all", "ModelName.$": "$.name", "InstanceType": "ml.m5.large",
                     "InitialInstanceCount": 1}]},
                "ResultPath": None,
                "Next": "Update",
            },
            "Update": {
                "Type": "Task",
                "Resource": "arn:aws:states:::sagemaker:updateEndpoint",
                "Parameters": {"EndpointName.$": "$.name", "EndpointConfigName.$": "$.name"},
                "Catch": [{"ErrorEquals": ["SageMaker.AmazonSageMakerException"], "ResultPath": "$.error",
                           "Next": "Create"}],
                "Next": "Wait",
            },
            "Create": {
                "Type": "Task",
                "Resource": "arn:aws:states:::sagemaker:createEndpoint",
                "Parameters": {"EndpointName.$": "$.name", "EndpointConfigName.$": "$.name"},
                "ResultPath": None,
                "Next": "Wait",
            },
            "Wait": {"Type": "Wait", "Seconds": 1, "Next": "Describe"},
            "Describe": {
                "Type": "Task",
                "Resource": "arn:aws:states:::aws-sdk:sagemaker:describeEndpoint",
                "Parameters": {"EndpointName.$": "$.name"},
                "ResultPath": "$.endpoint",
                "Next": "Ready",
            },
            "Ready": {
                "Type": "Choice",
                "Choices": [{"Variable": "$.endpoint.EndpointStatus", "StringEquals": "InService",
                             "Next": "Done"}],
                "Default": "Wait",
            },
            "Done": {"Type": "Succeed"},
        },
        {"name": "by-a-machine"},
    )  # fmt: skip
    assert found["status"] == "SUCCEEDED", found
    assert "Could not find endpoint" in found["output"]["error"]["Cause"]
    assert found["output"]["endpoint"]["CreationTime"].endswith("Z")
    tags = local.client("sagemaker").list_tags(
        ResourceArn=f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:training-job/by-a-machine"
    )["Tags"]
    assert tags == [{"Key": "MANAGED_BY_AWS", "Value": "STARTED_BY_STEP_FUNCTIONS"}]
    history = kinds(local, found)
    assert history[:5] == [
        "ExecutionStarted",
        "TaskStateEntered",
        "TaskScheduled",
        "TaskStarted",
        "TaskSubmitted",
    ]
    assert history[-2:] == ["SucceedStateExited", "ExecutionSucceeded"]
    local.client("sagemaker").delete_endpoint(EndpointName="by-a-machine")


def test_a_job_that_fails_is_the_cause(run: Run, image: str) -> None:
    parameters = training(image, "machine-fails", HyperParameters={"then": "fail", "words": "no such column"})
    catch = [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Failed"}]
    task = {"Type": "Task", "Resource": TRAIN, "Parameters": parameters, "Catch": catch, "End": True}
    failed = {"Type": "Fail", "ErrorPath": "$.error.Error", "CausePath": "$.error.Cause"}
    found = run({"First": task, "Failed": failed})
    assert (found["status"], found["error"]) == ("FAILED", "States.TaskFailed")
    assert json.loads(found["cause"])["FailureReason"] == "AlgorithmError: no such column, exit code: 3"


def test_a_stopped_execution_stops_its_job(local: Emulator, run: Run, image: str) -> None:
    states, sagemaker = local.client("stepfunctions"), local.client("sagemaker")
    task = {"Type": "Task", "Resource": TRAIN, "End": True,
            "Parameters": training(image, "machine-stops", HyperParameters={"then": "wait"})}  # fmt: skip
    definition = json.dumps({"StartAt": "First", "States": {"First": task}})
    arn = states.create_state_machine(name="stops", definition=definition, roleArn=FLOW)["stateMachineArn"]
    execution = states.start_execution(stateMachineArn=arn, name="x")["executionArn"]
    wait(lambda: "waiting" in "".join(local.logged("/aws/sagemaker/TrainingJobs", "machine-stops")))
    states.stop_execution(executionArn=execution, error="Mine", cause="enough")
    found = ended(local, execution)
    assert (found["status"], found["error"], found["cause"]) == ("ABORTED", "Mine", "enough")
    wait(
        lambda: (
            sagemaker.describe_training_job(TrainingJobName="machine-stops")["TrainingJobStatus"] == "Stopped"
        )
    )
    states.delete_state_machine(stateMachineArn=arn)


def test_functions_are_retried_and_their_errors_caught_by_name(local: Emulator, run: Run) -> None:
    function = role(local, "of-a-machine", "lambda.amazonaws.com", "logs:*")
    local.client("lambda").create_function(
        FunctionName="task", Runtime="python3.13", Handler="index.handler", Role=function, Timeout=5,
        Code={"ZipFile": zipped(CODE)},
    )  # fmt: skip
    task = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "End": True,
            "Parameters": {"FunctionName": "task", "Payload.$": "$"}}  # fmt: skip
    found = run({"First": {**task, "OutputPath": "$.Payload.count"}}, {"what": "print"})
    assert found["output"] == 1
    retry = [{"ErrorEquals": ["ValueError"], "IntervalSeconds": 1, "MaxAttempts": 1}]
    catch = [{"ErrorEquals": ["ValueError"], "Next": "Caught"}]
    found = run(
        {"First": {**task, "Retry": retry, "Catch": catch}, "Caught": {"Type": "Pass", "End": True}},
        {"what": "fail"},
    )
    assert json.loads(found["output"]["Cause"])["errorMessage"] == "it is wrong"
    assert kinds(local, found).count("TaskFailed") == 2
    found = run({"First": {**task, "TimeoutSeconds": 1}}, {"what": "sleep", "seconds": 2})
    assert (found["status"], found["error"]) == ("FAILED", "States.Timeout")
    local.client("lambda").delete_function(FunctionName="task")


def test_machines_wait_for_transform_and_tuning_jobs(local: Emulator, image: str, run: Run) -> None:
    local.put(flow__in__rows="a\nb\n")
    local.client("sagemaker").create_model(ModelName="flow", PrimaryContainer={"Image": image})
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/flow/in"}
    transform = {
        "TransformJobName": "flow",
        "ModelName": "flow",
        "TransformInput": {"DataSource": {"S3DataSource": source}, "SplitType": "None"},
        "TransformOutput": {"S3OutputPath": f"s3://{BUCKET}/flow/out"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }
    metric = {"Name": "score", "Regex": "rate=([0-9.]+)"}
    job = request(image, "x", algorithm={"MetricDefinitions": [metric]})
    del job["TrainingJobName"]
    tuning = {
        "HyperParameterTuningJobName": "flow",
        "HyperParameterTuningJobConfig": {
            "Strategy": "Grid",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "score"},
            "ResourceLimits": {"MaxParallelTrainingJobs": 1},
            "ParameterRanges": {"CategoricalParameterRanges": [{"Name": "rate", "Values": ["0.25"]}]},
        },
        "TrainingJobDefinition": job,
    }
    both = [
        {"StartAt": "One", "States": {"One": {**task(f"sagemaker:{name}.sync"), "Parameters": given}}}
        for name, given in (("createTransformJob", transform), ("createHyperParameterTuningJob", tuning))
    ]
    found = run({"First": {"Type": "Parallel", "Branches": both, "End": True}})
    assert found["status"] == "SUCCEEDED", found
    transformed, tuned = found["output"]
    assert transformed["TransformJobStatus"] == "Completed"
    assert local.get(f"s3://{BUCKET}/flow/out/rows.out") == b"A\nB\n"
    assert tuned["BestTrainingJob"]["TunedHyperParameters"] == {"rate": "0.25"}
    failing = {**transform, "TransformJobName": "flow-failing", "ModelName": "flow"}
    local.put(flow__in__rows="status 400 no")
    found = run({"First": {**task("sagemaker:createTransformJob.sync"), "Parameters": failing}})
    assert (found["status"], found["error"]) == ("FAILED", "States.TaskFailed")


def test_a_task_may_do_what_its_role_may(local: Emulator, run: Run) -> None:
    found = run({"First": {**task("aws-sdk:ssm:getParameter"), "Parameters": {"Name": "x"}}})
    assert found["status"] == "FAILED" and "not authorized to perform: ssm:GetParameter" in found["cause"]
    narrow = role(local, "narrow", "states.amazonaws.com", "sagemaker:*")
    with pytest.raises(ClientError, match="is not authorized to create managed-rule"):
        local.client("stepfunctions").create_state_machine(
            name="no",
            roleArn=narrow,
            definition=json.dumps(
                {"StartAt": "First", "States": {"First": task("sagemaker:createTrainingJob.sync")}}
            ),
        )


@pytest.mark.parametrize(
    "states, words",
    [
        ({"First": {"Type": "Pass", "Next": "Nowhere"}}, "Missing 'Next' target: Nowhere"),
        ({"First": {"Type": "Pass"}}, "either Next or End"),
        ({"First": {"Type": "Pass", "End": True}, "Alone": {"Type": "Succeed"}}, "Alone.* is not reachable"),
        ({"First": task("glue:startJobRun.sync")}, "not emulated: glue"),
        ({"First": task("aws-sdk:sagemaker:trainHarder")}, "trainHarder"),
        ({"First": {"Type": "Pass", "End": True, "Assign": {}}}, "Assign"),
        ({"First": {"Type": "Pass", "End": True, "Parameters": {"x.$": "States.No()"}}}, "States.No"),
        ({"First": {"Type": "Choice", "Choices": [{"Variable": "$.x", "Is": 1, "Next": "First"}]}}, "compar"),
    ],
)  # fmt: skip
def test_definitions_that_cannot_run_are_refused(local: Emulator, run: Run, states: Any, words: str) -> None:
    with pytest.raises(ClientError, match="InvalidDefinition.*" + words):
        run(states)
