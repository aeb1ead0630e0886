"""Chapter S: an endpoint ends."""

from __future__ import annotations

from sagegen.check.core import (
    Area,
    Evidence,
    Skip,
    Verdict,
    broken,
    passed,
    rule,
    skipped,
)
from sagegen.check.scenarios.serving import SERVE
from sagegen.check.scenarios.stopping import CRASH

PAGE = "your-algorithms-inference-code"
KILLED = 137


@rule(
    "S-03",
    Area.SERVE,
    why="Scale-in, updates and patching send SIGTERM; after 30 s SIGKILL cuts every request in flight.",
    fix="On SIGTERM answer every request that has arrived, also those not accepted yet, then exit.",
    page=PAGE,
    needs=(SERVE,),
)
def stops(evidence: Evidence) -> Verdict:
    found = evidence[SERVE].healthy()
    line = f"{found.parallel()} & sleep 1; docker stop -t 30 CONTAINER"
    if found.stop is None:
        raise Skip("the server had ended by itself, see S-01")
    ended, lost = found.stop.exit, found.stop.lost
    seconds = round(ended.seconds, 1)
    if ended.running:
        return broken(f"still running {seconds} s after SIGTERM", line, seconds=seconds)
    if ended.code == KILLED:
        return broken("exit code 137", line, seconds=seconds)
    if lost:
        return broken(
            f"{len(lost)} of {found.stop.in_flight} requests in flight at SIGTERM were lost: {lost[0]}",
            line,
            seconds=seconds,
        )
    if not found.stop.in_flight:
        return skipped(f"ended after {seconds} s, but no request was in flight when the signal came")
    return passed(
        f"exit code {ended.code} after {seconds} s, {found.stop.in_flight} requests in flight were answered",
        seconds=seconds,
    )


@rule(
    "S-06",
    Area.SERVE,
    why="A server that has lost a process and still answers /ping is broken and is not replaced.",
    fix="Watch every child: start it again, or exit so that SageMaker starts a new container.",
    page=PAGE,
    needs=(CRASH,),
)
def dead_worker(evidence: Evidence) -> Verdict:
    found = evidence[CRASH]
    found.startup.healthy()
    if not found.processes:
        return passed("one process")
    if found.exit:
        return passed(f"kill -9 {found.killed}: the container ends with {found.exit.code}")
    if found.ping is None or found.ping.status != 200:
        return broken(
            f"kill -9 {found.killed}: /ping {found.ping}, and the container stays up", found.startup.line
        )
    if found.golden is not None and not found.golden.ok:
        return broken(
            f"kill -9 {found.killed}: /invocations {found.golden}, and /ping is 200", found.startup.line
        )
    return passed(f"{found.processes} processes killed one by one, /ping is 200 again")
