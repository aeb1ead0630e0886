"""Tuning jobs: training jobs over ranges of hyperparameters, and the best of them."""

from __future__ import annotations

import itertools
import math
import random
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from sagegen.local.cloud import Cloud, Records, listed, now
from sagegen.local.identities import assume
from sagegen.local.training import Training, TrainingJob, check
from sagegen.local.wire import Fault, Handler, invalid, not_emulated

OBJECTIVE = "_tuning_objective_metric"  # T-23
KINDS = ("IntegerParameterRanges", "ContinuousParameterRanges", "CategoricalParameterRanges")
#: Of a tuning job's definition, what becomes a training job's.
PASSED = (
    "AlgorithmSpecification",
    "CheckpointConfig",
    "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining",
    "EnableNetworkIsolation",
    "Environment",
    "InputDataConfig",
    "OutputDataConfig",
    "ResourceConfig",
    "RetryStrategy",
    "RoleArn",
    "StoppingCondition",
    "VpcConfig",
)


class TuningJob:
    """One tuning job, and its training jobs."""

    def __init__(self, training: Training, given: Mapping[str, Any]) -> None:
        self.training, self.cloud = training, training.cloud
        self.name = str(given["HyperParameterTuningJobName"])
        self._config: Mapping[str, Any] = given["HyperParameterTuningJobConfig"]
        self._definition: Mapping[str, Any] = given["TrainingJobDefinition"]
        self._goal: Mapping[str, Any] = self._config["HyperParameterTuningJobObjective"]
        self._stop = threading.Event()
        self.jobs: list[tuple[TrainingJob, dict[str, str]]] = []
        self.record: dict[str, Any] = {
            **given,
            "HyperParameterTuningJobArn": self.cloud.arn("hyper-parameter-tuning-job", self.name.lower()),
            "HyperParameterTuningJobStatus": "InProgress",
            "CreationTime": now(),
            "LastModifiedTime": now(),
        }

    def stop(self) -> None:
        """Stop its training jobs, and start no more."""
        if self.record["HyperParameterTuningJobStatus"] != "InProgress":
            raise invalid("The request was rejected because the tuning job has ended.")
        self.record["HyperParameterTuningJobStatus"] = "Stopping"
        self._stop.set()
        for job, _ in self.jobs:
            if job.record["TrainingJobStatus"] == "InProgress":
                job.stop()

    def run(self) -> None:
        """Every training job, a few at a time."""
        wide = self._config["ResourceLimits"]["MaxParallelTrainingJobs"]
        reason = ""
        try:
            for number, values in enumerate(self._values(), 1):
                while sum(not job.ended.is_set() for job, _ in self.jobs) >= wide:
                    if self.cloud.pause(0.1):
                        return
                if self._stop.is_set():
                    break
                self._begin(number, values)
            for job, _ in self.jobs:
                job.ended.wait()
        except Fault as fault:
            reason = f"{fault.code}: {fault.message}"
        best = self.best()
        if not reason and not self._stop.is_set() and best is None:
            reason = (
                f"No objective metrics found after running {len(self.jobs)} training jobs. Please ensure that"
                " the custom algorithm is emitting the objective metric as defined by the regular expression"
                " provided."
            )
        status = "Failed" if reason else "Stopped" if self._stop.is_set() else "Completed"
        ended = {"HyperParameterTuningEndTime": now(), "LastModifiedTime": now()}
        more = {"FailureReason": reason} if reason else {}
        self.record.update(ended, **more, HyperParameterTuningJobStatus=status)

    def _begin(self, number: int, values: dict[str, str]) -> None:
        fixed = self._definition.get("StaticHyperParameters", {})
        name = f"{self.name}-{number:03d}-{random.Random(f'{self.name}{number}').getrandbits(32):08x}"
        job = self.training.begin(
            {
                "TrainingJobName": name,
                "HyperParameters": {**fixed, **values, OBJECTIVE: self._goal["MetricName"]},
                "TuningJobArn": self.record["HyperParameterTuningJobArn"],
                **{key: self._definition[key] for key in PASSED if key in self._definition},
            }
        )
        self.jobs.append((job, values))

    def _values(self) -> Iterator[dict[str, str]]:
        ranges = self._config.get("ParameterRanges", {})
        most = self._config["ResourceLimits"].get("MaxNumberOfTrainingJobs")
        if self._config["Strategy"] == "Grid":
            names = [one["Name"] for one in ranges["CategoricalParameterRanges"]]
            for values in itertools.product(*(one["Values"] for one in ranges["CategoricalParameterRanges"])):
                yield dict(zip(names, values, strict=True))
            return
        chance = random.Random(self._config.get("RandomSeed", self.name))
        for _ in range(most or 1):
            yield {one["Name"]: _sample(kind, one, chance) for kind in KINDS for one in ranges.get(kind, ())}

    def _value(self, job: TrainingJob) -> float | None:
        for metric in job.record.get("FinalMetricDataList", ()):
            if metric["MetricName"] == self._goal["MetricName"]:
                return float(metric["Value"])
        return None

    def best(self) -> tuple[TrainingJob, dict[str, str]] | None:
        """The completed job with the best objective, the first of equals."""
        sign = 1 if self._goal["Type"] == "Maximize" else -1
        able = [
            (sign * value, one)
            for one in self.jobs
            if one[0].record["TrainingJobStatus"] == "Completed"
            and (value := self._value(one[0])) is not None
        ]
        return max(able, key=lambda pair: pair[0])[1] if able else None

    def summary(self, job: TrainingJob, values: dict[str, str]) -> dict[str, Any]:
        """A training job as the tuning job's lists have it."""
        value, ended = self._value(job), job.ended.is_set()
        found = {**job.record, "TunedHyperParameters": values, "TuningJobName": self.name}
        found["ObjectiveStatus"] = "Pending" if not ended else "Failed" if value is None else "Succeeded"
        if value is not None:
            metric = {"MetricName": self._goal["MetricName"], "Value": value, "Type": self._goal["Type"]}
            found["FinalHyperParameterTuningJobObjectiveMetric"] = metric
        return found

    def describe(self) -> dict[str, Any]:
        """DescribeHyperParameterTuningJob."""
        states = Counter(job.record["TrainingJobStatus"] for job, _ in self.jobs)
        objectives = Counter(self.summary(*one)["ObjectiveStatus"] for one in self.jobs)
        found = {
            **self.record,
            "TrainingJobStatusCounters": {
                "Completed": states["Completed"],
                "InProgress": states["InProgress"] + states["Stopping"],
                "RetryableError": 0,
                "NonRetryableError": states["Failed"],
                "Stopped": states["Stopped"],
            },
            "ObjectiveStatusCounters": {
                name: objectives[name] for name in ("Succeeded", "Pending", "Failed")
            },
        }
        if best := self.best():
            found["BestTrainingJob"] = self.summary(*best)
        return found


def _sample(kind: str, one: Mapping[str, Any], chance: random.Random) -> str:
    if kind == "CategoricalParameterRanges":
        return str(chance.choice(one["Values"]))
    least, most = float(one["MinValue"]), float(one["MaxValue"])
    scaling = one.get("ScalingType", "Auto")
    if scaling == "Logarithmic":
        value = math.exp(chance.uniform(math.log(least), math.log(most)))
    elif scaling == "ReverseLogarithmic":
        value = 1 - math.exp(chance.uniform(math.log(1 - most), math.log(1 - least)))
    else:
        value = chance.uniform(least, most)
    if kind == "IntegerParameterRanges":
        whole = value if scaling == "Logarithmic" else chance.uniform(least, most + 1)
        return str(min(int(most), max(int(least), math.floor(whole))))
    return repr(value)


class Tuning:
    """The operations on tuning jobs."""

    def __init__(self, cloud: Cloud, training: Training) -> None:
        self.cloud, self.training = cloud, training
        self.jobs = Records(cloud, "hyper-parameter-tuning-job", "tuning job", job=True)
        self.handlers: dict[str, Handler] = {
            "CreateHyperParameterTuningJob": self.create,
            "DescribeHyperParameterTuningJob": lambda given: self.job(given).describe(),
            "StopHyperParameterTuningJob": lambda given: self.job(given).stop(),
            "ListHyperParameterTuningJobs": lambda given: listed(
                [
                    {**job.describe(), "Strategy": job.record["HyperParameterTuningJobConfig"]["Strategy"]}
                    for job in self.jobs
                ],
                given,
                "HyperParameterTuningJobSummaries",
                name="HyperParameterTuningJobName",
                status="HyperParameterTuningJobStatus",
            ),
            "ListTrainingJobsForHyperParameterTuningJob": self.list_jobs,
        }

    def job(self, given: Mapping[str, Any]) -> TuningJob:
        """The job of a request. Raises Fault where there is none."""
        name = given["HyperParameterTuningJobName"]
        if name not in self.jobs:
            arn = self.jobs.arn(name)
            raise Fault("ResourceNotFound", f"Amazon SageMaker can't find a tuning job with name {arn}")
        found: TuningJob = self.jobs.get(name)
        return found

    def list_jobs(self, given: dict[str, Any]) -> dict[str, Any]:
        """The training jobs of a tuning job."""
        job = self.job(given)
        found = [job.summary(*one) for one in job.jobs]
        given = {key: value for key, value in given.items() if key != "SortBy" or value in ("Name", "Status")}
        status = "TrainingJobStatus"
        return listed(found, given, "TrainingJobSummaries", name="TrainingJobName", status=status)

    def create(self, given: dict[str, Any]) -> dict[str, Any]:
        """Judge a request, and start the job."""
        _check(given)
        assume(self.cloud, given["TrainingJobDefinition"]["RoleArn"])
        job = TuningJob(self.training, given)
        self.jobs.add(job.name, job)
        self.cloud.tag(job.record["HyperParameterTuningJobArn"], given)
        self.cloud.begin(job.run)
        return {"HyperParameterTuningJobArn": job.record["HyperParameterTuningJobArn"]}


def _check(given: Mapping[str, Any]) -> None:
    config = given["HyperParameterTuningJobConfig"]
    for name, part in (
        ("TrainingJobDefinitions", given.get("TrainingJobDefinitions")),
        ("WarmStartConfig", given.get("WarmStartConfig")),
        ("Autotune", given.get("Autotune")),
        ("TuningJobCompletionCriteria", config.get("TuningJobCompletionCriteria")),
        ("Strategy Hyperband", config["Strategy"] == "Hyperband"),
    ):
        if part:
            raise not_emulated(f"{name} of a tuning job")
    definition = given.get("TrainingJobDefinition")
    goal = config.get("HyperParameterTuningJobObjective")
    if definition is None or goal is None:
        raise invalid("TrainingJobDefinition and HyperParameterTuningJobObjective must be given")
    if definition.get("HyperParameterTuningResourceConfig") or definition.get("HyperParameterRanges"):
        raise not_emulated("HyperParameterTuningResourceConfig and HyperParameterRanges of a definition")
    check(definition)
    metrics = [one["Name"] for one in definition["AlgorithmSpecification"].get("MetricDefinitions", ())]
    if goal["MetricName"] not in metrics:
        raise invalid(f"The objective {goal['MetricName']} is not among the MetricDefinitions: {metrics}")
    ranges = config.get("ParameterRanges", {})
    names = [one["Name"] for kind in KINDS for one in ranges.get(kind, ())]
    fixed = definition.get("StaticHyperParameters", {})
    if not names or len(set(names)) < len(names) or set(names) & fixed.keys():
        raise invalid("ParameterRanges must name each hyperparameter once, and none of StaticHyperParameters")
    for kind in KINDS[:2]:
        for one in ranges.get(kind, ()):
            try:
                least, most = float(one["MinValue"]), float(one["MaxValue"])
            except ValueError:
                raise invalid(f"The range of {one['Name']} must have numbers") from None
            if least > most or (one.get("ScalingType") == "Logarithmic" and least <= 0):
                raise invalid(f"The range of {one['Name']} is empty, or not above 0 for Logarithmic scaling")
    if config["Strategy"] == "Grid" and (ranges.get(KINDS[0]) or ranges.get(KINDS[1])):
        raise invalid("Strategy Grid takes categorical ranges alone")
    limit = config["ResourceLimits"].get("MaxNumberOfTrainingJobs")
    if config["Strategy"] != "Grid" and limit is None:
        raise invalid("ResourceLimits must have MaxNumberOfTrainingJobs")
