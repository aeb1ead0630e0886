"""`train`: one training job for each input; the same input trains once."""

import hashlib
import json
from argparse import Namespace
from typing import Any

from deploy.calls import Aws
from deploy.logs import tail
from deploy.settings import ROOT, Refusal


def run(aws: Aws, args: Namespace) -> str:
    """Start the job or join it, wait, and note its artifact."""
    request = request_of(aws)
    name = name_of(aws, request)
    found = _describe(aws, name)
    first, attempt = name, 1
    while args.retry and found and found["TrainingJobStatus"] in ("Failed", "Stopped"):
        attempt += 1
        name = f"{first}-{attempt}"
        found = _describe(aws, name)
    folder = aws.own_prefix(f"training/{name}/")
    if not found:
        resources = request["ResourceConfig"]
        aws.confirm(resources["InstanceType"], resources["InstanceCount"], "The training job")
        aws.change(
            "sagemaker",
            "create_training_job",
            TrainingJobName=name,
            OutputDataConfig={"S3OutputPath": f"s3://{aws.bucket}/training"},
            CheckpointConfig={"S3Uri": f"{folder}checkpoints/"},
            **request,
        )
    found = aws.wait(name, lambda: _describe(aws, name), "TrainingJobStatus")
    if found and found["TrainingJobStatus"] != "Completed":
        reason = found.get("FailureReason", f"it is {found['TrainingJobStatus']}")
        for line in tail(aws, "/aws/sagemaker/TrainingJobs", name, 10):
            print(f"  {line}")
        way = "change the model, the data or the hyperparameters, or 'make train-job ARGS=--retry'"
        raise Refusal(f"the job {name} failed: {' '.join(reason.split())} – {way}")
    found = found or {"ModelArtifacts": {"S3ModelArtifacts": f"{folder}output/model.tar.gz"}}
    metrics = " ".join(f"{m['MetricName']}={m['Value']:.4g}" for m in found.get("FinalMetricDataList", ()))
    aws.ledger.note(artifact=found["ModelArtifacts"]["S3ModelArtifacts"])
    return f"trained: {name} {metrics}".rstrip()


def request_of(aws: Aws) -> dict[str, Any]:
    """What a training job and the jobs of a tuning job have in common."""
    settings, file = aws.settings["train"], ROOT / aws.settings["data"]["hyperparameters"]
    try:
        hyperparameters = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except ValueError as error:
        raise Refusal(f"{file.name} is not JSON: {error}") from None
    channels = aws.fact("data", "upload", {})
    request: dict[str, Any] = {
        "RoleArn": aws.role,
        "AlgorithmSpecification": {
            "TrainingImage": aws.fact("image", "upload"),
            "TrainingInputMode": "File",
            "MetricDefinitions": aws.fact("metrics", "upload", []),
        },
        "HyperParameters": hyperparameters,
        "InputDataConfig": [
            {"ChannelName": name, "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}}
            for name, uri in channels.items()
        ],
        "ResourceConfig": {
            "InstanceType": settings["instance_type"],
            "InstanceCount": settings["instance_count"],
            "VolumeSizeInGB": settings["volume_gb"],
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": settings["max_seconds"]},
    }
    if not channels:
        del request["InputDataConfig"]
    if settings["spot"]:
        request["EnableManagedSpotTraining"] = True
        request["StoppingCondition"]["MaxWaitTimeInSeconds"] = 2 * settings["max_seconds"]
    return request


def name_of(aws: Aws, *content: Any) -> str:
    """The name of what has this content: `my-model-0123456789`, at most 63 characters with an attempt."""
    text = json.dumps([content, aws.settings["security"]], sort_keys=True)
    return f"{aws.settings['name'][:44]}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def _describe(aws: Aws, name: str) -> Any:
    return aws.ask("sagemaker", "describe_training_job", TrainingJobName=name)
