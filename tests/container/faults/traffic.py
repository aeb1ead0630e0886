"""What a busy endpoint gets: every media type, small and large, good and bad, each with its right answer."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet

from .load import Request

PAYLOADS = Path(__file__).with_name("numbers")
CSV, JSON, JSON_LINES = "text/csv", "application/json", "application/jsonlines"
NPY, PARQUET = "application/x-npy", "application/x-parquet"

RECORDS: list[dict[str, float]] = json.loads((PAYLOADS / "records.json").read_bytes())
NAMES = list(RECORDS[0])
ROWS = [list(record.values()) for record in RECORDS]
EXPECTED = (PAYLOADS / "expected.csv").read_text().split()
LIMIT = 25 * 1024 * 1024  # S-23


def csv_body(rows: Sequence[Sequence[float]]) -> bytes:
    """Rows as CSV, without a header."""
    return "".join(",".join(map(str, row)) + "\n" for row in rows).encode()


def npy_body(array: object) -> bytes:
    """An array as a .npy file."""
    out = io.BytesIO()
    np.save(out, np.asarray(array))
    return out.getvalue()


def parquet_body(columns: dict[str, object], **options: object) -> bytes:
    """Columns as a Parquet file."""
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), out, **options)
    return out.getvalue()


def good(count: int) -> list[Request]:
    """The same rows in every media type, and their predictions."""
    rows = [ROWS[n % len(ROWS)] for n in range(count)]
    answer = "".join(f"{EXPECTED[n % len(EXPECTED)]}\n" for n in range(count)).encode()
    records = [dict(zip(NAMES, row, strict=True)) for row in rows]
    bodies = {
        CSV: csv_body(rows),
        JSON: json.dumps({"instances": rows}).encode(),
        JSON_LINES: "\n".join(map(json.dumps, records)).encode(),
        NPY: npy_body(rows),
        PARQUET: parquet_body({name: [row[i] for row in rows] for i, name in enumerate(NAMES)}),
    }
    return [
        Request(f"{media_type} x {count}", body, media_type, answer=answer)
        for media_type, body in bodies.items()
    ]


def one_row() -> list[Request]:
    """One CSV row each, as fast as possible."""
    return [
        Request("one row", csv_body([row]), answer=f"{expected}\n".encode())
        for row, expected in zip(ROWS, EXPECTED, strict=True)
    ]


def bad() -> list[Request]:
    """Mistakes that clients make, of every media type."""
    return [
        Request("csv with text", b"39.1,18.7,many,3750\n", CSV, status=400),
        Request("csv with a column too few", b"39.1,18.7,181\n", CSV, status=400),
        Request("half a json", b'{"instances": [[39.1, 18', JSON, status=400),
        Request("deep json", b"[" * 20_000, JSON, status=400),
        Request("half a json line", b"[1,2,3,4]\n[1,", JSON_LINES, status=400),
        Request("half an npy", npy_body(ROWS)[:-8], NPY, status=400),
        Request("not parquet", b"PAR1" * 8, PARQUET, status=400),
        Request("xml", b"<rows/>", "text/xml", status=415),
        Request("accept an image", csv_body(ROWS[:1]), CSV, "image/png", status=406),
        Request("no such path", b"", CSV, path="/models", status=404),
        Request("wrong method", b"", CSV, method="PUT", status=405),
    ]


def others() -> list[Request]:
    """The routes beside /invocations."""
    gets = ("/ping", "/execution-parameters", "/metrics")
    return [Request(path, path=path, method="GET") for path in gets]


def mixed(seed: int = 1) -> list[Request]:
    """All of it, in an order that a seed decides; mostly small and mostly good."""
    mix = [*one_row() * 20, *good(1) * 20, *good(100) * 8, *good(20_000), *bad() * 2, *others() * 8]
    mix.append(Request("too large", b"1" * (LIMIT + 1), status=413))
    random.Random(seed).shuffle(mix)
    return mix
