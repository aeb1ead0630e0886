"""Batch transform: the same server with the variables that a transform job sets."""

from __future__ import annotations

from dataclasses import dataclass, field

from sagegen.check.core import Evidence, scenario
from sagegen.check.probe import Client, Exchange
from sagegen.check.rig import Payload, Rig
from sagegen.check.scenarios.serving import (
    LINES,
    PIPELINE,
    START,
    Startup,
    enlarged,
    headers,
    patience,
    served,
)

LARGEST = 100 * 10**6
BATCH = {
    "SAGEMAKER_BATCH": "true",
    "SAGEMAKER_MAX_PAYLOAD_IN_MB": "6",
    "SAGEMAKER_BATCH_STRATEGY": "MULTI_RECORD",
    "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": "1",
}


@dataclass
class Transform:
    """What a transform job would see."""

    startup: Startup
    parameters: Exchange | None = None
    #: Records sent, and what came back.
    bodies: dict[str, tuple[int, Exchange]] = field(default_factory=dict)
    chunked: Exchange | None = None
    poisoned: Exchange | None = None
    after_poison: Exchange | None = None
    claimed: Exchange | None = None
    by_lines: bool = False
    content_type: str = ""
    capitals: Startup | None = None


@scenario("batch", after=(START,), later=(PIPELINE,), again=True)
def TRANSFORM(rig: Rig, evidence: Evidence) -> Transform:
    """Serves as a batch transform job does, with all of its variables."""
    ordinary = evidence[START]
    ordinary.healthy()
    seconds = patience(rig, ordinary)
    capitals = None
    pipeline = evidence.get(PIPELINE)
    if pipeline and pipeline.batch:
        capitals = pipeline.second
    else:
        environment = {"SAGEMAKER_BATCH": "True"}
        with served(rig, evidence, seconds=seconds, environment=environment) as (capitals, _, _address):
            pass
    with served(rig, evidence, seconds=seconds, environment=BATCH) as (startup, _, address):
        found = Transform(startup, capitals=capitals)
        if not address:
            return found
        client = Client(address, rig.limits.invocation, 150)
        found.parameters = client.ask("GET", "/execution-parameters", seconds=5)
        if rig.payload:
            _records(found, client, rig.payload)
        return found


def _records(found: Transform, client: Client, payload: Payload) -> None:
    kind = payload.content_type.partition(";")[0].strip()
    found.by_lines = kind in LINES
    found.content_type = kind
    lines = [line for line in payload.body.splitlines() if line.strip()]
    bodies = {"as given": payload.body}
    if found.by_lines:
        bodies = {
            "one record": lines[0] + b"\n",
            "one record without a newline": lines[0],
            "several records": b"\n".join(lines[:3] * 2) + b"\n",
            "several records without a newline": b"\n".join(lines[:3] * 2),
            "a whole file": b"\n".join(lines * max(1, 1000 // len(lines))) + b"\n",
        }
    for name, body in bodies.items():
        answer = client.ask("POST", "/invocations", body, headers(payload, Accept=kind))
        found.bodies[name] = (len(body.splitlines()), answer)
    found.chunked = client.ask("POST", "/invocations", payload.body, headers(payload), chunked=True)
    if found.by_lines:
        poisoned = b"\n".join([lines[0], b"\x01poison\x02", lines[0]]) + b"\n"
        found.poisoned = client.ask("POST", "/invocations", poisoned, headers(payload, Accept=kind))
        found.after_poison = client.ask("POST", "/invocations", payload.body, headers(payload))
    if found.parameters and (size := claimed_bytes(found.parameters)):
        found.claimed = client.ask("POST", "/invocations", enlarged(payload, size), headers(payload))


def claimed_bytes(parameters: Exchange) -> int:
    """The payload that /execution-parameters promises to take."""
    import json

    try:
        value = json.loads(parameters.body)["MaxPayloadInMB"]
    except (ValueError, KeyError, TypeError):
        return 0
    return min(LARGEST, int(value) * 10**6) if isinstance(value, int | float) and value > 0 else 0
