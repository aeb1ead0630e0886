"""Batch transform: the same server with the variables that a transform job sets."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from sagegen.check.core import Evidence, scenario
from sagegen.check.endpoint import (
    LOCAL_TRANSFORM,
    TRANSFORM_JOB,
    Startup,
    by_lines,
    curl,
    enlarged,
    headers,
    media_type,
    patience,
    served,
    server,
)
from sagegen.check.probe import Client, Exchange
from sagegen.check.rig import Payload, Rig
from sagegen.check.scenarios.pipeline import BATCHED, PIPELINE
from sagegen.check.scenarios.startup import START

LARGEST = 100 * 10**6
FILE_RECORDS = 2500
POISON = b"\x01poison\x02"


@dataclass(frozen=True)
class Body:
    """Records in one request, how a shell makes them from the payload, and what came back."""

    name: str
    records: int
    command: str
    answer: Exchange


@dataclass
class Transform:
    """What a transform job would see."""

    startup: Startup
    payload: Payload | None = None
    parameters: Exchange | None = None
    bodies: list[Body] = field(default_factory=list)
    chunked: Exchange | None = None
    poisoned: Exchange | None = None
    after_poison: Exchange | None = None
    claimed: Exchange | None = None
    by_lines: bool = False
    content_type: str = ""
    capitals: Startup | None = None

    def line(self, command: str = "cat PAYLOAD", more: str = "") -> str:
        """The line that reproduces it: the server, and the request to pipe into curl meanwhile."""
        accept = f" -H 'Accept: {self.content_type}'" if self.by_lines else ""
        request = curl(self.payload, body="@-", more=accept + more)
        return f"{self.startup.line} # meanwhile: {command} | curl -i {request}"


@scenario("batch", after=(START,), later=(PIPELINE,), again=True)
def TRANSFORM(rig: Rig, evidence: Evidence) -> Transform:
    """Serves as a batch transform job does, with all of its variables."""
    ordinary = evidence[START]
    ordinary.healthy()
    seconds = patience(rig, ordinary)
    pipeline = evidence.get(PIPELINE)
    capitals = pipeline.capitals if pipeline else None
    if not capitals:
        place = served(rig, evidence, seconds=seconds, environment=LOCAL_TRANSFORM)
        with place as (capitals, _, _address):
            pass
    with ExitStack() as stack:
        if kept := rig.take(BATCHED):
            stack.enter_context(kept.place)
            line = rig.serving(server(rig, evidence, rig.lab.network(), environment=TRANSFORM_JOB))
            startup, address = replace(kept.startup, line=line), kept.address
        else:
            place = served(rig, evidence, seconds=seconds, environment=TRANSFORM_JOB)
            startup, _, begun = stack.enter_context(place)
            if not begun:
                return Transform(startup, rig.payload, capitals=capitals)
            address = begun
        found = Transform(startup, rig.payload, capitals=capitals)
        client = Client(address, rig.limits.invocation, 150)
        found.parameters = client.ask("GET", "/execution-parameters", seconds=5)
        if rig.payload:
            send_records(found, client, rig.payload)
        return found


def send_records(found: Transform, client: Client, payload: Payload) -> None:
    """Ask all that a transform job may ask, and note the answers in `found`."""
    kind = media_type(payload)
    found.by_lines = by_lines(payload) and bool(payload.body.strip())
    found.content_type = kind

    def post(body: bytes, **more: str) -> Exchange:
        return client.ask("POST", "/invocations", body, headers(payload, **more))

    def send(name: str, body: bytes, command: str) -> None:
        found.bodies.append(Body(name, len(body.splitlines()), command, post(body, Accept=kind)))

    *few, many = bodies(payload)
    for one in few:
        send(*one)
    found.chunked = client.ask("POST", "/invocations", payload.body, headers(payload), chunked=True)
    if found.by_lines:
        record = payload.body.splitlines()[0]
        found.poisoned = post(b"\n".join([record, POISON, record]) + b"\n", Accept=kind)
        found.after_poison = post(payload.body)
    # What a slow model may not answer in time comes last: it still works on it during what follows.
    send(*many)
    if found.parameters and (size := claimed_bytes(found.parameters)):
        found.claimed = post(enlarged(payload, size))


def bodies(payload: Payload) -> list[tuple[str, bytes, str]]:
    """Requests of different numbers of records: a name, the body, the command that makes it from PAYLOAD."""
    lines = [line for line in payload.body.splitlines() if line.strip()]
    if not lines or not by_lines(payload):
        return [("as given", payload.body, "cat PAYLOAD")]
    several = b"\n".join(lines[:3] * 2)
    three = "head -n 3 PAYLOAD; head -n 3 PAYLOAD"
    times = max(1, -(-FILE_RECORDS // len(lines)))
    return [
        ("one record", lines[0] + b"\n", "head -n 1 PAYLOAD"),
        ("one record without a newline", lines[0], "head -n 1 PAYLOAD | tr -d '\\n'"),
        ("several records", several + b"\n", f"{{ {three}; }}"),
        ("several records without a newline", several, f'printf %s "$({three})"'),
        (
            "a whole file",
            b"\n".join(lines * times) + b"\n",
            f"for i in $(seq {times}); do cat PAYLOAD; done",
        ),
    ]


def claimed_bytes(parameters: Exchange) -> int:
    """The payload that /execution-parameters promises to take."""
    try:
        value = json.loads(parameters.body)["MaxPayloadInMB"]
    except (ValueError, KeyError, TypeError):
        return 0
    return min(LARGEST, int(value) * 10**6) if isinstance(value, int | float) and value > 0 else 0
