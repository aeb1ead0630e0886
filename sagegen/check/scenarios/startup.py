"""An endpoint that starts: with its model, and with one whose files are garbage."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from sagegen.check.core import Evidence, Skip, scenario
from sagegen.check.endpoint import Startup, headers, served, server, start
from sagegen.check.probe import Address, ask
from sagegen.check.rig import Kept, Rig
from sagegen.check.scenarios.artifacts import MODEL
from sagegen.engine import Volume

ORDINARY = "ordinary"


@scenario("serve-start", after=(MODEL,))
def START(rig: Rig, evidence: Evidence) -> Startup:
    """Starts an ordinary endpoint, waits until it is healthy, and sends the first request."""
    with ExitStack() as stack:
        startup, box, address = stack.enter_context(served(rig, evidence))
        if not address:
            return startup
        startup = first_request(rig, startup, address)
        rig.keep(ORDINARY, Kept(startup, box, address, stack.pop_all()))
        return startup


def first_request(rig: Rig, startup: Startup, address: Address) -> Startup:
    """Send the first request, right after the first healthy ping."""
    if not rig.payload:
        kind = {"Content-Type": "application/json"}
        return replace(startup, first=ask(address, "POST", "/invocations", b"", kind, seconds=10))
    seconds = rig.limits.invocation
    answer = ask(address, "POST", "/invocations", rig.payload.body, headers(rig.payload), seconds=seconds)
    return replace(startup, first=answer, predicts=answer.ok)


def with_writable_model(rig: Rig, evidence: Evidence, ordinary: Startup) -> Startup:
    """Start an endpoint that may write into its model's folder, unlike on SageMaker."""
    spec = server(rig, evidence, rig.lab.network())
    volumes = (replace(spec.volumes[0], read_only=False),)
    seconds = min(60, rig.limits.timeout) if ordinary.exit is None else None
    with rig.lab.container(replace(spec, volumes=volumes)) as box:
        return start(rig, box, rig.serving(spec, model="rw"), seconds=seconds)[0]


@scenario("serve-corrupt", after=(START,), waits=True)
def CORRUPT(rig: Rig, evidence: Evidence) -> Startup:
    """Serves a model whose files are garbage."""
    ordinary = evidence[START]
    ordinary.healthy()
    volume = evidence[MODEL].corrupt
    if not volume:
        raise Skip("there is no model to corrupt – give your data with --opt-ml")
    seconds = 4 + 2 * (ordinary.healthy_seconds or 0)
    volumes = (Volume(volume, "/opt/ml/model", read_only=True),)
    with served(rig, evidence, seconds=seconds, volumes=volumes) as (startup, box, _):
        return replace(startup, line=rig.serving(box.spec, model="corrupt"))
