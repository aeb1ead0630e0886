"""The whole life of an ordinary endpoint: asked everything, put under load, stopped."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from sagegen.check.core import Evidence, Skip, scenario
from sagegen.check.endpoint import Startup, curl, enlarged, served
from sagegen.check.probe import Client, Exchange
from sagegen.check.rig import Payload, Rig
from sagegen.check.scenarios import invocations, load
from sagegen.check.scenarios.artifacts import MODEL
from sagegen.check.scenarios.invocations import Invocations
from sagegen.check.scenarios.load import Load
from sagegen.check.scenarios.startup import ORDINARY, START, first_request, with_writable_model
from sagegen.check.scenarios.stopping import Stop, stop_under_load
from sagegen.engine import Box


@dataclass
class Serving:
    """Everything that an ordinary endpoint showed."""

    startup: Startup
    neutral: bool  # there is no model
    payload: Payload | None
    serverless: bool  # the image says that it is meant for serverless endpoints
    second_look: bool
    writable: Startup | None = None  # the same with a writable model, where the first was not healthy
    asked: Invocations = field(default_factory=Invocations)
    load: Load = field(default_factory=Load)
    stop: Stop | None = None
    early_log: str = ""  # before the load
    log: str = ""
    written: int = 0

    @property
    def line(self) -> str:
        """What reproduces it."""
        return self.startup.line

    @property
    def golden(self) -> Exchange | None:
        """The answer to the payload; None without a payload."""
        return self.asked.golden

    def healthy(self) -> Serving:
        """Itself, where it became healthy."""
        if not self.startup.ok:
            if self.neutral and self.startup.exit is None and not self.startup.start_error:
                raise Skip("not healthy without a model – give your data with --opt-ml")
            self.startup.healthy()
        return self

    def answered(self) -> Exchange:
        """The golden answer, where there was one."""
        self.healthy()
        if self.golden is None:
            raise Skip("needs a request that the model answers – give one with --payload and --content-type")
        if not self.golden.ok:
            raise Skip("the model does not answer the payload, see S-20")
        return self.golden

    def runs(self) -> None:
        """Raise Skip where the server never got so far as to listen."""
        if self.startup.start_error or self.startup.exit:
            raise Skip("serve does not run, see S-01")
        if not self.startup.ok and self.writable and self.writable.ok:
            raise Skip("not healthy on a read-only model, see S-41")

    def survived(self) -> None:
        """Raise Skip where the server ended before everything was sent."""
        if self.load.ended:
            raise Skip("the server had ended by itself, see S-01")

    def meanwhile(self, request: str) -> str:
        """The line, and the request to send with curl meanwhile."""
        return f"{self.line} # meanwhile: curl -i {request}"

    def post(self, **changes: Any) -> str:
        """The line, and the golden request to send meanwhile."""
        return self.meanwhile(curl(self.payload, **changes))

    def parallel(self, **changes: Any) -> str:
        """The line, and many golden requests to send at once meanwhile."""
        request = curl(self.payload, **changes)
        return f"{self.line} # meanwhile: seq 1000 | xargs -P {load.CLIENTS} -I N curl -s {request}"


@scenario("serve", after=(START,), quiet=True, again=True)
def SERVE(rig: Rig, evidence: Evidence) -> Serving:
    """Asks an ordinary endpoint everything that SageMaker may ask, alone on the machine."""
    artifact = evidence[MODEL]
    ordinary = evidence[START]

    def begin(startup: Startup) -> Serving:
        serverless = rig.declares("serverless")
        second_look = SERVE in evidence
        return Serving(startup, artifact.neutral, rig.payload, serverless, second_look, log=startup.log)

    if not ordinary.ok:
        if earlier := evidence.get(SERVE):
            return earlier  # a second look would be at the same first start
        found = begin(ordinary)
        if not ordinary.start_error and not artifact.neutral:
            found.writable = with_writable_model(rig, evidence, ordinary)
        return found
    with ExitStack() as stack:
        if kept := rig.take(ORDINARY):
            stack.enter_context(kept.place)
            startup, box, address = kept.startup, kept.box, kept.address
            if not (state := box.state()).running:
                return begin(replace(startup, healthy_seconds=None, exit=state, log=_log(box)))
        else:
            startup, box, begun = stack.enter_context(served(rig, evidence))
            if not begun:
                return begin(startup)
            startup, address = first_request(rig, startup, begun), begun
        found = begin(startup)
        client = Client(address, rig.limits.invocation, 180 + 3 * rig.limits.invocation)
        asked = _talk(rig, found, client, box)
        found.written = box.written_bytes()
        # The engine may notice the end of a container a little later than its clients.
        alive = client.ask("GET", "/ping", seconds=rig.limits.ping).status is not None
        state = box.state() if alive else box.wait(2)
        if state.running:
            found.stop = stop_under_load(rig, box, address, *_load_for_stop(rig, found))
        else:
            found.load.ended = True
            found.startup = replace(startup, exit=state, log=_log(box), asked=asked)
        found.log = _log(box)
        return found


def _talk(rig: Rig, found: Serving, client: Client, box: Box) -> str:
    """Send everything; return what was sent when the container may have ended."""
    load.ping_idle(rig, client, found.load)
    invocations.ask_everything(rig, client, found.asked)
    found.early_log = _log(box)
    if ended := load.provoke(rig, client, box, found.asked, found.load):
        return ended
    load.put_under_load(rig, client, box, found.asked, found.load)
    invocations.ask_other_paths(client, found.asked)
    return ""


def _load_for_stop(rig: Rig, found: Serving) -> tuple[Payload, list[bytes]]:
    """What the clients send while the server is stopped, one body for each client.

    All that is in flight must fit into the time that a stop may take: a slow model gets fewer clients. Half
    of the bodies are large, so that requests of a fast model are in flight too.
    """
    payload = rig.payload or load.NO_PAYLOAD
    first = found.golden or found.startup.first
    half = rig.limits.stop_serving / 2
    clients = load.CLIENTS
    if first and first.seconds:
        clients = max(1, min(clients, int(half / first.seconds)))
    alone = found.load.busy_alone
    quick = alone is not None and alone.ok and clients * alone.seconds < half
    large = enlarged(payload, load.BUSY_BYTES) if quick else payload.body
    return payload, [large if index % 4 < 2 else payload.body for index in range(clients)]


def _log(box: Box) -> str:
    return "\n".join(text for _, text in box.logs())
