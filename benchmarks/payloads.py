"""What is sent: the same rows to everyone, as CSV where a contender reads it, else in its own JSON."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle, islice
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from benchmarks.errors import ContenderFailed

CSV, JSON, NPY = "text/csv", "application/json", "application/x-npy"
FIVE_MB = 5_000_000  # below the 5 MiB that the classic sample's nginx lets through
ONE_MB = 1_000_000
CONNECTIONS = 16


@dataclass(frozen=True)
class Route:
    """Where a contender takes one format; a body template and the place of the answer if it is JSON."""

    path: str
    body: str = ""
    answer: str = ""


@dataclass(frozen=True)
class Payload:
    """Rows in a format. What is large is sent on one connection: its time counts, not its rate."""

    name: str
    title: str
    format: str
    count: int
    connections: int = CONNECTIONS


@dataclass(frozen=True)
class Request:
    """A payload as one contender wants it."""

    path: str
    media_type: str
    body: bytes
    expected: Sequence[int]
    answer: str

    def check(self, response: bytes) -> None:
        """Raise if these are not the labels that the tree gives: a fast wrong answer is worth nothing."""
        try:
            got = [int(float(label)) for label in _labels(response, self.media_type, self.answer)]
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise ContenderFailed(f"an answer that cannot be read: {response[:200]!r}") from error
        if got != list(self.expected):
            raise ContenderFailed(f"a wrong answer: {response[:200]!r}")

    def raw(self, host: str) -> bytes:
        """The complete HTTP request."""
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {self.media_type}\r\n"
            f"Accept: {self.media_type}\r\nContent-Length: {len(self.body)}\r\n\r\n"
        )
        return head.encode() + self.body


class Rows:
    """Iris over and over, with what the tree says of each row; read from what iris/train.py left."""

    def __init__(self, file: Path) -> None:
        data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        self._rows: list[list[float]] = data["rows"]
        self._labels: list[int] = data["labels"]

    @cached_property
    def payloads(self) -> list[Payload]:
        """The five of the benchmark."""
        line = len(self._csv(self.rows(len(self._rows)))) / len(self._rows)
        return [
            Payload("one_row", "one row CSV", "csv", 1),
            Payload("rows_100", "100 rows CSV", "csv", 100),
            Payload("csv_5mb", "5 MB CSV", "csv", int(FIVE_MB / line), connections=1),
            Payload("json_row", "one row JSON", "json", 1),
            Payload("npy_1mb", "1 MB npy", "npy", ONE_MB // (4 * 8)),
        ]

    def request(self, payload: Payload, routes: dict[str, Route]) -> Request | None:
        """The payload for a contender with these routes; None if it has no way to take it."""
        rows = self.rows(payload.count)
        expected = list(islice(cycle(self._labels), payload.count))
        if payload.format == "csv" and (route := routes.get("csv")):
            return Request(route.path, CSV, self._csv(rows), expected, "")
        if payload.format in ("csv", "json") and (route := routes.get("json")):
            body = Template(route.body).substitute(rows=json.dumps(rows), count=len(rows))
            return Request(route.path, JSON, body.encode(), expected, route.answer)
        if payload.format == "npy" and (route := routes.get("npy")):
            out = io.BytesIO()
            np.save(out, np.array(rows))
            return Request(route.path, NPY, out.getvalue(), expected, "")
        return None

    def rows(self, count: int) -> list[list[float]]:
        """The first `count` rows of an endless repetition."""
        return list(islice(cycle(self._rows), count))

    @staticmethod
    def _csv(rows: list[list[float]]) -> bytes:
        return "".join(",".join(map(str, row)) + "\n" for row in rows).encode()


def _labels(response: bytes, media_type: str, path: str) -> list[Any]:
    if media_type == CSV:
        return response.split()
    if media_type == NPY:
        return list(np.load(io.BytesIO(response)).ravel())
    value: Any = json.loads(response)
    for step in filter(None, path.split(".")):
        value = value[int(step)] if step.isdecimal() else value[step]
    return list(np.ravel(value))
