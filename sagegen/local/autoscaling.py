"""Application Auto Scaling of endpoints: by invocations per instance, or by the backlog, and then to zero."""

from __future__ import annotations

import math
import re
import time
import uuid
from collections.abc import Mapping
from typing import Any

from sagegen.local.cloud import ACCOUNT, now
from sagegen.local.hosting import Endpoint, Hosting, Variant
from sagegen.local.wire import Fault, Handler, invalid, not_emulated

DIMENSION = "sagemaker:variant:DesiredInstanceCount"
METRIC = "SageMakerVariantInvocationsPerInstance"
#: Of an asynchronous endpoint, in the namespace AWS/SageMaker (A-07).
BACKLOG, STRANDED = "ApproximateBacklogSizePerInstance", "HasBacklogWithoutCapacity"
RESOURCE = re.compile(r"endpoint/([^/]+)/variant/([^/]+)")
LOOK_SECONDS, MINUTE = 1.0, 60.0
COOLDOWN = 300


class Autoscaling:
    """The operations on scalable targets and their policies."""

    def __init__(self, hosting: Hosting) -> None:
        self.hosting, self.cloud = hosting, hosting.cloud
        self.targets: dict[str, dict[str, Any]] = {}
        self.policies: dict[tuple[str, str], dict[str, Any]] = {}
        self.activities: list[dict[str, Any]] = []
        self.handlers: dict[str, Handler] = {
            "RegisterScalableTarget": self.register,
            "DeregisterScalableTarget": self.deregister,
            "DescribeScalableTargets": lambda given: {
                "ScalableTargets": self._of(self.targets.values(), given, given.get("ResourceIds"))
            },
            "PutScalingPolicy": self.put,
            "DeleteScalingPolicy": self.delete,
            "DescribeScalingPolicies": lambda given: {
                "ScalingPolicies": self._of(
                    self.policies.values(), given, [given["ResourceId"]] if "ResourceId" in given else None
                )
            },
            "DescribeScalingActivities": lambda given: {
                "ScalingActivities": self._of(
                    reversed(self.activities), given, [given["ResourceId"]] if "ResourceId" in given else None
                )
            },
        }

    @staticmethod
    def _of(records: Any, given: Mapping[str, Any], resources: list[str] | None) -> list[dict[str, Any]]:
        space = given["ServiceNamespace"]
        return [
            one
            for one in records
            if one["ServiceNamespace"] == space and (not resources or one["ResourceId"] in resources)
        ]

    def _find(self, given: Mapping[str, Any]) -> tuple[Endpoint, Variant]:
        """The variant that a request names. Raises Fault where there is none."""
        if given["ServiceNamespace"] != "sagemaker" or given["ScalableDimension"] != DIMENSION:
            raise not_emulated(f"autoscaling of {given['ServiceNamespace']} by {given['ScalableDimension']}")
        named = RESOURCE.fullmatch(given["ResourceId"])
        if named and named[1] in self.hosting.endpoints:
            endpoint: Endpoint = self.hosting.endpoints.get(named[1])
            for variant in endpoint.variants:
                if variant.name == named[2] and not variant.serverless:
                    return endpoint, variant
        raise invalid(f"The resource {given['ResourceId']} is not an instance-based variant in service")

    def register(self, given: dict[str, Any]) -> dict[str, Any]:
        """Keep the bounds of a variant's instances."""
        endpoint, _ = self._find(given)
        if given.get("ScheduledActions") or given.get("SuspendedState"):
            raise not_emulated("SuspendedState of a scalable target")
        record = {**self.targets.get(given["ResourceId"], {}), **given}
        least, most = record.get("MinCapacity"), record.get("MaxCapacity")
        if least is None or most is None or least > most:
            raise invalid("MinCapacity and MaxCapacity must be given, and MinCapacity must not be greater")
        if least == 0 and not endpoint.is_asynchronous:
            raise invalid("MinCapacity must be at least 1: the endpoint is not asynchronous (A-07)")
        role = f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com"
        arn = f"arn:aws:application-autoscaling:{self.cloud.region}:{ACCOUNT}:scalable-target/{uuid.uuid4()}"
        usual = {"RoleARN": f"{role}/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"}
        kept = {"CreationTime": now(), "ScalableTargetARN": arn, **usual, **record}
        self.targets[given["ResourceId"]] = kept
        return {"ScalableTargetARN": kept["ScalableTargetARN"]}

    def deregister(self, given: dict[str, Any]) -> None:
        """Forget a target and its policies."""
        self._known(given["ResourceId"])
        del self.targets[given["ResourceId"]]
        for key in [key for key in self.policies if key[0] == given["ResourceId"]]:
            del self.policies[key]

    def _known(self, resource: str) -> dict[str, Any]:
        if resource not in self.targets:
            text = f"No scalable target registered for service namespace: sagemaker, resource ID: {resource}"
            raise Fault("ObjectNotFoundException", f"{text}, scalable dimension: {DIMENSION}")
        return self.targets[resource]

    def put(self, given: dict[str, Any]) -> dict[str, Any]:
        """Keep a policy, and act on it from now on."""
        self._known(given["ResourceId"])
        endpoint, _ = self._find(given)
        if (kind := given.get("PolicyType")) == "StepScaling":
            self._check_steps(given.get("StepScalingPolicyConfiguration", {}), endpoint)
        elif kind == "TargetTrackingScaling":
            self._check_target(given.get("TargetTrackingScalingPolicyConfiguration", {}), endpoint)
        else:
            raise not_emulated(f"scaling policies of type {kind}")
        key = given["ResourceId"], given["PolicyName"]
        arn = f"arn:aws:autoscaling:{self.cloud.region}:{ACCOUNT}:scalingPolicy:{uuid.uuid4()}"
        fresh = key not in self.policies
        self.policies[key] = {"PolicyARN": arn, "CreationTime": now(), "Alarms": [], **given}
        if fresh:
            self.cloud.begin(self._act, key)
        return {"PolicyARN": self.policies[key]["PolicyARN"], "Alarms": []}

    @staticmethod
    def _check_target(config: Mapping[str, Any], endpoint: Endpoint) -> None:
        if config.get("PredefinedMetricSpecification", {}).get("PredefinedMetricType") == METRIC:
            return
        own = config.get("CustomizedMetricSpecification", {})
        if own.get("MetricName") != BACKLOG or not endpoint.is_asynchronous:
            raise not_emulated(f"metrics other than {METRIC}, and {BACKLOG} of asynchronous endpoints")

    @staticmethod
    def _check_steps(config: Mapping[str, Any], endpoint: Endpoint) -> None:
        kind, steps = config.get("AdjustmentType"), config.get("StepAdjustments", ())
        if kind != "ChangeInCapacity" or len(steps) != 1 or not endpoint.is_asynchronous:
            raise not_emulated("step scaling but by one step of ChangeInCapacity, of asynchronous endpoints")

    def delete(self, given: dict[str, Any]) -> None:
        """Forget a policy."""
        key = given["ResourceId"], given["PolicyName"]
        if key not in self.policies:
            raise Fault("ObjectNotFoundException", f"No scaling policy found with name {key[1]}")
        del self.policies[key]

    def _act(self, key: tuple[str, str]) -> None:
        """Follow the last minute's invocations. How long AWS waits is simplified to the cooldowns."""
        last = -math.inf
        while key in self.policies and not self.cloud.pause(LOOK_SECONDS):
            policy, target = self.policies.get(key), self.targets.get(key[0])
            if policy is None or target is None:
                return
            try:
                endpoint, variant = self._find(policy)
            except Fault:
                continue
            if endpoint.record["EndpointStatus"] != "InService":
                continue
            wanted, cause = self._wanted(policy, endpoint, variant)
            wanted = min(target["MaxCapacity"], max(target["MinCapacity"], wanted))
            grows = wanted > variant.count
            config = policy.get("TargetTrackingScalingPolicyConfiguration", {})
            if wanted == variant.count or (not grows and config.get("DisableScaleIn")):
                continue
            cooldown = config.get("ScaleOutCooldown" if grows else "ScaleInCooldown", COOLDOWN)
            if "StepScalingPolicyConfiguration" in policy:
                cooldown = policy["StepScalingPolicyConfiguration"].get("Cooldown", COOLDOWN)
            if time.monotonic() - last < cooldown:
                continue
            self._scale(endpoint, variant, wanted, cause)
            last = time.monotonic()

    def _wanted(self, policy: Mapping[str, Any], endpoint: Endpoint, variant: Variant) -> tuple[int, str]:
        """How many instances a policy asks for, and why."""
        if steps := policy.get("StepScalingPolicyConfiguration"):
            more = steps["StepAdjustments"][0]["ScalingAdjustment"]
            stranded = endpoint.backlog > 0 and variant.count == 0 and self._is_alarmed(policy, endpoint)
            return variant.count + (more if stranded else 0), f"{STRANDED} of {endpoint.name}"
        config = policy["TargetTrackingScalingPolicyConfiguration"]
        target = config["TargetValue"]
        if "CustomizedMetricSpecification" in config:
            backlog = endpoint.backlog
            # Without an instance there is none to divide by: the backlog itself must exceed the target.
            enough = variant.count > 0 or backlog > target
            return math.ceil(backlog / target) if enough else 0, f"a backlog of {backlog}"
        asked = variant.asked_since(time.monotonic() - MINUTE)
        return max(1, math.ceil(asked / target)), f"{asked} invocations in the last minute"

    def _is_alarmed(self, policy: Mapping[str, Any], endpoint: Endpoint) -> bool:
        """Whether an alarm of this endpoint's HasBacklogWithoutCapacity has the policy as its action."""
        alarms = self.cloud.client("cloudwatch").describe_alarms(ActionPrefix=policy["PolicyARN"])
        return any(
            alarm.get("MetricName") == STRANDED
            and {"Name": "EndpointName", "Value": endpoint.name} in alarm.get("Dimensions", ())
            for alarm in alarms["MetricAlarms"]
        )

    def _scale(self, endpoint: Endpoint, variant: Variant, wanted: int, cause: str) -> None:
        begun, before = now(), variant.count
        endpoint.record["EndpointStatus"] = "Updating"
        endpoint.scale({variant.name: {"DesiredInstanceCount": wanted}})
        self.activities.append(
            {
                "ActivityId": str(uuid.uuid4()),
                "ServiceNamespace": "sagemaker",
                "ResourceId": f"endpoint/{endpoint.name}/variant/{variant.name}",
                "ScalableDimension": DIMENSION,
                "Description": f"Setting desired instance count to {wanted}.",
                "Cause": f"{cause}; {before} instances before",
                "StartTime": begun,
                "EndTime": now(),
                "StatusCode": "Successful" if len(variant.servers) == wanted else "Failed",
            }
        )
