"""The ordinary job in every legal variation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from sagegen.check.core import Evidence, scenario
from sagegen.check.fixture import Job
from sagegen.check.jobs import Run, together, train
from sagegen.check.rig import Rig
from sagegen.check.scenarios.cluster import CLUSTER
from sagegen.check.scenarios.image import IMAGE
from sagegen.check.scenarios.train import TRAIN
from sagegen.check.variations import RICH, changed, has_both, plain
from sagegen.platform import CHANNEL


@dataclass(frozen=True)
class Variants:
    """For each variation: the run that shows whether the image bears it."""

    runs: Mapping[str, Run]
    #: The image has an ENTRYPOINT and a `train` on the PATH.
    own_program: bool
    #: Each was a job of its own, and not a host of a cluster.
    alone: bool = True


@scenario("train-variants", after=(TRAIN, IMAGE), later=(CLUSTER,))
def VARIANTS(rig: Rig, evidence: Evidence) -> Variants:
    """Trains under hostile but legal configurations, unless the hosts of a cluster have done so."""
    base, image = evidence[TRAIN], evidence[IMAGE]
    base.modelled()
    if (cluster := evidence.get(CLUSTER)) and cluster.variations:
        return Variants(cluster.variations, has_both(image), alone=False)
    runs: dict[str, Run] = {}

    def attempt(changes: Mapping[str, Callable[[Job], Job]]) -> None:
        run = train(rig, changed(base.job, changes))
        if run.ok and run.model:
            runs.update(dict.fromkeys(changes, run))
            return
        for identity, change in changes.items():
            runs[identity] = train(rig, change(base.job))

    together(lambda: attempt(RICH), lambda: attempt(plain(image)))
    return Variants(runs, has_both(image))


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
