"""Chapter S: inference pipelines."""

from __future__ import annotations

from sagegen.check.core import (
    Area,
    Evidence,
    Skip,
    Verdict,
    broken,
    doubtful,
    passed,
    rule,
    skipped,
)
from sagegen.check.scenarios.pipeline import FIRST_PORT, PIPELINE, SAFE_PORTS
from sagegen.platform import PORT

LABEL = "com.amazonaws.sagemaker.capabilities.accept-bind-to-port"
PIPELINES = "inference-pipeline-real-time"


@rule(
    "S-50",
    Area.SERVE,
    why="Containers of a pipeline share one network: each must take the port it is given, and leave 8080.",
    fix="Read the port from SAGEMAKER_BIND_TO_PORT, 8080 where it is not set.",
    page=PIPELINES,
    needs=(PIPELINE,),
)
def bind_to_port(evidence: Evidence) -> Verdict:
    found = evidence[PIPELINE]
    if not found.claimed:
        return skipped(f"not claimed: the image has no label {LABEL}")
    if not found.first.ok:
        return broken(f"port {FIRST_PORT}: {found.first.trouble}", found.first.line)
    if found.golden is not None and not found.golden.ok:
        return broken(f"POST /invocations on port {FIRST_PORT}: {found.golden}", found.first.line)
    if any(number == PORT for _, number in found.sockets or ()):
        return broken(f"listens on {PORT} too", found.first.line)
    return passed(f"port {FIRST_PORT}")


@rule(
    "S-51",
    Area.SERVE,
    why="Pipelines and multi-container endpoints refuse images without it.",
    fix=f"LABEL {LABEL}=true",
    page=PIPELINES,
    needs=(PIPELINE,),
)
def bind_label(evidence: Evidence) -> Verdict:
    found = evidence[PIPELINE]
    if found.first.ok and not found.claimed:
        return doubtful("the port can be chosen, but the label is missing", found.first.line)
    if not found.claimed:
        return skipped("not claimed, and not offered")
    if found.label.lower() != "true":
        return broken(f"the label's value is {found.label!r}", found.first.line)
    return passed("present")


@rule(
    "S-52",
    Area.SERVE,
    why="A second port outside, loopback included, collides with the neighbour in the same network.",
    fix="Use Unix sockets between your processes, or ports out of the range.",
    page=PIPELINES,
    needs=(PIPELINE,),
)
def safe_ports(evidence: Evidence) -> Verdict:
    found = evidence[PIPELINE]
    if not found.claimed:
        return skipped(f"not claimed: the image has no label {LABEL}")
    if not found.first.ok:
        raise Skip("not healthy on another port, see S-50")
    if found.sockets is None:
        raise Skip("the image has no shell, so its sockets cannot be listed")
    allowed = {FIRST_PORT, PORT, *SAFE_PORTS}  # 8080 is S-50's
    outside = [f"{host}:{number}" for host, number in found.sockets if number not in allowed]
    if outside:
        return broken(f"listens on {', '.join(outside)}", found.first.line)
    return passed(f"{len(found.sockets)} sockets", sockets=len(found.sockets))


@rule(
    "S-53",
    Area.SERVE,
    why="The containers of a pipeline share an instance and a network.",
    fix="Do not use fixed ports or abstract sockets.",
    page="inference-pipelines",
    needs=(PIPELINE,),
)
def side_by_side(evidence: Evidence) -> Verdict:
    found = evidence[PIPELINE]
    if not found.claimed:
        return skipped(f"not claimed: the image has no label {LABEL}")
    if not found.first.ok:
        raise Skip("not healthy on another port, see S-50")
    if found.second is None or not found.second.ok:
        return broken(
            f"the second: {found.second.trouble if found.second else 'not started'}", found.first.line
        )
    wrong = [e for e in found.both if e.status != 200]
    return broken(str(wrong[0]), found.first.line) if wrong else passed("both healthy")
