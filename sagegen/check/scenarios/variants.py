"""The ordinary job in every legal variation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sagegen.check.core import Evidence, scenario
from sagegen.check.fixture import CHANNEL, Job
from sagegen.check.jobs import Run, together, train
from sagegen.check.rig import Rig
from sagegen.check.scenarios.image import IMAGE
from sagegen.check.scenarios.train import TRAIN, typed

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
        "sagemaker_program": '"train.py"',
        "sagemaker_submit_directory": '"s3://bucket/source.tar.gz"',
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
    groups = [
        {"hosts": [job.host], "instance_group_name": "group-b", "instance_type": "ml.g5.xlarge"},
    ]
    return _resources(job, current_group_name="group-b", instance_groups=groups)


def _three_keys(job: Job) -> Job:
    keys = ("current_host", "hosts", "network_interface_name")
    return replace(job, resources={key: job.resources[key] for key in keys})


def _local_mode(job: Job) -> Job:
    host = "algo-1-x7k2p"
    resources = {
        "current_host": host,
        "hosts": [host],
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


#: Two jobs that are as strange as is legal. Where one fails, each of its parts is tried alone.
RICH: dict[str, Callable[[Job], Job]] = {
    "T-41": lambda job: job.on_host("algo-7", ["algo-7"]),
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
PLAIN: dict[str, Callable[[Job], Job]] = {
    "T-83": _local_mode,
    "T-42": _three_keys,
    "T-38": lambda job: replace(job, data="nested"),
}


@dataclass(frozen=True)
class Variants:
    """For each variation: the run that shows whether the image bears it."""

    runs: Mapping[str, Run]
    #: `train` on the PATH, which could also run without the image's ENTRYPOINT.
    own_program: bool


@scenario("train-variants", after=(TRAIN, IMAGE))
def VARIANTS(rig: Rig, evidence: Evidence) -> Variants:
    """Trains under hostile but legal configurations."""
    base = evidence[TRAIN]
    base.succeeded()
    image = evidence[IMAGE]
    own_program = bool(image.entrypoint) and "train" in image.programs
    plain = {**PLAIN, "T-05": _own_entrypoint} if own_program else PLAIN
    runs: dict[str, Run] = {}

    def attempt(changes: Mapping[str, Callable[[Job], Job]]) -> None:
        job = base.job
        for change in changes.values():
            job = change(job)
        run = train(rig, job)
        if run.ok and run.model:
            runs.update(dict.fromkeys(changes, run))
            return
        for identity, change in changes.items():
            runs[identity] = train(rig, change(base.job))

    together(lambda: attempt(RICH), lambda: attempt(plain))
    return Variants(runs, own_program)


DRIVER = b"""#!/bin/bash
set -e
python=$(command -v python3 || command -v python)
pip=$(command -v pip3 || command -v pip)
"$python" -c 'print("driver ran")'
"$pip" --version > /opt/ml/model/pip.txt
"""


@scenario("train-driver")
def SDK_DRIVER(rig: Rig, _: Evidence) -> Run:
    """Runs the SDK's driver command, `/bin/bash -c sm_train.sh`, with a stub."""
    script = "/opt/ml/input/data/sm_drivers/sm_train.sh"
    job = replace(
        rig.fixture.job,
        channels={"sm_drivers": CHANNEL, "code": CHANNEL},
        extra={"input/data/sm_drivers/sm_train.sh": DRIVER},
        data="none",
        writable_data=True,
        entrypoint=("/bin/bash",),
        command=("-c", f"chmod +x {script} && {script}"),
    )
    return train(rig, job, seconds=60)
