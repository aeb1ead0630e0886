"""Models of several containers, and containers of several models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from emulators import BUCKET, ROLE, Emulator, artifact, wait
from helpers import BASE_IMAGE

FAST = {"Delay": 1, "MaxAttempts": 60}


class Account:
    """Endpoints of models with these containers, all deleted in the end."""

    def __init__(self, local: Emulator) -> None:
        self.local, self.sagemaker = local, local.client("sagemaker")
        self.names: list[str] = []

    def endpoint(self, name: str, *parts: dict[str, Any]) -> str:
        self.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, Containers=list(parts))
        hosts = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        one = {"VariantName": "all", "ModelName": name, **hosts}
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[one])
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        self.names.append(name)
        self.sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name, WaiterConfig=FAST)
        return name

    def ask(self, name: str, body: str, **more: Any) -> str:
        runtime = self.local.client("sagemaker-runtime")
        return str(runtime.invoke_endpoint(EndpointName=name, Body=body, **more)["Body"].read().decode())

    def close(self) -> None:
        for name in self.names:
            self.sagemaker.delete_endpoint(EndpointName=name)
        for name in self.names:
            self.sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=name, WaiterConfig=FAST)


@pytest.fixture(scope="module")
def account(local: Emulator) -> Iterator[Account]:
    found = Account(local)
    yield found
    found.close()


def test_each_container_of_a_pipeline_gets_the_answer_of_the_one_before(
    account: Account, local: Emulator, image: str
) -> None:
    first = {"Image": image, "ContainerHostname": "scale", "Environment": {"ANSWER": "headers"}}
    name = account.endpoint("pipeline", first, {"Image": image})
    answer = account.ask(name, "a row", ContentType="text/csv", Accept="application/json")
    assert '"content-type": "text/plain"' in answer  # what the first container's answer is
    assert '"accept": "application/json"' in answer
    images = account.sagemaker.describe_endpoint(EndpointName=name)["ProductionVariants"][0]["DeployedImages"]
    assert [one["SpecifiedImage"] for one in images] == [image, image]
    with pytest.raises(ClientError, match=r"error \(400\) from scale with message .no such column"):
        account.ask(name, "status 400 no such column")
    group = f"/aws/sagemaker/Endpoints/{name}"
    streams = local.client("logs").describe_log_streams(logGroupName=group)["logStreams"]
    assert {one["logStreamName"].split("/")[2] for one in streams} == {"scale", "container-2"}


def test_an_error_of_the_last_container_names_it(account: Account, image: str) -> None:
    first = {"Image": image, "Environment": {"ANSWER": "status 500 out of order"}}
    name = account.endpoint("failing", first, {"Image": image})
    with pytest.raises(ClientError, match=r"error \(500\) from container-2 with message .out of order"):
        account.ask(name, "x")
    with pytest.raises(ClientError, match="takes no TargetModel"):
        account.ask(name, "x", TargetModel="a.tar.gz")


def test_models_of_one_container_are_loaded_when_asked_for_and_give_way(
    account: Account, local: Emulator, image: str
) -> None:
    local.put(**{f"many__{one}.tar.gz": artifact(who=one) for one in ("a", "b", "c")})
    part = {"Image": image, "Mode": "MultiModel", "ModelDataUrl": f"s3://{BUCKET}/many/"}
    name = account.endpoint("many", {**part, "Environment": {"MODELS": "2"}})
    for one in ("a", "b", "a", "c", "b"):
        told = account.ask(name, "x", TargetModel=f"{one}.tar.gz")
        assert told == f"{one} of {one}.tar.gz: x"
    wanted = [
        "loaded a",
        "loaded b",
        "loaded c",
        "loaded b",
    ]  # c took the place of b, which was unused longer

    def loads() -> list[str]:
        found = [one for one in local.logged(f"/aws/sagemaker/Endpoints/{name}") if one.startswith("loaded")]
        return found if len(found) >= len(wanted) else []

    assert wait(loads) == wanted
    with pytest.raises(ClientError, match=r"error \(400\) from primary with message .a of a.tar.gz: wrong"):
        account.ask(name, "wrong", TargetModel="a.tar.gz")
    with pytest.raises(ClientError, match=r"ValidationError.*Failed to download model data"):
        account.ask(name, "x", TargetModel="z.tar.gz")
    with pytest.raises(ClientError, match="needs TargetModel"):
        account.ask(name, "x")


@pytest.mark.parametrize(
    "parts, words",
    [
        ([{"Image": BASE_IMAGE}] * 2, "accept-bind-to-port=true Docker label"),
        (
            [{"Image": BASE_IMAGE, "Mode": "MultiModel", "ModelDataUrl": "s3://b/m/"}],
            "multi-models=true Docker",
        ),
        ([{"Image": BASE_IMAGE, "Mode": "MultiModel"}], "must have the models' prefix"),
        ([{"Image": BASE_IMAGE}] * 16, "less than or equal to 15"),
    ],
)
def test_images_that_do_not_offer_it_are_refused(local: Emulator, parts: list[Any], words: str) -> None:
    with pytest.raises(ClientError, match=words):
        local.unchecked("sagemaker").create_model(ModelName="refused", Containers=parts)
