"""Tuning jobs, as boto3's users see them."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError
from emulators import ENDED, Emulator, request, wait


def definition(image: str, **more: Any) -> dict[str, Any]:
    """A job whose objective is its hyperparameter `rate`."""
    metric = {"Name": "score", "Regex": more.pop("regex", "rate=([0-9.]+)")}
    given = request(image, "x", algorithm={"MetricDefinitions": [metric]})
    del given["TrainingJobName"]
    return {**given, **more}


def tuned(local: Emulator, name: str, job: dict[str, Any], **config: Any) -> dict[str, Any]:
    sagemaker = local.client("sagemaker")
    goal = {"Type": "Maximize", "MetricName": "score"}
    rates = [{"Name": "rate", "Values": ["0.25", "0.75", "0.5"]}]
    usual = {
        "Strategy": "Grid",
        "HyperParameterTuningJobObjective": goal,
        "ResourceLimits": {"MaxParallelTrainingJobs": 2},
        "ParameterRanges": {"CategoricalParameterRanges": rates},
    }
    sagemaker.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name,
        HyperParameterTuningJobConfig={**usual, **config},
        TrainingJobDefinition=job,
    )

    def ask() -> Any:
        found = sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
        return found if found["HyperParameterTuningJobStatus"] in ENDED else None

    found: dict[str, Any] = wait(ask)
    return found


def test_the_best_job_is_the_best(local: Emulator, image: str) -> None:
    found = tuned(local, "grid", definition(image, StaticHyperParameters={"fixed": "1"}))
    assert found["HyperParameterTuningJobStatus"] == "Completed", found
    best = found["BestTrainingJob"]
    assert best["TunedHyperParameters"] == {"rate": "0.75"}
    assert best["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == 0.75
    assert found["TrainingJobStatusCounters"]["Completed"] == 3
    jobs = local.client("sagemaker").list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName="grid"
    )["TrainingJobSummaries"]
    assert sorted(job["TunedHyperParameters"]["rate"] for job in jobs) == ["0.25", "0.5", "0.75"]
    one = local.client("sagemaker").describe_training_job(TrainingJobName=best["TrainingJobName"])
    given = one["HyperParameters"]
    assert given == {"fixed": "1", "rate": "0.75", "_tuning_objective_metric": "score"}
    assert one["TuningJobArn"] == found["HyperParameterTuningJobArn"]


def test_random_values_lie_in_their_ranges(local: Emulator, image: str) -> None:
    ranges = {
        "ContinuousParameterRanges": [{"Name": "rate", "MinValue": "0.001", "MaxValue": "1"}],
        "IntegerParameterRanges": [{"Name": "depth", "MinValue": "2", "MaxValue": "3"}],
    }
    ranges["ContinuousParameterRanges"][0]["ScalingType"] = "Logarithmic"
    limits = {"MaxParallelTrainingJobs": 2, "MaxNumberOfTrainingJobs": 2}
    config = {"Strategy": "Random", "RandomSeed": 7, "ParameterRanges": ranges, "ResourceLimits": limits}
    found = tuned(local, "chance", definition(image), **config)
    values = found["BestTrainingJob"]["TunedHyperParameters"]
    assert 0.001 <= float(values["rate"]) <= 1
    assert values["depth"] in ("2", "3")


def test_a_tuning_job_without_an_objective_in_any_log_fails(local: Emulator, image: str) -> None:
    rates = {"CategoricalParameterRanges": [{"Name": "rate", "Values": ["0.5"]}]}
    found = tuned(local, "silent", definition(image, regex="nothing=([0-9]+)"), ParameterRanges=rates)
    assert found["HyperParameterTuningJobStatus"] == "Failed"
    assert found["FailureReason"].startswith("No objective metrics found after running 1 training jobs.")


def test_an_objective_that_is_no_metric_is_refused(local: Emulator, image: str) -> None:
    goal = {"Type": "Maximize", "MetricName": "other"}
    with pytest.raises(ClientError, match="The objective other is not among the MetricDefinitions"):
        tuned(local, "other", definition(image), HyperParameterTuningJobObjective=goal)
