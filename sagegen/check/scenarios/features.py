"""What an image need not have, and must do well where it says that it has it."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass

from sagegen.check.core import Evidence, Skip, scenario
from sagegen.check.endpoint import Startup, headers, patience, served
from sagegen.check.probe import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Address,
    Client,
    Exchange,
    WebSocket,
    websocket,
)
from sagegen.check.rig import Rig
from sagegen.check.scenarios.invocations import STREAM_PATH
from sagegen.check.scenarios.startup import START

SESSION_HEADER = "X-Amzn-SageMaker-Session-Id"
ATTRIBUTES_HEADER = "X-Amzn-SageMaker-Custom-Attributes"
BIDIRECTIONAL_LABEL = "com.amazonaws.sagemaker.capabilities.bidirectional-streaming"
STREAM, SESSION, ATTRIBUTES = "response-stream", "sessions", "custom-attributes"


@dataclass(frozen=True)
class Conversation:
    """A WebSocket connection of a bidirectional stream."""

    status: int = 0
    pong_seconds: float | None = None
    survived: dict[str, bool] | None = None
    closed: bool = False


@dataclass(frozen=True)
class Features:
    """What an endpoint showed of each feature that its image claims."""

    startup: Startup
    answers: dict[str, list[Exchange]]
    conversation: Conversation | None
    payload: bool

    def answered(self, feature: str) -> list[Exchange]:
        """The answers to the requests that use a feature; Skip where the image does not claim it."""
        if feature not in self.answers:
            raise Skip(f'not claimed: the image has no label sagegen.features="{feature}"')
        if not self.payload:
            raise Skip("needs a request that the model answers – give one with --payload and --content-type")
        self.startup.healthy()
        return self.answers[feature]

    def talked(self) -> Conversation:
        """The conversation; Skip where the image does not claim bidirectional streams."""
        if not self.conversation:
            raise Skip(f"not claimed: the image has no label {BIDIRECTIONAL_LABEL}=true")
        self.startup.healthy()
        return self.conversation


@scenario("serve-features", after=(START,))
def FEATURES(rig: Rig, evidence: Evidence) -> Features:
    """Uses what the image claims: response streams, sessions, custom attributes, bidirectional streams."""
    answers: dict[str, list[Exchange]] = {
        feature: [] for feature in (STREAM, SESSION, ATTRIBUTES) if rig.declares(feature)
    }
    talks = rig.claims("bidirectional-streaming")
    startup = ordinary = evidence[START]
    conversation = Conversation() if talks else None
    if ordinary.ok and (talks or answers):
        with served(rig, evidence, seconds=patience(rig, ordinary)) as (startup, _, address):
            if address:
                _use(rig, address, answers)
                conversation = _talk(address) if talks else None
    return Features(startup, answers, conversation, rig.payload is not None)


def _use(rig: Rig, address: Address, answers: dict[str, list[Exchange]]) -> None:
    client = Client(address, rig.limits.invocation, 60)

    def post(**more: str) -> Exchange:
        assert rig.payload
        return client.ask("POST", "/invocations", rig.payload.body, headers(rig.payload, **more))

    if not rig.payload:
        return
    if STREAM in answers:
        answers[STREAM] = [post()]
    if SESSION in answers:
        opened = post(**{SESSION_HEADER: "NEW_SESSION"})
        identity = opened.headers.get(SESSION_HEADER.lower(), "").split(";")[0]
        answers[SESSION] = [opened, post(**{SESSION_HEADER: identity})]
    if ATTRIBUTES in answers:
        answers[ATTRIBUTES] = [post(**{ATTRIBUTES_HEADER: "trace=1"})]


def _talk(address: Address) -> Conversation:
    with websocket(address, STREAM_PATH, 3) as socket:
        if not socket or socket.status != 101:
            return Conversation(socket.status if socket else 0)
        pong = _pong(socket, b"first")
        survived = {}
        with suppress(OSError):
            socket.send(TEXT, b"hello")
            survived["text"] = _pong(socket, b"text") is not None
            socket.send(BINARY, bytes(range(8)))
            survived["binary"] = _pong(socket, b"binary") is not None
            socket.send(TEXT, b"Hel", final=False)
            socket.send(0, b"lo")
            survived["fragmented"] = _pong(socket, b"fragmented") is not None
        closed = False
        with suppress(OSError):
            socket.send(CLOSE, (1000).to_bytes(2, "big"))
            while frame := socket.receive():
                if frame[0] == CLOSE:
                    closed = True
                    break
        return Conversation(101, pong, survived, closed)


def _pong(socket: WebSocket, payload: bytes) -> float | None:
    """Seconds until the server answers a ping; other frames may come first."""
    begun = time.monotonic()
    with suppress(OSError):
        socket.send(PING, payload)
        while time.monotonic() - begun < 3 and (frame := socket.receive()):
            if frame[0] == CLOSE:
                return None
            if frame == (PONG, payload):
                return time.monotonic() - begun
    return None
