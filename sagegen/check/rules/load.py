"""Chapter S: many requests."""

from __future__ import annotations

from sagegen.check.core import (
    Area,
    Evidence,
    Verdict,
    broken,
    doubtful,
    passed,
    rule,
)
from sagegen.check.endpoint import percentile, slowest
from sagegen.check.limits import Limits
from sagegen.check.scenarios.load import CLIENT_GONE, growth
from sagegen.check.scenarios.serving import SERVE
from sagegen.platform import PORT

PAGE = "your-algorithms-inference-code"
FAQ = "hosting-faqs"
OVERLOADED = (429, 503)


@rule(
    "S-12",
    Area.SERVE,
    why="A slower answer counts as none: the instance is replaced.",
    fix="Answer from memory; never load, predict or lock in /ping.",
    page=PAGE,
    needs=(SERVE,),
)
def ping_time(evidence: Evidence) -> Verdict:
    found = evidence[SERVE]
    late = [
        e for e in found.startup.answers if e.connect_seconds is not None and "no complete answer" in e.error
    ]
    curl = found.meanwhile(f"--max-time 2 http://localhost:{PORT}/ping")
    if not found.startup.ok and late:
        return broken(f"{len(late)} pings of {len(found.startup.answers)} took more than 2 s", curl)
    found.healthy()
    limits = Limits.make()
    p99 = percentile(found.load.pings, 0.99)
    failed = [e for e in found.load.pings if e.status is None]
    if failed:
        return broken(f"{len(failed)} of {len(found.load.pings)} pings: {failed[0]}", curl, p99=round(p99, 3))
    if p99 > limits.ping_slow:
        return doubtful(f"p99 {p99:.2f} s of 2 s", curl, p99=round(p99, 3))
    return passed(f"p99 {1000 * p99:.0f} ms", p99=round(p99, 4))


@rule(
    "S-17",
    Area.SERVE,
    why="A ping that waits behind predictions fails under load, and SageMaker replaces the instance.",
    fix="Answer /ping from another process or thread than predictions, and never under their lock.",
    page="async-inference-troubleshooting",
    needs=(SERVE,),
)
def ping_under_load(evidence: Evidence) -> Verdict:
    found = evidence[SERVE].healthy()
    found.survived()
    wrong = [e for e in found.load.busy_pings if e.status != 200]
    worst = slowest(found.load.busy_pings)
    if wrong:
        return broken(
            f"{len(wrong)} of {len(found.load.busy_pings)} pings under load: {wrong[0]}",
            found.parallel(),
            slowest=round(worst, 3),
        )
    # Pings that wait behind predictions are late by chance. Once one was too late, only pings that clearly
    # wait for nothing acquit.
    limits = Limits.make()
    if worst > (limits.ping_free if found.second_look else limits.ping_slow):
        return doubtful(
            f"slowest of {len(found.load.busy_pings)} under load: {worst:.2f} s of 2 s",
            found.parallel(),
            slowest=round(worst, 3),
        )
    return passed(
        f"slowest of {len(found.load.busy_pings)} under load: {1000 * worst:.0f} ms", slowest=round(worst, 4)
    )


@rule(
    "S-21",
    Area.SERVE,
    why="SageMaker gives up on a container that does not accept a connection in that time.",
    fix="Use a large listen backlog, and accept in a process that predictions cannot block.",
    page=PAGE,
    needs=(SERVE,),
)
def accepts(evidence: Evidence) -> Verdict:
    found = evidence[SERVE].healthy()
    found.survived()
    load = found.load
    asked = [*load.answered, *load.busy_pings, *load.pings]
    times = [e.connect_seconds for e in asked if e.connect_seconds]
    worst = max(times, default=0.0)
    refused = [e for e in asked if e.refused]
    if refused or worst > Limits.make().connect:
        what = refused[0].error if refused else f"{1000 * worst:.0f} ms"
        return broken(f"{what} under load", found.parallel(), slowest=round(worst, 4))
    return passed(f"slowest of {len(times)}: {1000 * worst:.1f} ms", slowest=round(worst, 4))


@rule(
    "S-29",
    Area.SERVE,
    why="Clients send requests at the same time, some hang up, and SageMaker reuses connections. An instance"
    " serves for months: memory or files that each request leaves behind end it.",
    fix="Use several threads or workers and answer keep-alive correctly (Content-Length or chunks). Release"
    " what a request has opened, also where its client hangs up.",
    page=FAQ,
    needs=(SERVE,),
)
def concurrency(evidence: Evidence) -> Verdict:
    found = evidence[SERVE]
    found.answered()
    if wrong := [e for e in found.asked.kept if not e.ok]:
        return broken(f"{len(wrong)} on one connection: {wrong[0]}", found.post())
    found.survived()
    if CLIENT_GONE in found.load.endings:
        cut = found.post(more=" --limit-rate 1k --max-time 1")
        return broken(f"a process of the server ends {CLIENT_GONE}, each time", cut)
    small = [*found.load.parallel, *(answer for _, answer in found.load.mixed)]
    if refused := [e for e in small if e.status in OVERLOADED]:
        return broken(f"{len(refused)} of {len(small)} under load: {refused[0]}", found.parallel())
    if more := growth(found.load):
        return broken(more, found.parallel())
    together = f"{len(found.load.parallel)} at once in {1000 * slowest(found.load.parallel):.0f} ms"
    return passed(f"{together}, {len(found.load.answered)} under load", answers=len(found.load.answered))
