"""An endpoint with little: an unprivileged user, a read-only file system, 1 CPU and 2 GB."""

from __future__ import annotations

from dataclasses import dataclass

from sagegen.check.core import Evidence, scenario
from sagegen.check.endpoint import Startup, headers, patience, served
from sagegen.check.probe import Exchange, ask
from sagegen.check.rig import Rig
from sagegen.check.scenarios.startup import START


@dataclass(frozen=True)
class Serverless:
    """An unprivileged user on a read-only file system; and the same limits without those."""

    startup: Startup
    claimed: bool  # the image says that it is meant for serverless endpoints
    golden: Exchange | None = None
    limited: Startup | None = None  # with only the limits, where the first was not healthy


SERVERLESS_MEMORY, SERVERLESS_USER = 2 * 2**30, "993:990"


@scenario("serve-serverless", after=(START,), again=True)
def SERVERLESS(rig: Rig, evidence: Evidence) -> Serverless:
    """Serves as an unprivileged user, on a read-only file system, with 1 CPU and 2 GB."""
    ordinary = evidence[START]
    ordinary.healthy()
    claimed = rig.declares("serverless")
    limits = {"memory": SERVERLESS_MEMORY, "cpus": 1.0}
    seconds = min(rig.limits.timeout, rig.limits.serverless_startup * 2, patience(rig, ordinary) * 4)
    with served(rig, evidence, seconds=seconds, user=SERVERLESS_USER, read_only=True, **limits) as (
        startup,
        _,
        address,
    ):
        golden = None
        if address and rig.payload and ordinary.predicts:
            golden = ask(
                address,
                "POST",
                "/invocations",
                rig.payload.body,
                headers(rig.payload),
                seconds=rig.limits.invocation,
            )
        # The cgroup that refuses memory may kill a worker on the first request.
        if address:
            return Serverless(startup, claimed, golden)
    with served(rig, evidence, seconds=seconds, **limits) as (limited, _, _address):
        return Serverless(startup, claimed, None, limited)
