"""Chapter S: what the whole life of an endpoint leaves."""

from __future__ import annotations

import re

from sagegen.check.core import (
    Area,
    Evidence,
    Skip,
    Verdict,
    broken,
    doubtful,
    passed,
    rule,
    unclaimed,
)
from sagegen.check.scenarios.serving import SERVE

#: A shorter record can be in the log by chance.
FEWEST_CHARACTERS = 12
#: Long records are cut in logs.
MOST_CHARACTERS = 64


@rule(
    "S-81",
    Area.SERVE,
    why="CloudWatch shows nothing else when an endpoint does not start. More people can read it than may see"
    " the data of customers.",
    fix="Log to the console, at least one line when the server starts, and no request bodies.",
    page="logging-cloudwatch",
    needs=(SERVE,),
)
def logs(evidence: Evidence) -> Verdict:
    found = evidence[SERVE]
    if found.startup.start_error:
        raise Skip("serve does not run, see S-01")
    lines = [line for line in found.log.splitlines() if line.strip()]
    if not lines:
        return broken("nothing was logged", found.line)
    if found.payload and (record := _logged(found.payload.body, found.early_log)):
        return doubtful(f"the log repeats what a client sent: {record[:80]}", found.post())
    return passed(f"{len(lines)} lines", lines=len(lines))


def _logged(body: bytes, log: str) -> str:
    """The first line of a request that the log repeats, in any notation of lists; empty where none is."""
    logged = _bare(log)
    for line in body.decode(errors="replace").splitlines():
        bare = _bare(line)[:MOST_CHARACTERS]
        if len(bare) >= FEWEST_CHARACTERS and bare in logged:
            return line
    return ""


def _bare(text: str) -> str:
    return re.sub(r"[^0-9A-Za-z.,:-]", "", text)


@rule(
    "SV-05",
    Area.SERVE,
    why="A serverless endpoint has 5 GB, however much memory it has.",
    fix="Map the model from where it lies instead of unpacking or copying it.",
    page="serverless-endpoints",
    needs=(SERVE,),
)
def disk(evidence: Evidence) -> Verdict:
    found = evidence[SERVE].healthy()
    if found.written > 5e9:
        much = broken(f"{found.written / 1e9:.1f} GB written", found.line, bytes=found.written)
        return unclaimed(found.serverless, much)
    return passed(f"{found.written / 1e6:.1f} MB written", bytes=found.written)
