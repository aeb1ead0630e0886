"""What `deploy` adds to an endpoint: alarms of errors, of slow answers, and of no instance that is well."""

import hashlib
from typing import Any

from deploy.calls import Aws


def requests(aws: Aws) -> dict[str, dict[str, Any]]:
    """{name: request}. An endpoint that scales to zero or has no instances cannot be unwell."""
    settings, name, mode = aws.settings["alarms"], aws.settings["name"], aws.settings["hosting"]["mode"]
    service, host, more, less = (
        "AWS/SageMaker",
        "/aws/sagemaker/Endpoints",
        "GreaterThanOrEqualTo",
        "LessThanOrEqualTo",
    )
    p99 = {"ExtendedStatistic": "p99"}
    table = [
        ("5xx", service, "Invocation5XXErrors", {"Statistic": "Sum"}, more, settings["errors_5xx"]),
        ("slow", service, "ModelLatency", p99, more, settings["latency_ms"] * 1000),
        # Every instance reports each minute: no report is no instance.
        ("unhealthy", host, "CPUUtilization", {"Statistic": "SampleCount"}, less, 0),
    ]
    wanted = {"batch": 0, "realtime": 3}.get(mode, 2)
    return {
        f"{name}-{kind}": {
            "AlarmName": f"{name}-{kind}",
            "Namespace": namespace,
            "MetricName": metric,
            **statistic,
            "Threshold": threshold,
            "ComparisonOperator": f"{compare}Threshold",
            "TreatMissingData": "breaching" if compare == less else "notBreaching",
            "Dimensions": [{"Name": "EndpointName", "Value": name}, {"Name": "VariantName", "Value": "main"}],
            "Period": 300,
            "EvaluationPeriods": 1,
            "AlarmActions": [settings["sns_topic"]] if settings["sns_topic"] else [],
        }
        for kind, namespace, metric, statistic, compare, threshold in table[:wanted]
    }


def put(aws: Aws, wanted: dict[str, dict[str, Any]]) -> None:
    """Create the alarms, or change them where the settings have changed."""
    digest = hashlib.sha256(repr((wanted, aws.settings["tags"])).encode()).hexdigest()
    if aws.ledger.facts.get("alarms") != digest:
        for request in wanted.values():
            aws.change("cloudwatch", "put_metric_alarm", **request)
        aws.ledger.note(alarms=digest)
