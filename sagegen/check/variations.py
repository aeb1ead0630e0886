"""What is legal in a training job and unusual, each by the rule that it is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sagegen.check.fixture import Job
from sagegen.check.scenarios.image import Image
from sagegen.check.scenarios.train import typed

CACHE = "/opt/ml/sagemaker/warmpoolcache"


def _more_hyperparameters(job: Job, more: Mapping[str, str]) -> Job:
    return replace(job, hyperparameters={**job.hyperparameters, **more})


def _resources(job: Job, **more: Any) -> Job:
    return replace(job, resources={**job.resources, **more})


def _hundred(job: Job) -> Job:
    names = [f"sagegen-check.{i:02d}_x" for i in range(99 - len(job.hyperparameters))]
    more = {name: str(i) for i, name in enumerate(names)}
    return _more_hyperparameters(job, {**more, "sagegen-check-long": "x" * 2500})


def _json_values(job: Job) -> Job:
    quoted = {
        key: value if isinstance(typed(value), int | float) else '"' + str(value).replace('"', '\\"') + '"'
        for key, value in job.hyperparameters.items()
    }
    own = {
        "sagemaker_region": '"us-east-1"',
        "sagemaker_job_name": '"sagegen-check"',
        "sagemaker_container_log_level": "20",
    }
    return replace(job, hyperparameters={**quoted, **own})


def _undocumented(job: Job) -> Job:
    names = ("init-config", "metric-definition-regex", "trainingjobconfig", "upstreamoutputdataconfig")
    more: dict[str, bytes | None] = {f"input/config/{name}.json": b"{}" for name in names}
    more |= {f"input/config/{name}.json": b"[]" for name in ("debughookconfig", "profilerconfig")}
    more |= {"output/metrics": None, "output/metrics/sagemaker": None, "output/profiler": None}
    return replace(job, extra={**job.extra, **more})


def _groups(job: Job) -> Job:
    hosts = job.resources["hosts"]
    groups = [{"hosts": hosts, "instance_group_name": "group-b", "instance_type": "ml.g5.xlarge"}]
    return _resources(job, current_group_name="group-b", instance_groups=groups)


def _three_keys(job: Job) -> Job:
    keys = ("current_host", "hosts", "network_interface_name")
    return replace(job, resources={key: job.resources[key] for key in keys})


def _local_mode(job: Job) -> Job:
    hosts = job.resources["hosts"] if len(job.resources["hosts"]) > 1 else ["algo-1-x7k2p"]
    resources = {
        "current_host": job.host if job.host in hosts else hosts[0],
        "hosts": hosts,
        "network_interface_name": "eth0",
        "current_instance_type": "local",
    }
    channels = {name: {"TrainingInputMode": "File"} for name in job.channels}
    return replace(
        job,
        resources=resources,
        channels=channels,
        environment={**job.environment, "AWS_REGION": "us-east-1"},
    )


def _content_types(job: Job) -> Job:
    channels = {
        name: {**channel, "ContentType": "application/octet-stream"} if i % 2 else _without(channel)
        for i, (name, channel) in enumerate(job.channels.items())
    }
    return replace(job, channels=channels)


def _own_entrypoint(job: Job) -> Job:
    """ContainerEntrypoint, as `--entrypoint train`."""
    return replace(job, entrypoint=("train",), command=())


def _without(channel: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in channel.items() if key != "ContentType"}


#: Together they make a job as strange as is legal, which has to leave a model.
RICH: dict[str, Callable[[Job], Job]] = {
    "T-38": lambda job: replace(job, data="nested"),
    "T-41": lambda job: job if len(job.resources["hosts"]) > 1 else job.on_host("algo-7", ["algo-7"]),
    "T-08": lambda job: replace(job, hostname="ip-10-0-93-154"),
    "T-43": lambda job: _resources(job, network_interface_name="ethwe"),
    "T-46": _groups,
    "T-22": _json_values,
    "T-23": lambda job: _more_hyperparameters(job, {"_tuning_objective_metric": "validation:loss"}),
    "T-16": _undocumented,
    "T-30": _content_types,
    "T-80": lambda job: replace(
        job, environment={**job.environment, "SAGEMAKER_MANAGED_WARMPOOL_CACHE_DIRECTORY": CACHE}
    ),
    "T-21": _hundred,  # last: it counts those before
}
#: These too: files that are as short as is legal.
PLAIN: dict[str, Callable[[Job], Job]] = {
    "T-83": _local_mode,
    "T-42": _three_keys,
}


def plain(image: Image) -> dict[str, Callable[[Job], Job]]:
    """PLAIN, and `train` without the ENTRYPOINT where the image has both."""
    return {**PLAIN, "T-05": _own_entrypoint} if has_both(image) else PLAIN


def has_both(image: Image) -> bool:
    """Whether the image has an ENTRYPOINT and a `train` on the PATH, which could run without it."""
    return bool(image.entrypoint) and "train" in image.programs


def changed(job: Job, changes: Mapping[str, Callable[[Job], Job]]) -> Job:
    """The job with all of these changes."""
    for change in changes.values():
        job = change(job)
    return job
