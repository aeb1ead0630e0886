"""How SageMaker runs a training container: its files under /opt/ml, its variables and its mounts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from sagegen.engine import Spec, Volume

RESOURCES: dict[str, Any] = {
    "current_group_name": "homogeneousCluster",
    "current_host": "algo-1",
    "current_instance_type": "ml.m5.xlarge",
    "hosts": ["algo-1"],
    "instance_groups": [
        {
            "hosts": ["algo-1"],
            "instance_group_name": "homogeneousCluster",
            "instance_type": "ml.m5.xlarge",
        }
    ],
    "network_interface_name": "eth0",
    "topology": None,
}
CHANNEL = {
    "TrainingInputMode": "File",
    "S3DistributionType": "FullyReplicated",
    "RecordWrapperType": "None",
}
#: Under /opt/ml, the files of channels in Pipe mode, whose FIFOs the image's own shell feeds.
PIPES = "pipes"
CONFIG = ("hyperparameters", "inputdataconfig", "resourceconfig")


def job_environment(name: str, region: str = "us-east-1", account: str = "123456789012") -> dict[str, str]:
    """What the platform itself adds to a job's variables (T-70)."""
    arn = f"arn:aws:sagemaker:{region}:{account}:training-job/{name}"
    return {"TRAINING_JOB_NAME": name, "TRAINING_JOB_ARN": arn}


def feeder(late: float = 0.0) -> str:
    """A shell script that feeds the FIFOs of channels in Pipe mode: one for each channel and epoch (T-34).

    `late`: seconds until every FIFO but the first is there.
    """
    return f"""
cd /opt/ml/input/data
for d in /opt/ml/{PIPES}/*; do
  (e=0; while [ $e -lt 50 ]; do
    f=${{d##*/}}_$e
    [ $e = 0 ] || sleep {late:g}
    mkfifo $f && find $d -type f | LC_ALL=C sort | while read -r p; do cat "$p"; done > $f
    e=$((e+1))
  done) &
done
wait
"""


@dataclass(frozen=True)
class Job:
    """One training job as the container will see it."""

    hyperparameters: Mapping[str, Any]
    channels: Mapping[str, Any]
    resources: Mapping[str, Any] = field(default_factory=lambda: RESOURCES)
    extra: Mapping[str, bytes | None] = field(default_factory=dict)  # more files under /opt/ml
    environment: Mapping[str, str] = field(default_factory=dict)
    hostname: str | None = None  # None: the current host's
    network: bool = True
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] = ("train",)
    writable_data: bool = False

    @property
    def host(self) -> str:
        """This container's name in the cluster."""
        return str(self.resources["current_host"])

    def files(self) -> dict[str, bytes | None]:
        """Everything under /opt/ml but the channels."""
        config = (self.hyperparameters, self.channels, self.resources)
        written = {
            f"input/config/{name}.json": json.dumps(value).encode()
            for name, value in zip(CONFIG, config, strict=True)
        }
        folders = dict.fromkeys(
            ("input", "input/config", "model", "output", "output/data", "checkpoints", "code")
        )
        return {**folders, **written, **self.extra}

    def on_host(self, current: str, hosts: list[str], instance: str | None = None) -> Self:
        """The same job on one host of a cluster, whose hosts are all of one instance type."""
        group = {**RESOURCES["instance_groups"][0], "hosts": hosts}
        if instance:
            group["instance_type"] = instance
        return replace(
            self,
            resources={**self.resources, "current_host": current, "hosts": hosts, "instance_groups": [group]},
        )

    def spec(
        self,
        given: Mapping[str, str],
        volumes: tuple[Volume, ...],
        network: str | None,
        image: str | None = None,
    ) -> Spec:
        """What to run for it, with `given` as the platform's own variables."""
        return Spec(
            command=self.command,
            image=image,
            entrypoint=self.entrypoint,
            environment={**given, **self.environment},
            volumes=volumes,
            network=network,
            alias=self.host if len(self.resources["hosts"]) > 1 else None,
            hostname=self.hostname or self.host,
        )
