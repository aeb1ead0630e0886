"""Models, endpoints and their scaling in a stack."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from botocore.exceptions import ClientError

from sagegen.local.resources.kinds import Calls, Kind, Made, Properties, ask, without
from sagegen.local.wire import Fault

ENDPOINT_PAUSE = 0.5  # seconds


def _sagemaker(
    word: str,
) -> tuple[Callable[[Calls, Properties], Made], Callable[[Calls, Made, Properties], None]]:
    name = f"{word}Name"

    def make(calls: Calls, given: Properties) -> Made:
        answer = ask(calls, "sagemaker", f"Create{word}", **given)
        return Made(answer[f"{word}Arn"], {name: given[name]})

    def remove(calls: Calls, made: Made, given: Properties) -> None:
        ask(calls, "sagemaker", f"Delete{word}", **{name: made.attributes[name]})

    return make, remove


def _settled(calls: Calls, name: str) -> dict[str, Any]:
    """An endpoint that does not change any more."""
    sagemaker = calls.client("sagemaker")
    while (found := sagemaker.describe_endpoint(EndpointName=name))["EndpointStatus"] in (
        "Creating",
        "Updating",
        "SystemUpdating",
        "RollingBack",
        "Deleting",
    ):
        if calls.pause(ENDPOINT_PAUSE):
            raise Fault("Interrupted", "the emulator was ended")
    return found  # type: ignore[no-any-return]


def _await_endpoint(calls: Calls, made: Made, old: Properties, given: Properties) -> None:
    name = made.attributes["EndpointName"]
    if (found := _settled(calls, name))["EndpointStatus"] != "InService":
        text = f"Endpoint {name} is {found['EndpointStatus']}: {found.get('FailureReason')}"
        raise Fault("NotStabilized", text)


def _change_endpoint(calls: Calls, made: Made, old: Properties, given: Properties) -> Made:
    name, wanted = made.attributes["EndpointName"], given["EndpointConfigName"].rpartition("/")[2]
    ask(calls, "sagemaker", "UpdateEndpoint", **without({**given, "EndpointName": name}, "Tags"))
    found = _settled(calls, name)
    if found["EndpointStatus"] != "InService" or found["EndpointConfigName"].lower() != wanted.lower():
        raise Fault("NotStabilized", f"Endpoint {name} was not updated: {found.get('FailureReason')}")
    return made


def _remove_endpoint(calls: Calls, made: Made, given: Properties) -> None:
    name = made.attributes["EndpointName"]
    _settled(calls, name)
    _ENDPOINT[1](calls, made, given)
    with suppress(ClientError):
        _settled(calls, name)


_ENDPOINT = _sagemaker("Endpoint")
MODEL = Kind(
    *_sagemaker("Model"),
    frozenset(("ModelName", "ExecutionRoleArn", "PrimaryContainer", "Containers", "EnableNetworkIsolation",
               "InferenceExecutionConfig", "VpcConfig", "Tags")),
    name="ModelName",
)  # fmt: skip
ENDPOINT_CONFIG = Kind(
    *_sagemaker("EndpointConfig"),
    frozenset(("EndpointConfigName", "ProductionVariants", "AsyncInferenceConfig", "DataCaptureConfig",
               "ExplainerConfig", "ShadowProductionVariants", "KmsKeyId", "Tags")),
    name="EndpointConfigName",
)  # fmt: skip
ENDPOINT = Kind(
    _ENDPOINT[0],
    _remove_endpoint,
    frozenset(("EndpointName", "EndpointConfigName", "DeploymentConfig", "RetainAllVariantProperties",
               "ExcludeRetainedVariantProperties", "RetainDeploymentConfig", "Tags")),
    _change_endpoint,
    frozenset(("EndpointName", "Tags")),
    "EndpointName",
    _await_endpoint,
)  # fmt: skip


def _make_target(calls: Calls, given: Properties) -> Made:
    ask(calls, "application-autoscaling", "RegisterScalableTarget", **given)
    key = f"{given['ResourceId']}|{given['ScalableDimension']}|{given['ServiceNamespace']}"
    return Made(key)


def _remove_target(calls: Calls, made: Made, given: Properties) -> None:
    resource, dimension, space = made.physical.split("|")
    ask(
        calls,
        "application-autoscaling",
        "DeregisterScalableTarget",
        ServiceNamespace=space,
        ResourceId=resource,
        ScalableDimension=dimension,
    )


SCALABLE_TARGET = Kind(
    _make_target,
    _remove_target,
    frozenset(
        ("ServiceNamespace", "ResourceId", "ScalableDimension", "MinCapacity", "MaxCapacity", "RoleARN")
    ),
    lambda calls, made, old, given: _make_target(calls, given),
    frozenset(("ServiceNamespace", "ResourceId", "ScalableDimension")),
)


def _make_scaling(calls: Calls, given: Properties) -> Made:
    plain = without(given, "ScalingTargetId")
    if target := given.get("ScalingTargetId"):
        resource, dimension, space = target.split("|")
        plain |= {"ResourceId": resource, "ScalableDimension": dimension, "ServiceNamespace": space}
    arn = ask(calls, "application-autoscaling", "PutScalingPolicy", **plain)["PolicyARN"]
    return Made(
        arn,
        {
            "PolicyName": given["PolicyName"],
            "Arn": arn,
            **{name: plain[name] for name in ("ResourceId", "ScalableDimension", "ServiceNamespace")},
        },
    )


def _remove_scaling(calls: Calls, made: Made, given: Properties) -> None:
    ask(calls, "application-autoscaling", "DeleteScalingPolicy", **without(made.attributes, "Arn"))


SCALING_POLICY = Kind(
    _make_scaling,
    _remove_scaling,
    frozenset(("PolicyName", "PolicyType", "ScalingTargetId", "ResourceId", "ScalableDimension",
               "ServiceNamespace", "TargetTrackingScalingPolicyConfiguration")),
    lambda calls, made, old, given: _make_scaling(calls, given),
    frozenset(("PolicyName", "ScalingTargetId", "ResourceId", "ScalableDimension", "ServiceNamespace")),
)  # fmt: skip
