"""What `deploy` adds to an endpoint: alarms of errors, of slow answers, and of no instance that is well."""

import hashlib
from typing import Any

from deploy.calls import Aws


def requests(aws: Aws) -> dict[str, dict[str, Any]]:
    """{name: request}. An endpoint that scales to zero or has no instances cannot be unwell."""
    settings, name, mode = aws.settings["alarms"], aws.settings["name"], aws.settings["hosting"]["mode"]
    variant = [{"Name": "EndpointName", "Value": name}, {"Name": "VariantName", "Value": "main"}]
    common = {
        "Dimensions": variant,
        "Period": 300,
        "EvaluationPeriods": 1,
        "AlarmActions": [settings["sns_topic"]] if settings["sns_topic"] else [],
    }
    found: dict[str, dict[str, Any]] = {}
    if mode != "batch":
        found["5xx"] = {"Namespace": "AWS/SageMaker", "MetricName": "Invocation5XXErrors", "Statistic": "Sum",
                        "Threshold": settings["errors_5xx"]}  # fmt: skip
        found["slow"] = {"Namespace": "AWS/SageMaker", "MetricName": "ModelLatency", "ExtendedStatistic": "p99",
                         "Threshold": settings["latency_ms"] * 1000}  # fmt: skip
    if mode == "realtime":  # its instances report each minute
        found["unhealthy"] = {"Namespace": "/aws/sagemaker/Endpoints", "MetricName": "CPUUtilization",
                              "Statistic": "SampleCount", "Threshold": 0}  # fmt: skip
    for kind, request in found.items():
        low = kind == "unhealthy"
        request["ComparisonOperator"] = "LessThanOrEqualToThreshold" if low else "GreaterThanOrEqualToThreshold"
        request["TreatMissingData"] = "breaching" if low else "notBreaching"
        request |= {"AlarmName": f"{name}-{kind}", **common}
    return {request["AlarmName"]: request for request in found.values()}


def put(aws: Aws, wanted: dict[str, dict[str, Any]]) -> None:
    """Create the alarms, or change them where the settings have changed."""
    digest = hashlib.sha256(repr((wanted, aws.settings["tags"])).encode()).hexdigest()
    if aws.ledger.facts.get("alarms") != digest:
        for name, request in wanted.items():
            aws.change(f"alarm {name}", "cloudwatch", "put_metric_alarm", ("delete_alarms", {"AlarmNames": [name]}), **request)
        aws.ledger.note(alarms=digest)
