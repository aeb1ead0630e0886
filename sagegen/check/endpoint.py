"""An endpoint's container: how it is started, reached, and sent requests."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from sagegen.check.core import Evidence, Skip
from sagegen.check.probe import Address, Exchange, ask
from sagegen.check.rig import Payload, Rig
from sagegen.check.scenarios.artifacts import MODEL
from sagegen.engine import Box, Exit, Spec, StartFailed
from sagegen.platform import PORT, serving, transform_environment

#: Types of which a body holds one record per line.
LINES = ("text/csv", "application/jsonlines", "text/plain")
#: The environment of a transform job, and what the SDK's local mode makes of it.
TRANSFORM_JOB = transform_environment()
LOCAL_TRANSFORM = {"SAGEMAKER_BATCH": "True"}
LISTENING = "0A"
LOOK_SECONDS = 3.0  # until the sockets of a server without a connection are listed for the first time


@dataclass(frozen=True)
class Startup:
    """A server's way to its first healthy ping."""

    line: str
    start_error: str = ""
    healthy_seconds: float | None = None
    answers: tuple[Exchange, ...] = ()
    exit: Exit | None = None  # it ended by itself
    listening: tuple[tuple[str, int], ...] | None = None
    connected: bool = False
    log: str = ""
    first: Exchange | None = None  # the first request, right after the first healthy ping
    predicts: bool = False  # it answered the payload
    asked: str = ""  # what it was asked last before it ended

    @property
    def ok(self) -> bool:
        """It became healthy."""
        return self.healthy_seconds is not None

    @property
    def trouble(self) -> str:
        """Why it did not, for people."""
        if self.start_error:
            return f"cannot start: {self.start_error}"
        last = next((text for text in reversed(self.log.splitlines()) if text.strip()), "")
        if self.exit:
            memory = ", out of memory" if self.exit.out_of_memory else ""
            when = f" {self.asked}" if self.asked else ""
            return f"ended by itself{when} with exit code {self.exit.code}{memory}: {last[:160]}"
        if self.answers:
            return f"/ping: {self.answers[-1]}"
        return "no connection"

    def healthy(self) -> None:
        """Raise Skip unless it became healthy."""
        if not self.ok:
            raise Skip("the server never became healthy, see S-01, S-10, S-11 and S-13")


def start(
    rig: Rig,
    box: Box,
    line: str,
    *,
    seconds: float | None = None,
    port: int = PORT,
) -> tuple[Startup, Address | None]:
    """Start a server and ping it until it is healthy, has ended, or the time is up."""
    patience = seconds or rig.limits.timeout
    try:
        box.start()
    except StartFailed as error:
        return Startup(line, str(error)), None
    answers: list[Exchange] = []
    connected, wrong_since = False, None
    healthy: float | None = None
    address = None
    next_look = LOOK_SECONDS
    while box.age < patience:
        address = address or box.address(port)
        if address:
            answer = ask(address, "GET", "/ping", seconds=rig.limits.ping)
            answers.append(answer)
            connected = connected or _connected(rig, answer)
            if answer.status == 200:
                healthy = box.age
                break
            # An answer that can only be wrong: not "still starting".
            sane = not connected or answer.refused or (answer.status or 0) >= 500
            wrong_since = None if sane else wrong_since or time.monotonic()
            if wrong_since and time.monotonic() - wrong_since > rig.limits.give_up:
                break
        # An answer says that it runs.
        if (not answers or answers[-1].status is None) and not (state := box.state()).running:
            log = "\n".join(text for _, text in box.logs())
            return Startup(line, answers=tuple(answers), exit=state, connected=connected, log=log), None
        if address and not connected and box.age > next_look:
            next_look = box.age * 1.5
            if _out_of_reach(rig, box, address, port):
                break
        rig.lab.pause(0.1 if box.age < 10 else 0.5)
    log = "\n".join(text for _, text in box.logs())
    listening = sockets(box) if healthy is None else None
    return (
        Startup(line, "", healthy, tuple(answers), None, listening, connected, log),
        address if healthy is not None else None,
    )


def _connected(rig: Rig, answer: Exchange) -> bool:
    """Whether the server accepted. A published port accepts, and closes, where no server listens yet."""
    closed = answer.status is None and answer.error.startswith("connection")
    return answer.connect_seconds is not None and (rig.lab.direct or not closed)


def _out_of_reach(rig: Rig, box: Box, address: Address, port: int) -> bool:
    """Whether the server listens on the port already, and still cannot be reached over IPv4 from outside."""
    if not any(number == port for _, number in sockets(box) or ()):
        return False
    return not _connected(rig, ask(address, "GET", "/ping", seconds=rig.limits.ping))


def sockets(box: Box) -> tuple[tuple[str, int], ...] | None:
    """The listening TCP sockets inside; None without a shell."""
    script = (
        'for f in /proc/net/tcp /proc/net/tcp6; do while read -r a b c d e; do echo "$b $d"; done < $f; done'
    )
    text = box.shell(script)
    if text is None:
        return None
    found = set()
    for line in text.splitlines():
        where, _, state = line.partition(" ")
        host, _, port = where.partition(":")
        if state == LISTENING and port:
            # The engine's own DNS answers on 127.0.0.11.
            if host == "0B00007F":
                continue
            found.add((_host(host), int(port, 16)))
    return tuple(sorted(found, key=lambda s: s[1]))


def _host(text: str) -> str:
    if len(text) == 8:
        return ".".join(str(byte) for byte in reversed(bytes.fromhex(text)))
    if text.endswith("0100007F") or text == "00000000000000000000000001000000":
        return "127.0.0.1"
    return "[::]"


def server(rig: Rig, evidence: Evidence, network: str, **changes: object) -> Spec:
    """An endpoint's container: the model read-only, nothing in the environment."""
    spec = serving(evidence[MODEL].volume, network)
    return replace(spec, **changes)  # type: ignore[arg-type]


@contextmanager
def served(
    rig: Rig, evidence: Evidence, *, seconds: float | None = None, **changes: object
) -> Iterator[tuple[Startup, Box, Address | None]]:
    """A started endpoint in special surroundings, where the ordinary one works."""
    spec = server(rig, evidence, rig.lab.network(), **changes)
    port = int(spec.environment.get("SAGEMAKER_BIND_TO_PORT", PORT))
    with rig.lab.container(spec) as box:
        startup, address = start(rig, box, rig.serving(spec), seconds=seconds, port=port)
        yield startup, box, address


def patience(rig: Rig, ordinary: Startup) -> float:
    """Enough for a server that starts like one that took so long."""
    return min(rig.limits.timeout, rig.limits.settle + 6 * (ordinary.healthy_seconds or 0))


def headers(payload: Payload, **more: str) -> dict[str, str]:
    """The headers of a request with this payload."""
    return {"Content-Type": payload.content_type, **{k.replace("_", "-"): v for k, v in more.items()}}


def media_type(payload: Payload) -> str:
    """The payload's Content-Type without parameters."""
    return payload.content_type.partition(";")[0].strip().lower()


def by_lines(payload: Payload) -> bool:
    """Whether each line of the payload is a record."""
    return media_type(payload) in LINES


def enlarged(payload: Payload, size: int) -> bytes:
    """The payload's records over and over, up to a size in bytes; other bodies end in blanks."""
    if by_lines(payload):
        body = payload.body.rstrip(b"\n") + b"\n"
        return body * max(1, size // len(body))
    return payload.body + b" " * max(0, size - len(payload.body))


def curl(
    payload: Payload | None, *, body: str = "@PAYLOAD", kind: str = "", more: str = "", port: int = PORT
) -> str:
    """The golden request, or one with another body or Content-Type, as curl's arguments."""
    kind = kind or (payload.content_type if payload else "text/csv")
    return f"-H 'Content-Type: {kind}'{more} --data-binary {body} http://localhost:{port}/invocations"


def slowest(exchanges: Sequence[Exchange]) -> float:
    """Seconds of the longest exchange."""
    return max((e.seconds for e in exchanges), default=0.0)


def percentile(exchanges: Sequence[Exchange], share: float) -> float:
    """Seconds within which a share of the exchanges was over."""
    ordered = sorted(e.seconds for e in exchanges)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
