"""`tune`: search for hyperparameters, and note the best job's model."""

from argparse import Namespace
from typing import Any

from deploy.calls import Aws
from deploy.settings import Refusal
from deploy.train import name_of, request_of


def run(aws: Aws, args: Namespace) -> str:
    """Start the tuning job or join it, wait, and note its best artifact."""
    settings = aws.settings["tune"]
    ranges = {kind: found for kind, found in aws.fact("ranges", "upload", {}).items() if found}
    metrics = [one["Name"] for one in aws.fact("metrics", "upload", [])]
    metric = settings["metric"] or next(iter(metrics), "")
    if not aws.dry_run and (not ranges or metric not in metrics):
        raise Refusal("src/model.py must give Hyperparameters bounds, and METRICS the metric to tune for")
    job = request_of(aws)
    tuned = {one["Name"] for found in ranges.values() for one in found}
    job["StaticHyperParameters"] = {k: v for k, v in job.pop("HyperParameters").items() if k not in tuned}
    job["OutputDataConfig"] = {"S3OutputPath": f"s3://{aws.bucket}/training"}
    config = {
        "Strategy": "Bayesian",
        "HyperParameterTuningJobObjective": {"Type": settings["goal"], "MetricName": metric or "unknown"},
        "ResourceLimits": {
            "MaxNumberOfTrainingJobs": settings["jobs"],
            "MaxParallelTrainingJobs": settings["parallel_jobs"],
        },
        "ParameterRanges": ranges,
    }
    name = f"{aws.settings['name'][:21]}-{name_of(aws, job, config)[-10:]}"  # at most 32 characters

    def describe() -> Any:
        return aws.ask("sagemaker", "describe_hyper_parameter_tuning_job", HyperParameterTuningJobName=name)

    aws.own_prefix(f"training/{name}-")
    if not describe():
        resources = job["ResourceConfig"]
        count = resources["InstanceCount"] * settings["parallel_jobs"]
        aws.confirm(resources["InstanceType"], count, f"Tuning with {settings['jobs']} jobs")
        aws.change(
            "sagemaker",
            "create_hyper_parameter_tuning_job",
            HyperParameterTuningJobName=name,
            HyperParameterTuningJobConfig=config,
            TrainingJobDefinition=job,
        )
    found = aws.wait(name, describe, "HyperParameterTuningJobStatus")
    if aws.dry_run:
        return f"would tune {', '.join(tuned) or 'what src/model.py bounds'}"
    if not (best := (found or {}).get("BestTrainingJob")):
        raise Refusal(f"{name} has no best job: {(found or {}).get('FailureReason', 'see its jobs')}")
    job = aws.ask("sagemaker", "describe_training_job", TrainingJobName=best["TrainingJobName"])
    aws.ledger.note(artifact=job["ModelArtifacts"]["S3ModelArtifacts"])
    values = " ".join(f"{key}={value}" for key, value in best["TunedHyperParameters"].items())
    reached = best["FinalHyperParameterTuningJobObjectiveMetric"]
    return f"tuned: {values} reached {reached['MetricName']}={reached['Value']:.4g}; 'make deploy' takes it"
