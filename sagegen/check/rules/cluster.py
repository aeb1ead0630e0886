"""Chapter T: several hosts."""

from __future__ import annotations

from collections.abc import Mapping

from sagegen.check.core import Area, Evidence, Skip, Verdict, broken, passed, rule, skipped
from sagegen.check.jobs import Run
from sagegen.check.pages import RUNNING
from sagegen.check.scenarios.cluster import CLUSTER, refused


def _trouble(runs: Mapping[str, Run]) -> Verdict | None:
    if refusal := refused(runs):
        return skipped(f"the image refuses a job of several hosts: {refusal}")
    for host, run in runs.items():
        if not run.ok:
            return broken(f"{host}: {run.end}", run.line)
    return None


@rule(
    "T-44",
    Area.TRAIN,
    why="Hosts start at different moments, and their names resolve late.",
    fix="Retry until every host of resourceconfig.json resolves, for some minutes.",
    page=RUNNING,
    needs=(CLUSTER,),
)
def late_host(evidence: Evidence) -> Verdict:
    found = evidence[CLUSTER].late
    if trouble := _trouble(found):
        return trouble
    times = [run.exit.seconds for run in found.values()]
    return passed(f"both ended well, after {times[0]:.1f} s and {times[1]:.1f} s")


@rule(
    "T-45",
    Area.TRAIN,
    why="The model folders of all hosts end in one archive: of two files of one name, one is lost.",
    fix="Let one host write the model, or put the host's name into the file's.",
    page="your-algorithms-training-algo-output",
    needs=(CLUSTER,),
)
def no_clash(evidence: Evidence) -> Verdict:
    found = evidence[CLUSTER].late
    if _trouble(found):
        raise Skip("training on two hosts did not succeed, see T-44")
    first, second = found.values()
    for folder in ("model", "output"):
        mine, theirs = getattr(first, folder), getattr(second, folder)
        for name in sorted(mine.keys() & theirs.keys()):
            a, b = mine[name], theirs[name]
            if a.kind == "file" and (a.size, a.content) != (b.size, b.content):
                return broken(f"both wrote {folder}/{name}, with different contents", first.line)
    return passed("no name twice with different contents")


@rule(
    "T-37",
    Area.TRAIN,
    why="ShardedByS3Key deals objects out: with fewer objects than hosts, some get none.",
    fix="Treat an empty channel on a host as no work, and let the others finish.",
    page=RUNNING,
    needs=(CLUSTER,),
)
def empty_shard(evidence: Evidence) -> Verdict:
    found = evidence[CLUSTER].empty
    return _trouble(found) or passed(f"all {len(found)} ended well")
