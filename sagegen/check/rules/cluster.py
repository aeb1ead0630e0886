"""Chapter T: several hosts."""

from __future__ import annotations

from collections.abc import Mapping

from sagegen.check.core import Area, Evidence, Skip, Verdict, broken, doubtful, passed, rule, skipped
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
    why="Names resolve late; and local modes of the SDKs stop every host when the first one ends.",
    fix="Retry for some minutes until every host resolves, and end no host before the model is complete.",
    page=RUNNING,
    needs=(CLUSTER,),
)
def late_host(evidence: Evidence) -> Verdict:
    found = evidence[CLUSTER].late
    if trouble := _trouble(found):
        return trouble
    if apart := _apart(found) or _apart(evidence[CLUSTER].empty):
        return apart
    times = [run.exit.seconds for run in found.values()]
    return passed(f"both ended well, after {times[0]:.1f} s and {times[1]:.1f} s")


def _apart(runs: Mapping[str, Run]) -> Verdict | None:
    """A doubt where a host ended before another one's model was complete."""
    for leader, run in runs.items():
        written = [file.modified for file in run.model.values() if file.kind == "file"]
        if not written:
            continue
        for host, other in runs.items():
            early = max(written) - other.exit.finished_at  # the engine cuts the first one to whole seconds
            if host != leader and other.ok and early > 0:
                text = f"{host} ended {early:.0f} s before {leader}'s model was complete"
                return doubtful(f"{text}: both SDKs' local modes then stop {leader}", other.line)
        break
    return None


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
