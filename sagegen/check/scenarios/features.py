"""What an image need not have, and must do well where it says that it has it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from sagegen.check.core import Evidence, Skip, scenario
from sagegen.check.endpoint import Startup, headers, patience, served
from sagegen.check.probe import BINARY, CLOSE, PING, PONG, TEXT, Client, Exchange, websocket
from sagegen.check.rig import Rig
from sagegen.check.scenarios.invocations import STREAM_PATH
from sagegen.check.scenarios.startup import START

UNDECLARED = "not claimed: the image has no label {}"


def _declared(rig: Rig, feature: str) -> None:
    if not rig.declares(feature):
        raise Skip(UNDECLARED.format(f'sagegen.features="{feature}"'))


# --- bidirectional streaming ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Conversation:
    """A WebSocket connection of a bidirectional stream."""

    startup: Startup
    status: int = 0
    pong_seconds: float | None = None
    survived: dict[str, bool] | None = None
    closed: bool = False


@scenario("serve-bidirectional", after=(START,))
def BIDIRECTIONAL(rig: Rig, evidence: Evidence) -> Conversation:
    """Speaks over a WebSocket as bidirectional streaming does."""
    if not rig.claims("bidirectional-streaming"):
        raise Skip(UNDECLARED.format("com.amazonaws.sagemaker.capabilities.bidirectional-streaming=true"))
    ordinary = evidence[START]
    ordinary.healthy()
    with served(rig, evidence, seconds=patience(rig, ordinary)) as (startup, _, address):
        if not address:
            return Conversation(startup)
        with websocket(address, STREAM_PATH, 3) as socket:
            if not socket or socket.status != 101:
                return Conversation(startup, socket.status if socket else 0)
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
            return Conversation(startup, 101, pong, survived, closed)


def _pong(socket: object, payload: bytes) -> float | None:
    """Seconds until the server answers a ping; other frames may come first."""
    import time

    from sagegen.check.probe import WebSocket

    assert isinstance(socket, WebSocket)
    begun = time.monotonic()
    with suppress(OSError):
        socket.send(PING, payload)
        while time.monotonic() - begun < 3 and (frame := socket.receive()):
            if frame[0] == CLOSE:
                return None
            if frame == (PONG, payload):
                return time.monotonic() - begun
    return None


# --- response streams and sessions ----------------------------------------------------------------------


@dataclass(frozen=True)
class Answers:
    """Requests to an endpoint that has a feature."""

    startup: Startup
    exchanges: tuple[Exchange, ...] = ()


@scenario("serve-stream", after=(START,))
def STREAM(rig: Rig, evidence: Evidence) -> Answers:
    """Reads a response stream piece by piece."""
    _declared(rig, "response-stream")
    return _ask(rig, evidence, [{}])


@scenario("serve-session", after=(START,))
def SESSION(rig: Rig, evidence: Evidence) -> Answers:
    """Opens a stateful session and goes on in it."""
    _declared(rig, "sessions")
    name = "X-Amzn-SageMaker-Session-Id"
    return _ask(rig, evidence, [{name: "NEW_SESSION"}], then=lambda e: {name: e.split(";")[0]})


@scenario("serve-attributes", after=(START,))
def ATTRIBUTES(rig: Rig, evidence: Evidence) -> Answers:
    """Sends custom attributes to an endpoint that returns some."""
    _declared(rig, "custom-attributes")
    return _ask(rig, evidence, [{"X-Amzn-SageMaker-Custom-Attributes": "trace=1"}])


def _ask(rig: Rig, evidence: Evidence, requests: list[dict[str, str]], then: object = None) -> Answers:
    if not rig.payload:
        raise Skip("needs a request that the model answers – give one with --payload and --content-type")
    ordinary = evidence[START]
    ordinary.healthy()
    with served(rig, evidence, seconds=patience(rig, ordinary)) as (startup, _, address):
        if not address:
            return Answers(startup)
        client = Client(address, rig.limits.invocation, 60)
        found = []
        for more in requests:
            found.append(
                client.ask("POST", "/invocations", rig.payload.body, {**headers(rig.payload), **more})
            )
        if callable(then):
            identity = found[0].headers.get("x-amzn-sagemaker-session-id", "")
            more = then(identity)
            found.append(
                client.ask("POST", "/invocations", rig.payload.body, {**headers(rig.payload), **more})
            )
        return Answers(startup, tuple(found))
