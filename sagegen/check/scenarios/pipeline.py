"""Two containers of an inference pipeline side by side."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace

from sagegen.check.core import Evidence, scenario
from sagegen.check.endpoint import Startup, headers, patience, served, sockets, start
from sagegen.check.probe import Exchange, ask
from sagegen.check.rig import Kept, Rig
from sagegen.check.scenarios.startup import START

SPARE = "spare"


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
    batch: bool = False  # the second serves with SAGEMAKER_BATCH=True


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

    with ExitStack() as stack:
        own = environment(FIRST_PORT, SAFE_PORTS[0])
        place = served(rig, evidence, seconds=seconds, environment=own, neighbour=SECOND_PORT)
        first, box, address = stack.enter_context(place)
        if not address:
            return Pipeline(label, claimed, first)
        golden = None
        if rig.payload and ordinary.predicts:
            golden = ask(
                address,
                "POST",
                "/invocations",
                rig.payload.body,
                headers(rig.payload),
                seconds=rig.limits.invocation,
            )
        listening = sockets(box)
        found = Pipeline(label, claimed, first, golden, listening)
        # A transform job may run a pipeline: where the second serves in batch mode, that is known too.
        for more in ({"SAGEMAKER_BATCH": "True"}, {}):
            own = {**environment(SECOND_PORT, SAFE_PORTS[50]), **more}
            spec = replace(box.spec, network=None, inside=box.id, environment=own)
            with rig.lab.container(spec) as other:
                second, its_address = start(
                    rig, other, rig.serving(box.spec), seconds=seconds, port=SECOND_PORT
                )
                both = tuple(
                    ask(where, "GET", "/ping", seconds=rig.limits.ping)
                    for where in (address, its_address)
                    if where
                )
            found = replace(found, second=second, both=both, batch=bool(more) and second.ok)
            if second.ok or not claimed:
                break
        rig.keep(SPARE, Kept(first, box, address, stack.pop_all()))
        return found
