"""Two containers of an inference pipeline side by side."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace

from sagegen.check.core import Evidence, scenario
from sagegen.check.endpoint import (
    LOCAL_TRANSFORM,
    TRANSFORM_JOB,
    Startup,
    headers,
    patience,
    served,
    sockets,
    start,
)
from sagegen.check.probe import Address, Exchange, ask
from sagegen.check.rig import Kept, Rig
from sagegen.check.scenarios.startup import START
from sagegen.engine import Box

#: What the first and the second container are kept for.
SPARE, BATCHED = "spare", "batched"


@dataclass(frozen=True)
class Pipeline:
    """Two containers that share one network, each on a port that it was told."""

    label: str
    claimed: bool
    first: Startup
    golden: Exchange | None = None
    sockets: tuple[tuple[str, int], ...] | None = None
    second: Startup | None = None
    both: tuple[Exchange, ...] = ()
    capitals: Startup | None = None  # the first, where it serves with SAGEMAKER_BATCH=True


FIRST_PORT, SECOND_PORT, SAFE_PORTS = 9123, 9124, range(9200, 9300)


@scenario("serve-pipeline", after=(START,), again=True)
def PIPELINE(rig: Rig, evidence: Evidence) -> Pipeline:
    """Serves as two containers of an inference pipeline, on ports other than 8080."""
    ordinary = evidence[START]
    ordinary.healthy()
    name = "com.amazonaws.sagemaker.capabilities.accept-bind-to-port"
    label, claimed = rig.labels.get(name, ""), name in rig.labels
    seconds = (
        patience(rig, ordinary)
        if rig.claims("accept-bind-to-port")
        else 4 + 3 * (ordinary.healthy_seconds or 0)
    )

    def environment(port: int, low: int) -> dict[str, str]:
        return {"SAGEMAKER_BIND_TO_PORT": str(port), "SAGEMAKER_SAFE_PORT_RANGE": f"{low}-{low + 49}"}

    def begin(more: Mapping[str, str]) -> tuple[Startup, Box, Address | None]:
        """Start the first container; `more` is its environment beside the ports."""
        own = {**environment(FIRST_PORT, SAFE_PORTS[0]), **more}
        return stack.enter_context(
            served(rig, evidence, seconds=seconds, environment=own, neighbour=SECOND_PORT)
        )

    # A transform job may run a pipeline: what serves in batch mode here need not be started for that alone.
    with ExitStack() as stack:
        first, box, address = begin(LOCAL_TRANSFORM)
        capitals = first if address else None
        if not address and claimed:
            stack.close()
            first, box, address = begin({})
        if not address:
            return Pipeline(label, claimed, first)
        golden = None
        if rig.payload and ordinary.predicts:
            kind, seconds_to_answer = headers(rig.payload), rig.limits.invocation
            body = rig.payload.body
            golden = ask(address, "POST", "/invocations", body, kind, seconds=seconds_to_answer)
        found = Pipeline(label, claimed, first, golden, sockets(box), capitals=capitals)
        for more in (TRANSFORM_JOB, {}):
            own = {**environment(SECOND_PORT, SAFE_PORTS[50]), **more}
            spec = replace(box.spec, network=None, inside=box.id, environment=own)
            with ExitStack() as place:
                other = place.enter_context(rig.lab.container(spec))
                line = rig.serving(box.spec)
                second, its_address = start(rig, other, line, seconds=seconds, port=SECOND_PORT)
                both = tuple(
                    ask(where, "GET", "/ping", seconds=rig.limits.ping)
                    for where in (address, its_address)
                    if where
                )
                if its_address and more:
                    rig.keep(BATCHED, Kept(second, other, its_address, place.pop_all()))
            found = replace(found, second=second, both=both)
            if second.ok or not claimed:
                break
        rig.keep(SPARE, Kept(first, box, address, stack.pop_all()))
        return found
