"""A load client that counts: each request that was begun ends as exactly one result.

A result's outcome is an HTTP status, or one of: wrong answer (the right status, another body), refused (no
connection), cut (a connection that ended before the whole answer), timed out, malformed (not HTTP).
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

WRONG, REFUSED, CUT, TIMED_OUT, MALFORMED = "wrong answer", "refused", "cut", "timed out", "malformed"

#: Whoever was turned away asks again after this long, as a client with manners does.
BACK_OFF_SECONDS = 0.02
CONNECT_SECONDS = 2
LARGEST_ANSWER = 256 * 1024 * 1024


@dataclass(frozen=True)
class Request:
    """A request, and what makes its answer right."""

    name: str
    body: bytes = b""
    content_type: str = "text/csv"
    accept: str = "text/csv"
    path: str = "/invocations"
    method: str = "POST"
    status: int = 200
    answer: bytes | None = None

    def message(self, keep_alive: bool) -> bytes:
        """The bytes on the wire."""
        head = (
            f"{self.method} {self.path} HTTP/1.1\r\nHost: faults\r\nContent-Type: {self.content_type}\r\n"
            f"Accept: {self.accept}\r\nContent-Length: {len(self.body)}\r\n"
            f"Connection: {'keep-alive' if keep_alive else 'close'}\r\n\r\n"
        )
        return head.encode() + self.body

    def outcome(self, status: int, body: bytes) -> str:
        """What to count an answer as."""
        is_expected = status == self.status
        if is_expected and self.answer is not None and body != self.answer:
            return WRONG
        return str(status)


class Result(NamedTuple):
    """How one request ended. Times are of time.monotonic()."""

    name: str
    outcome: str
    is_right: bool
    began: float
    sent: float | None  # when its last byte was handed to the kernel
    ended: float


@dataclass(frozen=True)
class Report:
    """All results of a load."""

    begun: int
    results: Sequence[Result]

    @property
    def outcomes(self) -> Counter[str]:
        """How many requests ended in which way."""
        return Counter(result.outcome for result in self.results)

    @property
    def wrong(self) -> list[Result]:
        """Every request that did not end as it should."""
        return [result for result in self.results if not result.is_right]

    def latency(self, quantile: float) -> float:
        """Seconds from a request's begin to its right answer."""
        seconds = sorted(r.ended - r.began for r in self.results if r.is_right)
        return seconds[min(len(seconds) - 1, int(quantile * len(seconds)))] if seconds else float("nan")

    def __add__(self, other: Report) -> Report:
        return Report(self.begun + other.begun, [*self.results, *other.results])

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {outcome}" for outcome, count in self.outcomes.most_common())
        kinds = Counter(f"{r.name} -> {r.outcome}" for r in self.wrong)
        wrong = "".join(f"\n  {count} x {kind}" for kind, count in kinds.most_common(12))
        return (
            f"{self.begun} requests: {counts}; p50 {1000 * self.latency(0.5):.1f} ms,"
            f" p99 {1000 * self.latency(0.99):.1f} ms; {len(self.wrong)} not as they should be{wrong}"
        )


class Load:
    """Clients that ask one request after the other until the `with` block ends."""

    def __init__(
        self,
        address: tuple[str, int],
        mix: Iterable[Request],
        clients: int = 8,
        keep_alive: bool = True,
        timeout: float = 60,
        at_most: int | None = None,
    ) -> None:
        """`at_most` bounds the number of requests, which otherwise go on until the block ends."""
        self._at_most = at_most
        self._address = address
        self._mix = list(mix)
        self._clients = clients
        self._keep_alive = keep_alive
        self._timeout = timeout
        self._results: list[Result] = []
        self._begun = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load", daemon=True)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(self._timeout + 10)
        assert not self._thread.is_alive(), "the load client hangs"

    def stop(self) -> None:
        """Begin no more requests."""
        self._stopping.set()

    @property
    def ended(self) -> int:
        """How many requests have ended so far, one way or the other."""
        return len(self._results)

    @property
    def answered(self) -> int:
        """How many requests have got the right answer so far."""
        return sum(1 for result in self._results[:] if result.is_right)

    def answered_since(self, moment: float) -> int:
        """How many requests that began after that moment have got the right answer."""
        late = itertools.takewhile(lambda result: result.ended >= moment, reversed(self._results[:]))
        return sum(1 for result in late if result.is_right and result.began >= moment)

    @property
    def report(self) -> Report:
        """What came of it, once the block has ended."""
        assert len(self._results) == self._begun, f"{self._begun} begun, {len(self._results)} ended"
        return Report(self._begun, self._results)

    async def _run(self) -> None:
        offsets = [len(self._mix) * client // self._clients for client in range(self._clients)]
        await asyncio.gather(*(self._client(offset) for offset in offsets))

    async def _client(self, offset: int) -> None:
        connection = _Connection(self._address)
        for request in itertools.islice(itertools.cycle(self._mix), offset, None):
            if self._stopping.is_set() or self._begun == self._at_most:
                break
            self._begun += 1
            result = await connection.ask(request, self._keep_alive, self._timeout)
            self._results.append(result)
            if result.outcome in (REFUSED, CUT, "502", "503"):
                await asyncio.sleep(BACK_OFF_SECONDS)
        connection.close()


class _Connection:
    """One client's connection: kept where both sides want it, opened again where not."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, request: Request, keep_alive: bool, timeout: float) -> Result:
        began = time.monotonic()
        sent: float | None = None
        outcome = REFUSED
        try:
            async with asyncio.timeout(timeout):
                reader, writer = await self._open()
                outcome = CUT
                writer.write(request.message(keep_alive))
                try:
                    await writer.drain()
                    sent = time.monotonic()
                except OSError:
                    pass  # the answer may be there all the same: a refusal of a body that is too large
                status, body, kept = await _read_answer(reader)
                outcome = request.outcome(status, body)
                if not (kept and keep_alive):
                    self.close()
        except TimeoutError:
            outcome = TIMED_OUT
        except (OSError, EOFError):
            pass
        except ValueError:
            outcome = MALFORMED
        is_right = outcome == str(request.status)
        if not outcome.isdecimal():
            self.close()
        return Result(request.name, outcome, is_right, began, sent, time.monotonic())

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._reader and self._writer and not self._reader.at_eof() and not self._reader.exception():
            return self._reader, self._writer
        self.close()
        opening = asyncio.open_connection(*self._address, limit=1024 * 1024)
        try:
            reader, writer = await asyncio.wait_for(opening, CONNECT_SECONDS)
        except TimeoutError:  # a container that is gone says nothing
            raise ConnectionRefusedError from None
        self._reader, self._writer = reader, writer
        return reader, writer

    def close(self) -> None:
        if self._writer:
            self._writer.close()
        self._reader = self._writer = None


async def _read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bool]:
    """Status, body, and whether the connection may be used again."""
    while True:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        version, status = head.split(" ", 2)[:2]
        if not version.startswith("HTTP/1.") or not status.isdecimal():
            raise ValueError(f"not HTTP: {head[:100]!r}")
        if status != "100":
            break
    lines = (line.partition(":") for line in head.split("\r\n")[1:])
    headers = {name.strip().lower(): value.strip() for name, _, value in lines}
    kept = headers.get("connection", "keep-alive").lower() != "close"
    if "content-length" in headers:
        length = int(headers["content-length"])
        if length > LARGEST_ANSWER:
            raise ValueError(f"an answer of {length} bytes")
        return int(status), await reader.readexactly(length), kept
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return int(status), await _read_chunks(reader), kept
    return int(status), await reader.read(), False


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return body
