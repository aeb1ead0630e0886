"""Small machines and serverless endpoints."""

from __future__ import annotations

from sagegen.check.core import (
    Area,
    Evidence,
    Skip,
    Verdict,
    broken,
    passed,
    rule,
    unclaimed,
)
from sagegen.check.limits import Limits
from sagegen.check.scenarios.serverless import SERVERLESS


@rule(
    "S-75",
    Area.SERVE,
    why="Inference components and serverless endpoints give a container a CPU and 2 GB, not the host.",
    fix="Plan workers from the cgroup's CPU and memory instead of os.cpu_count() and the host's.",
    page="realtime-endpoints",
    needs=(SERVERLESS,),
)
def small_share(evidence: Evidence) -> Verdict:
    found = evidence[SERVERLESS]
    if found.startup.ok or (found.limited is not None and found.limited.ok):
        return passed("healthy with 1 CPU and 2 GB")
    assert found.limited is not None
    return broken(found.limited.trouble, found.limited.line)


@rule(
    "SV-03",
    Area.SERVE,
    why="A serverless endpoint gives up after 3 minutes.",
    fix="Load faster: smaller models, fewer imports, one worker.",
    page="serverless-endpoints-invoke",
    needs=(SERVERLESS,),
)
def serverless_start(evidence: Evidence) -> Verdict:
    found = evidence[SERVERLESS]
    limit = Limits.make().serverless_startup
    startup = found.startup if found.startup.ok else found.limited
    if startup is None or not startup.ok:
        raise Skip("not healthy with 1 CPU and 2 GB, see S-75")
    seconds = startup.healthy_seconds or 0.0
    if seconds > limit:
        late = broken(f"{seconds:.0f} s of 180 s", startup.line, seconds=round(seconds, 1))
        return unclaimed(found.claimed, late)
    return passed(f"{seconds:.1f} s", seconds=round(seconds, 2))


@rule(
    "SV-04",
    Area.SERVE,
    why="A serverless endpoint may not run as root and may not let the container write anywhere but /tmp.",
    fix="chmod o+rX the programs, write to /tmp only, and do not look up the user's home.",
    page="serverless-endpoints-troubleshooting",
    needs=(SERVERLESS,),
)
def any_user(evidence: Evidence) -> Verdict:
    found = evidence[SERVERLESS]
    if not found.startup.ok:
        if found.limited is not None and found.limited.ok:
            return broken(found.startup.trouble, found.startup.line)
        raise Skip("not healthy with 1 CPU and 2 GB, see S-75")
    if found.golden is not None and not found.golden.ok:
        return broken(f"POST /invocations: {found.golden}", found.startup.line)
    return passed("healthy as 993:990 with a read-only root")
