"""Many requests: at once, in a row, cut short, and what becomes of the server meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import cycle, islice, pairwise

from sagegen.check.endpoint import enlarged, headers
from sagegen.check.fixture import GARBAGE
from sagegen.check.probe import Client, Exchange, hang_up
from sagegen.check.rig import Payload, Rig
from sagegen.check.scenarios.invocations import Invocations, variants
from sagegen.engine import Box, Usage

CLIENTS = 8
LARGE = 25 * 10**6
BUSY_BYTES = 4 * 10**6
BUSY_SHARE = 0.5  # of the seconds of load: large requests; the rest is mixed ones
PINGS = 200
FEWEST_PINGS = 20
PING_SECONDS = 0.6
ROUND = 80  # mixed requests between two measurements
ROUND_BYTES = 64 * 1024
ROUND_SECONDS = 1.5
ROUNDS = 4  # the first warms up
ALONE_SECONDS = 3.0
SETTLE_SECONDS = 0.15  # until the server has noticed that its client is gone
NO_PAYLOAD = Payload(b"{}", "application/json")

EMPTY_BODY, CLIENT_GONE = "after an empty body", "after a client hung up"


@dataclass(frozen=True)
class Alone:
    """A request that the server answered, when nothing else was going on."""

    body: bytes
    answer: Exchange
    steady: bool  # it got the same answer twice


@dataclass
class Load:
    """What many requests showed."""

    pings: list[Exchange] = field(default_factory=list)  # while nothing else was going on
    endings: list[str] = field(default_factory=list)  # after what a process of the server ended, each time
    parallel: list[Exchange] = field(default_factory=list)
    busy_alone: Exchange | None = None
    busy: list[Exchange] = field(default_factory=list)  # large requests in parallel
    busy_pings: list[Exchange] = field(default_factory=list)
    after: Exchange | None = None
    alone: list[Alone] = field(default_factory=list)
    mixed: list[tuple[Alone, Exchange]] = field(default_factory=list)
    asked_again: dict[bytes, Exchange] = field(default_factory=dict)  # alone, once more, where one differed
    usage: list[Usage] = field(default_factory=list)  # after each round
    requests: int = 0  # in a round
    ended: bool = False  # the container, before it was told to

    @property
    def answered(self) -> list[Exchange]:
        """Every exchange under load."""
        return [*self.parallel, *self.busy, *(exchange for _, exchange in self.mixed)]


def put_under_load(rig: Rig, client: Client, box: Box, asked: Invocations, found: Load) -> None:
    """Send small requests in parallel, then rounds of mixed ones, then large ones.

    Large ones come last: the memory that a server has freed after them would hide what it loses.
    """
    payload = rig.payload or NO_PAYLOAD
    predicts = asked.golden is not None and asked.golden.ok
    if predicts:
        with ThreadPoolExecutor(CLIENTS) as pool:
            found.parallel = list(pool.map(lambda _: _post(client, payload), range(CLIENTS)))
        _mix(rig, client, box, payload, found)
        asked.large = _post(client, payload, enlarged(payload, LARGE))
    _busy(rig, client, payload, found, large=predicts)


def ping_idle(rig: Rig, client: Client, found: Load) -> None:
    """Ping often enough to see a ping that is late one time in forty."""
    end = time.monotonic() + PING_SECONDS
    while len(found.pings) < FEWEST_PINGS or (len(found.pings) < PINGS and time.monotonic() < end):
        found.pings.append(client.ask("GET", "/ping", seconds=rig.limits.ping))


def _post(client: Client, payload: Payload, body: bytes | None = None) -> Exchange:
    return client.ask("POST", "/invocations", payload.body if body is None else body, headers(payload))


# --- requests that may end a process --------------------------------------------------------------------


def provoke(rig: Rig, client: Client, box: Box, asked: Invocations, found: Load) -> str:
    """Send an empty body, and hang up in the middle of a request; return what was done last."""
    payload = rig.payload or NO_PAYLOAD
    kind = headers(payload)
    upload = enlarged(payload, 2**20)

    def empty() -> None:
        asked.empty = _post(client, payload, b"")

    def hang_up_three_times() -> None:
        for reset in (False, True):
            hang_up(client.address, "/invocations", kind, upload, sent=len(upload) // 2, reset=reset)
        hang_up(client.address, "/invocations", kind, payload.body, sent=len(payload.body), reset=True)

    for name, act in ((EMPTY_BODY, empty), (CLIENT_GONE, hang_up_three_times)):
        ends = _ends_a_process(rig, client, box, act)
        if ends is None:
            found.ended = True
            return name
        # A server may renew its processes after so many requests: then good requests end them too.
        if ends and not _ends_a_process(rig, client, box, lambda: _post(client, payload)):
            found.endings.append(name)
    return ""


def _ends_a_process(rig: Rig, client: Client, box: Box, act: Callable[[], object]) -> bool | None:
    """Whether a process ends each of three times; None where the container ended."""
    for _ in range(3):
        before = box.pids()
        act()
        rig.lab.pause(SETTLE_SECONDS)
        after = box.pids()
        if after is None and not box.state().running:
            return None
        if not before or after is None or before <= after:
            return False
        end = time.monotonic() + 5
        while time.monotonic() < end and client.ask("GET", "/ping", seconds=rig.limits.ping).status != 200:
            rig.lab.pause(0.1)
    return True


# --- large requests in parallel -------------------------------------------------------------------------


def _busy(rig: Rig, client: Client, payload: Payload, found: Load, *, large: bool) -> None:
    """Ping while large requests keep every worker busy."""
    body = enlarged(payload, BUSY_BYTES) if large else payload.body
    if large:
        found.busy_alone = _without_body(_post(client, payload, body))
    done = threading.Event()

    def send(_: int) -> list[Exchange]:
        sent: list[Exchange] = []
        while not done.is_set():
            sent.append(_without_body(_post(client, payload, body)))
            if sent[-1].status is None:
                break
        return sent

    with ThreadPoolExecutor(CLIENTS) as pool:
        futures = [pool.submit(send, i) for i in range(CLIENTS)]
        end = time.monotonic() + max(1.5, BUSY_SHARE * rig.limits.load)
        try:
            while time.monotonic() < end:
                found.busy_pings.append(client.ask("GET", "/ping", seconds=rig.limits.ping))
                rig.lab.pause(0.15)
        finally:
            done.set()
        found.busy = [exchange for future in futures for exchange in future.result()]
    found.after = client.ask("GET", "/ping", seconds=rig.limits.ping)


def _without_body(exchange: Exchange) -> Exchange:
    """Megabytes that nothing looks at."""
    return replace(exchange, body=b"")


# --- rounds of mixed requests ---------------------------------------------------------------------------


def _mix(rig: Rig, client: Client, box: Box, payload: Payload, found: Load) -> None:
    """Rounds of good, bad, empty and cut requests, and what the server holds after each."""
    found.alone = list(_answered_alone(client, payload))
    if not found.alone:
        return
    for number in range(2 * ROUNDS - 1):
        if number == ROUNDS and not growth(found):
            break  # a second series only where the first one seems to leave something behind
        found.requests = _round(client, payload, found)
        rig.lab.pause(SETTLE_SECONDS)
        found.usage.append(box.usage())
        if found.requests < FEWEST_REQUESTS:
            break  # a slow model: too few to tell what they leave behind
    differing = {one.body for one, answer in found.mixed if answer.ok and answer.body != one.answer.body}
    found.asked_again = {body: _post(client, payload, body) for body in differing}


def _answered_alone(client: Client, payload: Payload) -> Iterator[Alone]:
    end = time.monotonic() + ALONE_SECONDS
    for body in variants(payload):
        first, second = _post(client, payload, body), _post(client, payload, body)
        if first.ok and second.ok:
            yield Alone(body, first, first.body == second.body)
        if time.monotonic() > end:
            return


def _round(client: Client, payload: Payload, found: Load) -> int:
    """Send the requests of one round, some at a time; return how many were sent in time."""
    kind, end = headers(payload), time.monotonic() + ROUND_SECONDS
    upload, wide = enlarged(payload, 4 * ROUND_BYTES), enlarged(payload, ROUND_BYTES)

    def send(index: int, one: Alone) -> bool:
        if time.monotonic() > end:
            return False
        match index % 10:
            case 0 | 1 if CLIENT_GONE not in found.endings:
                hang_up(client.address, "/invocations", kind, upload, sent=ROUND_BYTES, reset=index % 2 == 1)
            case 2:
                _post(client, payload, GARBAGE)
            case 3 if EMPTY_BODY not in found.endings:
                _post(client, payload, b"")
            case 4:
                _post(client, payload, wide)
            case _:
                found.mixed.append((one, _post(client, payload, one.body)))
        return True

    with ThreadPoolExecutor(CLIENTS) as pool:
        return sum(pool.map(send, range(ROUND), islice(cycle(found.alone), ROUND)))


#: What may be left behind by a request, and how much by how many is too much to be chance.
MEMORY_PER_ROUND = 2 * 2**20
LEFT_PER_REQUEST = 0.04
FEWEST_LEFT = 4
FEWEST_REQUESTS = 40
KINDS = {"memory": "bytes of memory", "tasks": "threads or processes", "descriptors": "open files",
         "files": "files on disk"}  # fmt: skip


def growth(found: Load) -> str:
    """What grew in every round after the first, and by how much; empty where nothing did."""
    if found.requests < FEWEST_REQUESTS or len(found.usage) < ROUNDS:
        return ""
    for kind, name in KINDS.items():
        held = [getattr(usage, kind) for usage in found.usage]
        if any(value is None for value in held):
            continue
        more = [after - before for before, after in pairwise(held)]
        least = max(FEWEST_LEFT, LEFT_PER_REQUEST * found.requests)
        if kind == "memory":
            least = max(MEMORY_PER_ROUND, more[0] / 2)
        if min(more) >= least:
            return f"{held[-1] - held[0]:,} more {name} after {found.requests * len(more)} requests"
    return ""
