"""What an image need not have, and must do well where it says that it has it."""

from __future__ import annotations

import io
import tarfile
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import IO

from docker.errors import DockerException

from sagegen.check.bench import Bench
from sagegen.check.containers import Box
from sagegen.check.core import Evidence, Skip, scenario
from sagegen.check.fixture import CHANNEL
from sagegen.check.probe import BINARY, CLOSE, PING, PONG, TEXT, Client, Exchange, websocket
from sagegen.check.scenarios.serving import START, STREAM_PATH, Startup, headers, patience, served
from sagegen.check.scenarios.training import TRAIN, Run, to_tar_gz, train

UNDECLARED = "not claimed: the image has no label {}"


def _declared(bench: Bench, feature: str) -> None:
    if not bench.declares(feature):
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
def BIDIRECTIONAL(bench: Bench, evidence: Evidence) -> Conversation:
    """Speaks over a WebSocket as bidirectional streaming does."""
    if not bench.claims("bidirectional-streaming"):
        raise Skip(UNDECLARED.format("com.amazonaws.sagemaker.capabilities.bidirectional-streaming=true"))
    ordinary = evidence[START]
    ordinary.healthy()
    with served(bench, evidence, seconds=patience(bench, ordinary)) as (startup, _, address):
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
def STREAM(bench: Bench, evidence: Evidence) -> Answers:
    """Reads a response stream piece by piece."""
    _declared(bench, "response-stream")
    return _ask(bench, evidence, [{}])


@scenario("serve-session", after=(START,))
def SESSION(bench: Bench, evidence: Evidence) -> Answers:
    """Opens a stateful session and goes on in it."""
    _declared(bench, "sessions")
    name = "X-Amzn-SageMaker-Session-Id"
    return _ask(bench, evidence, [{name: "NEW_SESSION"}], then=lambda e: {name: e.split(";")[0]})


@scenario("serve-attributes", after=(START,))
def ATTRIBUTES(bench: Bench, evidence: Evidence) -> Answers:
    """Sends custom attributes to an endpoint that returns some."""
    _declared(bench, "custom-attributes")
    return _ask(bench, evidence, [{"X-Amzn-SageMaker-Custom-Attributes": "trace=1"}])


def _ask(bench: Bench, evidence: Evidence, requests: list[dict[str, str]], then: object = None) -> Answers:
    if not bench.payload:
        raise Skip("needs a request that the model answers – give one with --payload and --content-type")
    ordinary = evidence[START]
    ordinary.healthy()
    with served(bench, evidence, seconds=patience(bench, ordinary)) as (startup, _, address):
        if not address:
            return Answers(startup)
        client = Client(address, bench.limits.invocation, 60)
        found = []
        for more in requests:
            found.append(
                client.ask("POST", "/invocations", bench.payload.body, {**headers(bench.payload), **more})
            )
        if callable(then):
            identity = found[0].headers.get("x-amzn-sagemaker-session-id", "")
            more = then(identity)
            found.append(
                client.ask("POST", "/invocations", bench.payload.body, {**headers(bench.payload), **more})
            )
        return Answers(startup, tuple(found))


# --- training features ----------------------------------------------------------------------------------

#: Each channel on its own: the FIFO of epoch 0 at once, every other one two seconds late.
FEED = """
cd /opt/ml/input/data
for d in /opt/ml/pipes/*; do
  (e=0; while [ $e -lt 50 ]; do
    f=${d##*/}_$e
    [ $e = 0 ] || sleep 2
    mkfifo $f && cat $d/* > $f
    e=$((e+1))
  done) &
done
wait
"""


@scenario("train-pipe", after=(TRAIN,))
def PIPE(bench: Bench, evidence: Evidence) -> Run:
    """Trains in Pipe mode: one FIFO per channel and epoch, the next one coming late."""
    _declared(bench, "pipe")
    base = evidence[TRAIN]
    base.succeeded()
    channels = {name: {**channel, "TrainingInputMode": "Pipe"} for name, channel in base.job.channels.items()}
    with bench.fixture.data("given") as archive:
        files = _prefixed(archive, "pipes/")
    job = replace(base.job, channels=channels, data="none", writable_data=True, extra=files)

    def feed(box: Box) -> None:
        with suppress(DockerException):
            box.detach("/bin/sh", "-c", FEED)

    return train(bench, job, during=feed, seconds=60 + 5 * base.run.exit.seconds)


def _prefixed(archive: IO[bytes], prefix: str) -> dict[str, bytes | None]:
    found: dict[str, bytes | None] = {}
    with tarfile.open(fileobj=archive, mode="r:") as source:
        for entry in source:
            content = source.extractfile(entry) if entry.isfile() else None
            found[prefix + entry.name] = content.read() if content else None
    return found


ESCAPED = "/tmp/sagegen-check-escaped"


@dataclass(frozen=True)
class Incremental:
    """Training that goes on from an earlier model."""

    run: Run
    evil: Run
    escaped: bool


@scenario("train-incremental", after=(TRAIN,))
def INCREMENTAL(bench: Bench, evidence: Evidence) -> Incremental:
    """Trains from an earlier model.tar.gz in the channel `model`; then from one with `../` in its paths."""
    _declared(bench, "incremental")
    base = evidence[TRAIN]
    run = base.succeeded()
    if not run.model_archive:
        raise Skip("training left no model")
    with to_tar_gz(run.model_archive) as packed:
        good = packed.read()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name in ("../" * 8 + ESCAPED.lstrip("/"), ESCAPED):
            entry = tarfile.TarInfo(name)
            archive.addfile(entry, io.BytesIO())
    channels = {**base.job.channels, "model": CHANNEL}
    escaped: list[bool] = []

    def job(content: bytes) -> object:
        more: dict[str, bytes | None] = {"input/data/model/model.tar.gz": content}
        return replace(base.job, channels=channels, writable_data=True, extra={**base.job.extra, **more})

    def look(box: Box) -> None:
        box.wait(30 + 5 * run.exit.seconds)
        escaped.append(ESCAPED.rsplit("/", 1)[1] in box.files("/tmp"))

    ordinary = train(bench, job(good))  # type: ignore[arg-type]
    evil = train(bench, job(buffer.getvalue()), during=look)  # type: ignore[arg-type]
    return Incremental(ordinary, evil, any(escaped))
