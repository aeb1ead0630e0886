"""Jobs on several hosts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sagegen.check.core import Evidence, scenario
from sagegen.check.jobs import Run, patience, together, train
from sagegen.check.rig import Rig
from sagegen.check.scenarios.train import TRAIN, Base


@dataclass(frozen=True)
class Cluster:
    """What the hosts of a cluster did: two with data, of which the second came late, and one without."""

    late: Mapping[str, Run]
    empty: Mapping[str, Run]


@scenario("train-cluster", after=(TRAIN,), waits=True)
def CLUSTER(rig: Rig, evidence: Evidence) -> Cluster:
    """Trains on several hosts, one of which comes late and one of which gets no file."""
    base = evidence[TRAIN]
    base.succeeded()
    late = rig.limits.late_host
    runs = _cluster(rig, base, {"algo-2": late}, "algo-3")
    if all(run.ok for run in runs.values()):
        return Cluster({host: runs[host] for host in ("algo-1", "algo-2")}, runs)
    # Which of the two was it?
    return Cluster(_cluster(rig, base, {"algo-2": late}), _cluster(rig, base, {}, "algo-2"))


def _cluster(rig: Rig, base: Base, late: Mapping[str, float], empty: str = "") -> dict[str, Run]:
    """A job on two hosts, or three: when each comes, and which of them gets no file."""
    hosts = ["algo-1", "algo-2", "algo-3"][: 3 if empty == "algo-3" else 2]
    seconds = patience(rig, base.run) + 2 * max(late.values(), default=0.0)

    def one(host: str, network: str) -> Run:
        job = base.job.on_host(host, hosts)
        if empty:
            channels = {n: {**c, "S3DistributionType": "ShardedByS3Key"} for n, c in job.channels.items()}
            job = replace(job, channels=channels, data="empty" if host == empty else job.data)
        rig.lab.pause(late.get(host, 0.0))
        return train(rig, job, network=network, seconds=seconds)

    with rig.lab.cluster() as network:
        runs = together(*(lambda host=host: one(host, network) for host in hosts))
    return dict(zip(hosts, runs, strict=True))
