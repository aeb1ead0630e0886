"""Endpoints and invocations, as boto3's and the AWS CLI's users see them."""

from __future__ import annotations

import itertools
import json
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EventStreamError, WaiterError
from emulators import BUCKET, ROLE, Emulator, artifact, wait

FAST = {"Delay": 1, "MaxAttempts": 90}
NUMBER = itertools.count()


class Account:
    """Models, configurations and endpoints with names of their own, all deleted in the end."""

    def __init__(self, local: Emulator, image: str) -> None:
        self.local, self.image = local, image
        self.sagemaker, self.runtime = local.client("sagemaker"), local.client("sagemaker-runtime")
        self.endpoints: list[str] = []

    def model(self, who: str = "", **environment: str) -> str:
        name = f"model-{next(NUMBER)}"
        part = {"Image": self.image, "Environment": environment}
        if who:
            self.local.put(**{f"models__{name}.tar.gz": artifact(who=who)})
            part["ModelDataUrl"] = f"s3://{BUCKET}/models/{name}.tar.gz"
        self.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=part)
        return name

    def config(self, *variants: dict[str, Any], **more: Any) -> str:
        name = f"config-{next(NUMBER)}"
        self.sagemaker.create_endpoint_config(
            EndpointConfigName=name, ProductionVariants=list(variants), **more
        )
        return name

    def endpoint(self, *variants: dict[str, Any], **more: Any) -> str:
        name = f"endpoint-{next(NUMBER)}"
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=self.config(*variants, **more))
        self.endpoints.append(name)
        self.sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name, WaiterConfig=FAST)
        return name

    def ask(self, endpoint: str, body: str, **more: Any) -> Any:
        answer = self.runtime.invoke_endpoint(EndpointName=endpoint, Body=body, **more)
        return answer["Body"].read().decode()

    def steady(self, endpoint: str) -> dict[str, Any]:
        """The endpoint's description once nothing changes."""

        def ask() -> Any:
            found = self.sagemaker.describe_endpoint(EndpointName=endpoint)
            return found if found["EndpointStatus"] in ("InService", "Failed") else None

        found: dict[str, Any] = wait(ask, 90)
        return found

    def close(self) -> None:
        for name in self.endpoints:
            self.sagemaker.delete_endpoint(EndpointName=name)
        for name in self.endpoints:
            self.sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=name, WaiterConfig=FAST)


def variant(model: str, name: str = "all", **more: Any) -> dict[str, Any]:
    hosts = {} if "ServerlessConfig" in more else {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    return {"VariantName": name, "ModelName": model, **hosts, **more}


@pytest.fixture(scope="module")
def account(local: Emulator, image: str) -> Iterator[Account]:
    found = Account(local, image)
    yield found
    found.close()


@pytest.fixture(scope="module")
def plain(account: Account) -> str:
    """An endpoint of one server."""
    return account.endpoint(variant(account.model("first")))


def test_an_endpoint_answers_with_what_its_container_answers(
    account: Account, local: Emulator, plain: str, tmp_path: Path
) -> None:
    answer = account.runtime.invoke_endpoint(
        EndpointName=plain, Body=b"a,b", ContentType="text/csv", CustomAttributes="id=1"
    )
    assert answer["Body"].read() == b"A,B"
    assert answer["CustomAttributes"] == "id=1; seen"
    assert answer["InvokedProductionVariant"] == "all"
    assert answer["ContentType"] == "text/plain"
    headers = json.loads(account.ask(plain, "headers", ContentType="text/csv", Accept="application/json"))
    assert (headers["content-type"], headers["accept"]) == ("text/csv", "application/json")
    assert not [name for name in headers if name.startswith("x-amz") or name == "authorization"]
    assert json.loads(account.ask(plain, "who"))["who"] == ["first"]
    assert account.ask(plain, "write") == "OSError"
    environment = json.loads(account.ask(plain, "environment"))
    assert not [name for name in environment if name.startswith(("AWS_", "SAGEMAKER_"))]
    (tmp_path / "body").write_text("from the cli")
    done = local.aws(
        *("sagemaker-runtime", "invoke-endpoint", "--endpoint-name", plain),
        *("--body", f"fileb://{tmp_path}/body", str(tmp_path / "answer")),
    )
    assert (tmp_path / "answer").read_text() == "FROM THE CLI", done.stderr
    wait(
        lambda: any("POST /invocations" in line for line in local.logged(f"/aws/sagemaker/Endpoints/{plain}"))
    )


def test_describe_tells_what_is_deployed(account: Account, plain: str) -> None:
    found = account.sagemaker.describe_endpoint(EndpointName=plain)
    (one,) = found["ProductionVariants"]
    assert one["CurrentInstanceCount"] == one["DesiredInstanceCount"] == 1
    (image,) = one["DeployedImages"]
    assert image["SpecifiedImage"] == account.image
    assert "@sha256:" in image["ResolvedImage"]


@pytest.mark.parametrize("code,side", [(400, "client"), (503, "server")])
def test_an_error_of_the_model_is_a_model_error(account: Account, plain: str, code: int, side: str) -> None:
    with pytest.raises(account.runtime.exceptions.ModelError) as refused:
        account.ask(plain, f"status {code} the column is missing")
    answer = refused.value.response
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert (answer["OriginalStatusCode"], answer["OriginalMessage"]) == (code, "the column is missing")
    assert answer["LogStreamArn"].endswith(f"/aws/sagemaker/Endpoints/{plain}")
    assert f"Received {side} error ({code}) from primary" in answer["Error"]["Message"]


def test_half_an_answer_is_an_error(account: Account, plain: str) -> None:
    with pytest.raises(account.runtime.exceptions.ModelError, match="26 bytes of 1000"):
        account.ask(plain, "cut")
    answer = account.runtime.invoke_endpoint_with_response_stream(EndpointName=plain, Body="cut")
    with pytest.raises(EventStreamError, match="26 bytes of 1000"):
        list(answer["Body"])


def test_payloads_have_their_limits(account: Account, plain: str) -> None:
    most = 25 * 2**20
    assert len(account.ask(plain, "x" * most)) == most
    with pytest.raises(ClientError) as refused:
        account.ask(plain, "x" * (most + 1))
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413


def test_a_stream_comes_in_parts(account: Account, plain: str) -> None:
    answer = account.runtime.invoke_endpoint_with_response_stream(EndpointName=plain, Body="x" * 300_000)
    parts = [event["PayloadPart"]["Bytes"] for event in answer["Body"]]
    assert b"".join(parts) == b"X" * 300_000
    assert len(parts) > 1
    with pytest.raises(account.runtime.exceptions.ModelError):
        account.runtime.invoke_endpoint_with_response_stream(EndpointName=plain, Body="status 400 no")


def test_two_hundred_requests_at_once_are_all_answered(account: Account, plain: str) -> None:
    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(lambda _: account.ask(plain, "sleep 0.2"), range(200)))
    assert Counter(answers) == {"slept": 200}


class Load:
    """Requests one after the other from two threads, until it ends."""

    def __init__(self, ask: Callable[[], str]) -> None:
        self.answers: Counter[str] = Counter()
        self._ask, self._end = ask, threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(2)]

    def _run(self) -> None:
        while not self._end.is_set():
            try:
                answer = self._ask()
            except Exception as error:
                answer = repr(error)
            self.answers[answer] += 1

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()


def test_an_update_loses_no_request_and_one_that_fails_changes_nothing(account: Account) -> None:
    name = account.endpoint(variant(account.model("old")))
    good = account.config(variant(account.model("new")))
    broken = account.config(variant(account.model("bad", START="never")))
    update = account.sagemaker.update_endpoint
    with Load(lambda: json.loads(account.ask(name, "who"))["who"][0]) as load:
        wait(lambda: load.answers["old"] > 5)
        update(EndpointName=name, EndpointConfigName=good)
        with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
            update(EndpointName=name, EndpointConfigName=good)
        assert account.steady(name)["EndpointConfigName"] == good
        before = load.answers["new"]
        wait(lambda: load.answers["new"] > before)
        update(EndpointName=name, EndpointConfigName=broken)
        after = account.steady(name)
    assert after["EndpointConfigName"] == good
    assert after["FailureReason"].startswith(
        "The primary container for production variant all did not pass the ping"
    )
    assert set(load.answers) == {"old", "new"}
    assert json.loads(account.ask(name, "who"))["who"] == ["new"]


def test_an_update_keeps_what_was_scaled_where_it_asks_for_that(account: Account) -> None:
    name = account.endpoint(variant(account.model("old")))
    account.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=name, DesiredWeightsAndCapacities=[{"VariantName": "all", "DesiredInstanceCount": 2}]
    )
    account.steady(name)
    new = account.config(variant(account.model("new")))

    def update(**more: Any) -> int:
        account.sagemaker.update_endpoint(
            EndpointName=name, EndpointConfigName=new, RetainAllVariantProperties=True, **more
        )
        return int(account.steady(name)["ProductionVariants"][0]["CurrentInstanceCount"])

    assert update() == 2
    assert update(ExcludeRetainedVariantProperties=[{"VariantPropertyType": "DesiredInstanceCount"}]) == 1


def test_a_canary_gets_its_share_first_and_an_alarm_takes_it_back(account: Account, local: Emulator) -> None:
    name = account.endpoint(variant(account.model("old")))
    old = account.sagemaker.describe_endpoint(EndpointName=name)["EndpointConfigName"]
    new = account.config(variant(account.model("new")))
    alarms = local.client("cloudwatch")
    alarms.put_metric_alarm(AlarmName="errors", MetricName="Invocation5XXErrors", Namespace="AWS/SageMaker",
                            Period=60, EvaluationPeriods=1, Threshold=1, Statistic="Sum",
                            ComparisonOperator="GreaterThanThreshold")  # fmt: skip

    def update(seconds: int) -> None:
        canary = {"Type": "CANARY", "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 25}}
        account.sagemaker.update_endpoint(
            EndpointName=name,
            EndpointConfigName=new,
            DeploymentConfig={
                "BlueGreenUpdatePolicy": {
                    "TrafficRoutingConfiguration": {**canary, "WaitIntervalInSeconds": seconds}
                },
                "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "errors"}]},
            },
        )

    with Load(lambda: json.loads(account.ask(name, "who"))["who"][0]) as load:
        update(300)
        wait(lambda: load.answers["new"])
        before = load.answers["old"]
        wait(lambda: load.answers["new"] > 20)
        assert load.answers["old"] - before > 20
        alarms.set_alarm_state(AlarmName="errors", StateValue="ALARM", StateReason="many")
        back = account.steady(name)
        alarms.set_alarm_state(AlarmName="errors", StateValue="OK", StateReason="few")
        update(0)
        after = account.steady(name)
    assert back["EndpointConfigName"] == old and "alarm errors" in back["FailureReason"]
    assert after["EndpointConfigName"] == new and "FailureReason" not in after
    assert set(load.answers) == {"old", "new"}
    assert json.loads(account.ask(name, "who"))["who"] == ["new"]


def test_captured_requests_and_answers_are_lines_in_s3(account: Account, local: Emulator) -> None:
    where = f"s3://{BUCKET}/captured"
    name = account.endpoint(
        variant(account.model()),
        DataCaptureConfig={
            "EnableCapture": True,
            "InitialSamplingPercentage": 100,
            "DestinationS3Uri": where,
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
        },
    )
    account.ask(name, "a,b", ContentType="text/csv", CustomAttributes="of=ours", InferenceId="one")

    def keys() -> list[str]:
        found = local.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=f"captured/{name}/all/")
        return [one["Key"] for one in found.get("Contents", ())]

    (key,) = wait(keys)
    line = json.loads(local.get(f"s3://{BUCKET}/{key}"))
    at = line["eventMetadata"]["inferenceTime"]
    assert key.startswith(f"captured/{name}/all/{at[:13].replace('-', '/').replace('T', '/')}/")
    assert line["eventMetadata"]["customAttributes"] == ["of=ours"]
    assert line["eventMetadata"]["inferenceId"] == "one"
    assert line["captureData"] == {
        "endpointInput": {
            "observedContentType": "text/csv",
            "mode": "INPUT",
            "data": "a,b",
            "encoding": "CSV",
        },
        "endpointOutput": {
            "observedContentType": "text/plain",
            "mode": "OUTPUT",
            "data": "QSxC",
            "encoding": "BASE64",
        },
    }
    told = account.sagemaker.describe_endpoint(EndpointName=name)["DataCaptureConfig"]
    assert (told["CaptureStatus"], told["CurrentSamplingPercentage"]) == ("Started", 100)


def test_an_endpoint_that_does_not_come_up_fails_with_the_reason(account: Account, local: Emulator) -> None:
    name = f"endpoint-{next(NUMBER)}"
    config = account.config(variant(account.model(START="never")))
    account.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
    account.endpoints.append(name)
    with pytest.raises(WaiterError):
        account.sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name, WaiterConfig=FAST)
    found = account.sagemaker.describe_endpoint(EndpointName=name)
    assert found["EndpointStatus"] == "Failed"
    assert "did not pass the ping health check" in found["FailureReason"]
    assert "this model does not start" in local.logged(f"/aws/sagemaker/Endpoints/{name}")
    with pytest.raises(ClientError, match="is not in service"):
        account.ask(name, "x")


def test_variants_share_requests_by_weight_and_one_can_be_asked_for(account: Account) -> None:
    heavy = variant(account.model("a"), "a", InitialVariantWeight=9.0)
    name = account.endpoint(heavy, variant(account.model("b"), "b", InitialVariantWeight=1.0))
    ask = account.runtime.invoke_endpoint
    seen = Counter(ask(EndpointName=name, Body=b"x")["InvokedProductionVariant"] for _ in range(100))
    assert 80 <= seen["a"] <= 98
    assert ask(EndpointName=name, Body=b"x", TargetVariant="b")["InvokedProductionVariant"] == "b"
    with pytest.raises(ClientError, match="Variant c not found"):
        ask(EndpointName=name, Body=b"x", TargetVariant="c")
    wanted = [
        {"VariantName": "a", "DesiredWeight": 0},
        {"VariantName": "b", "DesiredWeight": 1, "DesiredInstanceCount": 2},
    ]
    account.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=name, DesiredWeightsAndCapacities=wanted
    )
    found = {one["VariantName"]: one for one in account.steady(name)["ProductionVariants"]}
    assert (found["a"]["CurrentWeight"], found["b"]["CurrentInstanceCount"]) == (0, 2)
    answers = [ask(EndpointName=name, Body=b"who") for _ in range(30)]
    assert {answer["InvokedProductionVariant"] for answer in answers} == {"b"}
    assert len({json.loads(answer["Body"].read())["pid"] for answer in answers}) == 2


def test_a_server_that_dies_is_replaced(account: Account) -> None:
    name = account.endpoint(variant(account.model("only")))
    with pytest.raises(account.runtime.exceptions.ModelError):
        account.ask(name, "die")

    def again() -> bool:
        try:
            return account.ask(name, "x") == "X"
        except ClientError:
            return False

    wait(again)


def test_an_endpoint_grows_with_its_requests_and_shrinks_again(account: Account, local: Emulator) -> None:
    name = account.endpoint(variant(account.model()))
    scaling = local.client("application-autoscaling")
    which = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{name}/variant/all",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    scaling.register_scalable_target(**which, MinCapacity=1, MaxCapacity=2)

    def follow(target: float) -> None:
        metric = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
        config = {"TargetValue": target, "PredefinedMetricSpecification": metric}
        config |= {"ScaleInCooldown": 0, "ScaleOutCooldown": 0}
        scaling.put_scaling_policy(
            **which,
            PolicyName="follow",
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration=config,
        )

    def instances() -> int:
        found = account.steady(name)["ProductionVariants"][0]["CurrentInstanceCount"]
        return int(found)

    for _ in range(40):
        account.ask(name, "x")
    follow(10)
    wait(lambda: instances() == 2)
    follow(1000)
    wait(lambda: instances() == 1)
    activities = scaling.describe_scaling_activities(ServiceNamespace="sagemaker")["ScalingActivities"]
    assert [one["Description"][-2] for one in activities] == ["1", "2"]
    scaling.deregister_scalable_target(**which)
    with pytest.raises(ClientError, match="ObjectNotFoundException"):
        scaling.delete_scaling_policy(**which, PolicyName="follow")


def test_a_serverless_endpoint_has_its_own_limits(account: Account) -> None:
    serverless = {"MemorySizeInMB": 1024, "MaxConcurrency": 1}
    name = account.endpoint(variant(account.model(), ServerlessConfig=serverless))
    assert len(account.ask(name, "x" * (4 * 2**20))) == 4 * 2**20
    with pytest.raises(ClientError) as refused:
        account.ask(name, "x" * (4 * 2**20 + 1))
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(account.ask, name, "sleep 1") for _ in range(2)]
        errors = [one.exception() for one in both]
    assert [str(error).count("ThrottlingException") for error in errors if error] == [1]


def test_asynchronous_answers_go_to_s3_and_are_told(account: Account, local: Emulator) -> None:
    queue = local.client("sqs").create_queue(QueueName="answers")["QueueUrl"]
    sns = local.client("sns")
    topic = sns.create_topic(Name="answers")["TopicArn"]
    arn = "arn:aws:sqs:us-east-1:123456789012:answers"
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    output = {
        "S3OutputPath": f"s3://{BUCKET}/async/good",
        "S3FailurePath": f"s3://{BUCKET}/async/bad",
        "NotificationConfig": {"SuccessTopic": topic, "ErrorTopic": topic},
    }
    name = account.endpoint(variant(account.model()), AsyncInferenceConfig={"OutputConfig": output})
    local.put(async__in="from s3", async__wrong="status 500 out of order")
    with pytest.raises(ClientError, match="takes asynchronous invocations alone"):
        account.ask(name, "x")
    ask = account.runtime.invoke_endpoint_async
    good = ask(EndpointName=name, InputLocation=f"s3://{BUCKET}/async/in", ContentType="text/csv")
    bad = ask(EndpointName=name, InputLocation=f"s3://{BUCKET}/async/wrong", InferenceId="mine")
    with pytest.raises(ClientError, match="no such object"):
        ask(EndpointName=name, InputLocation=f"s3://{BUCKET}/async/nothing")
    receive = local.client("sqs").receive_message
    messages: dict[str, Any] = {}

    def both() -> bool:
        for one in receive(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
            found = json.loads(one["Body"])
            messages[found["invocationStatus"]] = found
        return len(messages) == 2

    wait(both)
    assert local.get(good["OutputLocation"]) == b"FROM S3"
    assert messages["Completed"]["responseParameters"]["outputLocation"] == good["OutputLocation"]
    assert local.get(bad["FailureLocation"]) == b"out of order"
    assert messages["Failed"]["inferenceId"] == "mine"


def test_an_asynchronous_endpoint_without_requests_has_no_instance_until_one_comes(
    account: Account, local: Emulator
) -> None:
    output = {"S3OutputPath": f"s3://{BUCKET}/zero/out"}
    name = account.endpoint(variant(account.model()), AsyncInferenceConfig={"OutputConfig": output})
    scaling, ask = local.client("application-autoscaling"), account.runtime.invoke_endpoint_async
    which = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{name}/variant/all",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    of_the_endpoint = {"Namespace": "AWS/SageMaker", "Dimensions": [{"Name": "EndpointName", "Value": name}]}
    scaling.register_scalable_target(**which, MinCapacity=0, MaxCapacity=2)
    metric = {**of_the_endpoint, "MetricName": "ApproximateBacklogSizePerInstance", "Statistic": "Average"}
    scaling.put_scaling_policy(
        **which,
        PolicyName="backlog",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 5.0,
            "CustomizedMetricSpecification": metric,
            "ScaleInCooldown": 0,
            "ScaleOutCooldown": 0,
        },
    )

    def instances() -> int:
        found = account.steady(name)["ProductionVariants"][0]["CurrentInstanceCount"]
        return int(found)

    wait(lambda: instances() == 0)
    local.put(zero__in="late")
    waiting = ask(EndpointName=name, InputLocation=f"s3://{BUCKET}/zero/in")
    first = scaling.put_scaling_policy(
        **which,
        PolicyName="first",
        PolicyType="StepScaling",
        StepScalingPolicyConfiguration={
            "AdjustmentType": "ChangeInCapacity",
            "Cooldown": 0,
            "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}],
        },
    )
    local.client("cloudwatch").put_metric_alarm(
        AlarmName=name, **of_the_endpoint, MetricName="HasBacklogWithoutCapacity", Statistic="Average",
        Period=60, EvaluationPeriods=1, Threshold=1, ComparisonOperator="GreaterThanOrEqualToThreshold",
        AlarmActions=[first["PolicyARN"]],
    )  # fmt: skip
    bucket, _, key = waiting["OutputLocation"].removeprefix("s3://").partition("/")
    local.client("s3").get_waiter("object_exists").wait(
        Bucket=bucket, Key=key, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    assert local.get(waiting["OutputLocation"]) == b"LATE"
    wait(lambda: instances() == 0)


def wrong(account: Account) -> dict[str, Callable[[], Any]]:
    """Requests that AWS refuses, by words of the refusal."""
    sagemaker, part = account.local.unchecked("sagemaker"), {"Image": account.image}
    model, nobody = account.model(), "arn:aws:iam::123456789012:role/nobody"
    config, one = account.config(variant(model)), variant(model)

    def create(**more: Any) -> Callable[[], Any]:
        given = {"ModelName": "m", "PrimaryContainer": part, **more}
        return lambda: sagemaker.create_model(**{key: value for key, value in given.items() if value})

    def configure(*variants: dict[str, Any]) -> Callable[[], Any]:
        return lambda: sagemaker.create_endpoint_config(
            EndpointConfigName="c", ProductionVariants=list(variants)
        )

    def start(config: str) -> Callable[[], Any]:
        return lambda: sagemaker.create_endpoint(EndpointName="e", EndpointConfigName=config)

    little = {"MemorySizeInMB": 1500, "MaxConcurrency": 1}
    missing = {**part, "ModelDataUrl": "s3://the-bucket/no.tar.gz"}
    return {
        "not/there:1 not found": create(PrimaryContainer={"Image": "not/there:1"}),
        "Could not find model data at s3://the-bucket/no.tar.gz": create(PrimaryContainer=missing),
        "Could not assume role": create(ExecutionRoleArn=nobody),
        "Exactly one of PrimaryContainer": create(PrimaryContainer=None),
        "at 'modelName' failed": create(ModelName="a_b"),
        "Cannot create already existing model": create(ModelName=model),
        'Could not find model "arn:aws:sagemaker:us-east-1:123456789012:model/no"': configure(variant("no")),
        "must have InstanceType": configure({"VariantName": "a", "ModelName": model}),
        "member.instanceType' failed": configure({**one, "InstanceType": "ml.x"}),
        "must be unique": configure(one, one),
        "SV-02": configure(variant(model, ServerlessConfig=little)),
        "Could not find endpoint configuration": start("no"),
        'Could not find endpoint "': lambda: sagemaker.describe_endpoint(EndpointName="no"),
        "endpoint/gone": lambda: sagemaker.update_endpoint(EndpointName="gone", EndpointConfigName=config),
        "Endpoint no of account 123456789012 not found": lambda: account.ask("no", "x"),
    }


def test_wrong_requests_are_refused_with_the_field_or_the_name(account: Account) -> None:
    for words, call in wrong(account).items():
        with pytest.raises(ClientError) as refused:
            call()
        error = refused.value.response["Error"]
        assert error["Code"] in ("ValidationException", "ValidationError"), error
        assert words in error["Message"]


def test_nothing_of_a_deleted_endpoint_runs(account: Account, local: Emulator) -> None:
    name = account.endpoint(variant(account.model()))
    mine = ["docker", "ps", "--quiet", "--filter", f"label=sagegen.check.pid={local.process.pid}"]
    running = set(subprocess.check_output(mine, text=True).split())
    account.sagemaker.delete_endpoint(EndpointName=name)
    account.sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=name, WaiterConfig=FAST)
    account.endpoints.remove(name)
    assert len(running - set(subprocess.check_output(mine, text=True).split())) == 1
