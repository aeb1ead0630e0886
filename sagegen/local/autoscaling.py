"""Application Auto Scaling of endpoints: by invocations per instance."""

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
        self._find(given)
        if given.get("ScheduledActions") or given.get("SuspendedState"):
            raise not_emulated("SuspendedState of a scalable target")
        record = {**self.targets.get(given["ResourceId"], {}), **given}
        least, most = record.get("MinCapacity"), record.get("MaxCapacity")
        if least is None or most is None or least > most:
            raise invalid("MinCapacity and MaxCapacity must be given, and MinCapacity must not be greater")
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
        config = given.get("TargetTrackingScalingPolicyConfiguration")
        if given.get("PolicyType") != "TargetTrackingScaling" or config is None:
            raise not_emulated("scaling policies other than TargetTrackingScaling")
        if config.get("PredefinedMetricSpecification", {}).get("PredefinedMetricType") != METRIC:
            raise not_emulated(f"metrics other than {METRIC}")
        key = given["ResourceId"], given["PolicyName"]
        arn = f"arn:aws:autoscaling:{self.cloud.region}:{ACCOUNT}:scalingPolicy:{uuid.uuid4()}"
        fresh = key not in self.policies
        self.policies[key] = {"PolicyARN": arn, "CreationTime": now(), "Alarms": [], **given}
        if fresh:
            self.cloud.begin(self._act, key)
        return {"PolicyARN": self.policies[key]["PolicyARN"], "Alarms": []}

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
            config = policy["TargetTrackingScalingPolicyConfiguration"]
            asked = variant.asked_since(time.monotonic() - MINUTE)
            wanted = math.ceil(asked / config["TargetValue"])
            wanted = min(target["MaxCapacity"], max(target["MinCapacity"], 1, wanted))
            grows = wanted > variant.count
            if wanted == variant.count or (not grows and config.get("DisableScaleIn")):
                continue
            cooldown = config.get("ScaleOutCooldown" if grows else "ScaleInCooldown", COOLDOWN)
            if time.monotonic() - last < cooldown:
                continue
            self._scale(endpoint, variant, wanted, f"{asked} invocations in the last minute")
            last = time.monotonic()

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
