"""One request after the other: what an endpoint answers to each kind of request."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sagegen.check.endpoint import by_lines, headers, media_type
from sagegen.check.fixture import GARBAGE
from sagegen.check.probe import Client, Exchange, websocket
from sagegen.check.rig import Payload, Rig

VARIANTS = 8
UNSUPPORTED = "application/x-sagegen-unsupported"
STREAM_PATH = "/invocations-bidirectional-stream"

JUNK_HEADERS = {f"X-Amzn-Junk-{i:02d}": f"value {i}" for i in range(20)}
KNOWN_HEADERS = {
    "X-Amzn-SageMaker-Custom-Attributes": "trace=1;check=sagegen",
    "X-Amzn-SageMaker-Target-Variant": "AllTraffic",
    "X-Amzn-SageMaker-Target-Container-Hostname": "first",
    "X-Amzn-SageMaker-Inference-Id": "sagegen-check",
    "X-Amzn-SageMaker-Enable-Explanations": "true",
    "X-Amzn-SageMaker-Inference-Component": "component-1",
    "X-Amzn-SageMaker-Prefix-Aware-Id": "prefix-1",
    "X-Amzn-SageMaker-Forwarded-Api": "InvokeEndpoint",
}


@dataclass
class Invocations:
    """The answer to each kind of request; None where it was not sent."""

    post_ping: Exchange | None = None
    golden: Exchange | None = None
    repeated: list[Exchange] = field(default_factory=list)  # the golden request, over and over
    junk: Exchange | None = None
    known: Exchange | None = None
    any_accept: Exchange | None = None
    charset: Exchange | None = None
    unsupported_type: Exchange | None = None
    unsupported_accept: Exchange | None = None
    malformed: Exchange | None = None
    after_malformed: Exchange | None = None
    empty: Exchange | None = None
    kept: list[Exchange] = field(default_factory=list)
    large: Exchange | None = None
    metrics: Exchange | None = None
    models: Exchange | None = None
    websocket_status: int | None = None

    @property
    def steady(self) -> bool:
        """Whether the same request always got the same answer."""
        return len({answer.body for answer in self.repeated if answer.ok}) <= 1

    @property
    def steady_lines(self) -> bool:
        """Whether the answers to the same request always had as many lines."""
        return len({lines(answer) for answer in self.repeated if answer.ok}) <= 1


def lines(answer: Exchange) -> int:
    """How many lines an answer has."""
    return len(answer.body.splitlines())


def ask_everything(rig: Rig, client: Client, found: Invocations) -> None:
    """Send one request of each kind to the paths of every endpoint."""
    found.post_ping = client.ask("POST", "/ping", seconds=rig.limits.ping)
    if rig.payload:
        _ask_with_payload(client, found, rig.payload, rig.limits.invocation)


def ask_other_paths(client: Client, found: Invocations) -> None:
    """Send what SageMaker sends only to some endpoints, last: no other answer depends on it."""
    found.metrics = client.ask("GET", "/metrics", seconds=5)
    found.models = client.ask("GET", "/models", seconds=5)
    with websocket(client.address, STREAM_PATH, 3) as socket:
        found.websocket_status = socket.status if socket else None


def _ask_with_payload(client: Client, found: Invocations, payload: Payload, seconds: float) -> None:
    def post(body: bytes = payload.body, more: Mapping[str, str] | None = None) -> Exchange:
        return client.ask("POST", "/invocations", body, {**headers(payload), **(more or {})})

    found.golden = post()
    found.junk = post(more=JUNK_HEADERS)
    found.known = post(more=KNOWN_HEADERS)
    found.any_accept = post(more={"Accept": "*/*"})
    if with_charset := _with_charset(payload):
        found.charset = post(more={"Content-Type": with_charset})
    found.unsupported_type = post(more={"Content-Type": UNSUPPORTED})
    found.unsupported_accept = post(more={"Accept": UNSUPPORTED})
    found.malformed = post(GARBAGE)
    found.after_malformed = post()
    connection = http.client.HTTPConnection(*client.address, timeout=seconds)
    try:
        for _ in range(3):
            found.kept.append(
                client.ask("POST", "/invocations", payload.body, headers(payload), connection=connection)
            )
    finally:
        connection.close()
    found.repeated = [found.golden, found.after_malformed, *found.kept, post()]


def _with_charset(payload: Payload) -> str | None:
    """The Content-Type with a charset, where it is a text type that has none."""
    kind = media_type(payload)
    textual = kind.startswith("text/") or kind.endswith("json") or kind.endswith("jsonlines")
    if not textual or "charset" in payload.content_type.lower():
        return None
    return f"{payload.content_type}; charset=utf-8"


def variants(payload: Payload) -> list[bytes]:
    """Requests with different records of the payload, and different numbers of them.

    Of a payload whose records cannot be told apart there is one variant: the payload itself.
    """
    if by_lines(payload):
        rows = [line for line in payload.body.splitlines() if line.strip()]
        return [b"".join(row + b"\n" for row in some) for some in _choices(rows)]
    try:
        content = json.loads(payload.body)
    except ValueError:
        return [payload.body]
    if isinstance(content, list) and content:
        return [json.dumps(some).encode() for some in _choices(content)]
    if isinstance(content, dict):
        arrays = [name for name, value in content.items() if isinstance(value, list) and value]
        if len(arrays) == 1:
            some_of_it = _choices(content[arrays[0]])
            return [json.dumps({**content, arrays[0]: some}).encode() for some in some_of_it]
    return [payload.body]


def _choices(rows: list[Any]) -> list[list[Any]]:
    return [[rows[(i + k) % len(rows)] for k in range(i + 1)] for i in range(VARIANTS if rows else 0)]
