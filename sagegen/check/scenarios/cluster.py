"""Jobs on several hosts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sagegen.check.core import Evidence, scenario
from sagegen.check.fixture import Job
from sagegen.check.jobs import Run, patience, together, train
from sagegen.check.rig import Rig
from sagegen.check.scenarios.image import IMAGE
from sagegen.check.scenarios.train import TRAIN, Base
from sagegen.check.variations import RICH, plain


@dataclass(frozen=True)
class Cluster:
    """What the hosts of a cluster did: two with data, of which the second came late, and one without."""

    late: Mapping[str, Run]
    empty: Mapping[str, Run]
    #: The runs that show that the image bears the variations, where its hosts had them and did well.
    variations: Mapping[str, Run] = field(default_factory=dict)


#: The first is the first in every order: it leads.
ODD_HOSTS = ("algo-7", "algo-8-x7k2p", "algo-9")
HOSTS = ("algo-1", "algo-2", "algo-3")
Changes = Mapping[str, Callable[[Job], Job]]


@scenario("train-cluster", after=(TRAIN, IMAGE), waits=True)
def CLUSTER(rig: Rig, evidence: Evidence) -> Cluster:
    """Trains on several hosts, one of which comes late and one of which gets no file."""
    base, image = evidence[TRAIN], evidence[IMAGE]
    base.succeeded()
    late = rig.limits.late_host
    # Two hosts have odd configurations too, which saves containers. The first one has to leave a model.
    short = plain(image)
    odd = list(_train(rig, base, ODD_HOSTS, late, [RICH, short]).items())
    if all(run.ok for _, run in odd) and odd[0][1].model:
        found = {**dict.fromkeys(RICH, odd[0][1]), **dict.fromkeys(short, odd[1][1])}
        return Cluster(dict(odd[:2]), dict(odd), found)
    if refused(dict(odd)):
        return Cluster(dict(odd[:2]), dict(odd))
    # Was it the cluster, or the configurations?
    runs = _train(rig, base, HOSTS, late)
    if all(run.ok for run in runs.values()):
        return Cluster({host: runs[host] for host in HOSTS[:2]}, runs)
    # The host that came late, or the one without a file?
    return Cluster(
        _train(rig, base, HOSTS[:2], late, without_files=False),
        _train(rig, base, HOSTS[:2], 0.0),
    )


def _train(
    rig: Rig,
    base: Base,
    hosts: Sequence[str],
    late: float,
    changes: Sequence[Changes] = (),
    without_files: bool = True,
) -> dict[str, Run]:
    """A job on these hosts: the second comes late, the last gets no file, the first ones have `changes`."""
    seconds = patience(rig, base.run) + 2 * late

    def one(index: int, host: str, network: str) -> Run:
        job = base.job.on_host(host, list(hosts))
        if without_files:
            channels = {n: {**c, "S3DistributionType": "ShardedByS3Key"} for n, c in job.channels.items()}
            job = replace(job, channels=channels, data="empty" if host == hosts[-1] else job.data)
        for change in changes[index].values() if index < len(changes) else ():
            job = change(job)
        rig.lab.pause(late if index == 1 else 0.0)
        return train(rig, job, network=network, seconds=seconds, waits=True)

    with rig.lab.cluster() as network:
        calls = [lambda i=i, host=host: one(i, host, network) for i, host in enumerate(hosts)]
        runs = together(*calls)
    return dict(zip(hosts, runs, strict=True))


def refused(runs: Mapping[str, Run]) -> str | None:
    """Why every host refuses to be one of several, where it says so: its reason names the instance count."""
    reasons = {(run.failure or b"").decode(errors="replace") for run in runs.values()}
    refusals = [reason for reason in reasons if re.search(r"instance.?count", reason, re.IGNORECASE)]
    return refusals[0] if len(reasons) == 1 and refusals else None
