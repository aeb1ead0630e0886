"""An endpoint that ends: told to by SIGTERM, or because one of its processes was killed."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from sagegen.check.core import Evidence, Skip, scenario
from sagegen.check.endpoint import Startup, headers, patience, served
from sagegen.check.probe import Address, Exchange, Flight, ask
from sagegen.check.rig import Payload, Rig
from sagegen.check.scenarios.batch import TRANSFORM
from sagegen.check.scenarios.pipeline import PIPELINE, SPARE
from sagegen.check.scenarios.startup import START
from sagegen.engine import Box, Exit

LOAD_SECONDS = 0.5  # of requests before the signal
AFTER_SECONDS = 1.0  # for answers that are still on their way when the container has ended


@dataclass(frozen=True)
class Stop:
    """How a server under load took SIGTERM."""

    exit: Exit
    in_flight: int  # requests that had been sent completely when the signal came, and were not answered yet
    lost: tuple[Exchange, ...]  # those of them that never got an answer


def stop_under_load(rig: Rig, box: Box, address: Address, payload: Payload, bodies: Sequence[bytes]) -> Stop:
    """Send SIGTERM while a client for each of the bodies sends requests, one after the other.

    The clients go on after the signal. What they send then may be refused.
    """
    flights: list[Flight] = [Flight() for _ in bodies]
    stopped = threading.Event()

    def send(index: int) -> None:
        kept = http.client.HTTPConnection(*address, timeout=rig.limits.stop_serving) if index % 2 else None
        while not stopped.is_set():
            flight = flights[index] = Flight()
            flight.answer = ask(
                address,
                "POST",
                "/invocations",
                bodies[index],
                headers(payload),
                seconds=rig.limits.stop_serving + 5,
                connection=kept,
                flight=flight,
            )
            if flight.answer.status is None:
                break
        if kept:
            kept.close()

    threads = [threading.Thread(target=send, args=(i,), daemon=True) for i in range(len(bodies))]
    for thread in threads:
        thread.start()
    rig.lab.pause(LOAD_SECONDS)
    signalled = time.monotonic()
    sent = [flight for flight in flights if flight.delivered]
    exit_ = box.stop(rig.limits.stop_serving)
    stopped.set()
    deadline = time.monotonic() + AFTER_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    for flight in flights:
        flight.cut()
    for thread in threads:
        thread.join()
    in_flight = [f.answer for f in sent if f.answer and f.ended > signalled]
    return Stop(exit_, len(in_flight), tuple(answer for answer in in_flight if answer.status is None))


@dataclass(frozen=True)
class Crash:
    """A server after one of its processes was killed."""

    startup: Startup
    processes: int
    killed: str = ""
    exit: Exit | None = None
    ping: Exchange | None = None
    golden: Exchange | None = None


PROCESSES = 'for d in /proc/[0-9]*; do read -r s < $d/stat && echo "$s"; done 2>/dev/null'


@scenario("serve-crash", after=(START,), later=(PIPELINE, TRANSFORM), again=True)
def CRASH(rig: Rig, evidence: Evidence) -> Crash:
    """Kills each process of the server in turn, to see whether anybody notices."""
    ordinary = evidence[START]
    ordinary.healthy()
    with ExitStack() as stack:
        kept = rig.take(SPARE)
        if kept and kept.box.state().running:
            stack.enter_context(kept.place)
            startup, box, address = kept.startup, kept.box, kept.address
        else:
            place = served(rig, evidence, seconds=patience(rig, ordinary))
            startup, box, begun = stack.enter_context(place)
            if not begun:
                return Crash(startup, 0)
            address = begun
        children = _processes(box)
        if children is None:
            raise Skip("the image has no shell, so no process in it can be killed")
        for pid, name in children:
            # Those that came anew are as good as those that went.
            if not box.kill(pid):
                continue
            exit_, ping = _after_kill(rig, box, address, ordinary)
            golden = None
            if rig.payload and ordinary.predicts and not exit_:
                body = rig.payload.body
                golden = ask(address, "POST", "/invocations", body, headers(rig.payload), seconds=10)
            found = Crash(startup, len(children), name, exit_, ping, golden)
            if exit_ or ping is None or ping.status != 200 or (golden and not golden.ok):
                return found
        ping = ask(address, "GET", "/ping", seconds=rig.limits.ping)
        return Crash(startup, len(children), "", None, ping)


def _processes(box: Box) -> list[tuple[str, str]] | None:
    text = box.shell(PROCESSES)
    if text is None:
        return None
    found = []
    for line in text.splitlines():
        pid, _, rest = line.partition(" ")
        name, _, fields = rest.rpartition(")")
        if pid != "1" and fields.split()[1:2] != ["0"]:
            found.append((pid, name.lstrip("(")))
    return found


def _after_kill(
    rig: Rig, box: Box, address: Address, ordinary: Startup
) -> tuple[Exit | None, Exchange | None]:
    """Wait until the container has ended, or answers steadily again."""
    end = time.monotonic() + patience(rig, ordinary)
    steady, ping = 0, None
    while time.monotonic() < end and steady < 4:
        state = box.state()
        if not state.running:
            return state, ping
        ping = ask(address, "GET", "/ping", seconds=rig.limits.ping)
        steady = steady + 1 if ping.status == 200 else 0
        rig.lab.pause(0.25)
    return None, ping
