"""`scale`: as many instances as the load needs, by invocations or by what waits in the queue."""

from argparse import Namespace
from typing import Any

from deploy.calls import Aws
from deploy.down import remove
from deploy.settings import Refusal


def run(aws: Aws, args: Namespace) -> str:
    """Register the endpoint's variant and give it a policy; both calls may be repeated."""
    name, scale, hosting = aws.settings["name"], aws.settings["scale"], aws.settings["hosting"]
    if hosting["mode"] not in ("realtime", "async"):
        raise Refusal(f"{hosting['mode']} has no instances to scale")
    if not aws.endpoint() and not aws.dry_run:
        raise Refusal(f"there is no endpoint {name} – 'make deploy' first")
    if aws.ledger.facts.get("scale") == [scale, hosting["mode"]]:
        return f"nothing to do: {name} scales"
    aws.confirm(hosting["instance_type"], scale["max_instances"], f"At most, the endpoint {name}")
    _start(aws)
    return f"{name} has {scale['min_instances']} to {scale['max_instances']} instances"


def is_on(aws: Aws) -> bool:
    return f"scalable target endpoint/{aws.settings['name']}/variant/main" in aws.ledger.entries


def stop(aws: Aws) -> None:
    """Remove target and policies until `restore`, which the ledger keeps in mind."""
    aws.ledger.note(scale=None, scale_stopped=True)
    for what, entry in list(aws.ledger.entries.items()):
        if what.startswith(("scalable target", "scaling policy")):
            remove(aws, *entry["undo"])
            aws.ledger.forget(what)


def restore(aws: Aws) -> None:
    """Scale again what `stop` stopped."""
    if aws.ledger.facts.get("scale_stopped"):
        _start(aws)


def _start(aws: Aws) -> None:
    name, scale, hosting = aws.settings["name"], aws.settings["scale"], aws.settings["hosting"]
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{name}/variant/main",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    bounds = {"MinCapacity": scale["min_instances"], "MaxCapacity": scale["max_instances"]}
    aws.change("application-autoscaling", "register_scalable_target", **target, **bounds)
    policy: dict[str, Any] = {"TargetValue": float(scale["target"])}
    if hosting["mode"] == "realtime":
        policy["PredefinedMetricSpecification"] = {
            "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
        }
    else:
        policy["CustomizedMetricSpecification"] = {
            "MetricName": "ApproximateBacklogSizePerInstance",
            "Namespace": "AWS/SageMaker",
            "Dimensions": [{"Name": "EndpointName", "Value": name}],
            "Statistic": "Average",
        }
    _put(aws, target, "load", "TargetTrackingScaling", TargetTrackingScalingPolicyConfiguration=policy)
    if hosting["mode"] == "async" and scale["min_instances"] == 0:
        _from_zero(aws, name, target)
    aws.ledger.note(scale=[scale, hosting["mode"]], scale_stopped=False)


def _put(aws: Aws, target: dict[str, str], name: str, kind: str, **policy: Any) -> Any:
    request = {"PolicyName": name, "PolicyType": kind, **target, **policy}
    return aws.change("application-autoscaling", "put_scaling_policy", **request)


def _from_zero(aws: Aws, name: str, target: dict[str, str]) -> None:
    """Without instances nothing measures the queue per instance: an alarm brings the first one."""
    step = {"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}
    steps = {
        "AdjustmentType": "ChangeInCapacity",
        "StepAdjustments": [step],
        "MetricAggregationType": "Average",
    }
    policy = _put(
        aws, target, "from-zero", "StepScaling", StepScalingPolicyConfiguration={**steps, "Cooldown": 300}
    )
    aws.change(
        "cloudwatch",
        "put_metric_alarm",
        AlarmName=f"{name}-waiting",
        Namespace="AWS/SageMaker",
        MetricName="HasBacklogWithoutCapacity",
        Statistic="Average",
        Dimensions=[{"Name": "EndpointName", "Value": name}],
        Period=60,
        EvaluationPeriods=2,
        Threshold=1,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        TreatMissingData="missing",
        AlarmActions=[policy["PolicyARN"]] if policy else [],
    )
