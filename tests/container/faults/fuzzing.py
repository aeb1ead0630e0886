"""Requests that nobody would write by hand, for the codecs in this process and for a container."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import pyarrow
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from .load import Request
from .traffic import CSV, JSON, JSON_LINES, NAMES, NPY, PARQUET, good, npy_body, parquet_body

#: More by option, as in `make soak`: then they are other ones in each run, too.
EXAMPLES = int(os.environ.get("SAGEGEN_FUZZ_EXAMPLES", "0"))


def few(examples: int) -> settings:
    """The same examples in every run of the tests."""
    return settings(
        max_examples=EXAMPLES or examples,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


GOOD = {request.content_type: request.body for request in good(3)}

cells = st.one_of(
    st.floats().map(repr),
    st.integers().map(str),
    st.sampled_from(
        ["", " ", "nan", "inf", "-Infinity", "1e400", "1_000", "0x1p3", "١٢", "1,5", '"', "\x00", "#1"]
    ),
    st.text(max_size=8),
)
ends = st.sampled_from(["\n", "\r\n", "\r", "\n\n", "\x0b", "\u2028", "\x1c"])
rows_of_cells = st.lists(
    st.one_of(st.lists(cells, min_size=4, max_size=4), st.lists(cells, max_size=6)), max_size=6
)


@st.composite
def csv_bodies(draw: st.DrawFn) -> bytes:
    """Rows of anything, perhaps below a header."""
    end = draw(ends)
    head = draw(
        st.sampled_from(
            [[], NAMES, NAMES[::-1], NAMES[:3], [*NAMES, "species"], [f'"{NAMES[0]}"', *NAMES[1:]]]
        )
    )
    rows = [*([head] if head else []), *draw(rows_of_cells)]
    return end.join(",".join(row) for row in rows).encode("utf-8", "surrogatepass")


values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just([]), st.just({})
)
json_rows = st.lists(
    st.one_of(st.lists(values, min_size=4, max_size=4), st.lists(values, max_size=5)), max_size=4
)
json_records = st.lists(
    st.one_of(
        st.fixed_dictionaries(dict.fromkeys(NAMES, values)),
        st.dictionaries(st.sampled_from(NAMES), values),
    ),
    max_size=4,
)
json_anything = st.recursive(
    values,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from([*NAMES, "instances", "inputs", "columns", "data", "records", "features"]), inner
        ),
    ),
    max_leaves=12,
)
json_values = st.one_of(
    json_rows,
    json_records,
    json_anything,
    st.builds(
        lambda key, rows: {key: rows}, st.sampled_from(["instances", "inputs", "records", "x"]), json_rows
    ),
    st.builds(
        lambda names, rows: {"columns": names, "data": rows},
        st.sampled_from([NAMES, NAMES[:2], 3, "abcd", {}]),
        json_rows,
    ),
    st.fixed_dictionaries({name: st.one_of(values, st.lists(values, max_size=3)) for name in NAMES}),
)
json_bodies = json_values.map(lambda value: json.dumps(value).encode())
json_lines_bodies = st.lists(json_values, max_size=5).map(
    lambda lines: "\n".join(map(json.dumps, lines)).encode()
)

dtypes = st.sampled_from(
    [
        "<f8",
        ">f8",
        "<f4",
        "<f2",
        "<f16",
        "<i8",
        ">i2",
        "|u1",
        "<u8",
        "|b1",
        "<c16",
        "<U3",
        "|S2",
        "|S0",
        "|V3",
        "|V0",
        "<M8[s]",
        "<m8[D]",
        "<f8,<i4",
    ]
)
shapes = st.one_of(
    st.just((2, 4)),
    st.tuples(st.integers(0, 3), st.integers(0, 5)),
    st.lists(st.integers(0, 3), max_size=4).map(tuple),
)


@st.composite
def npy_bodies(draw: st.DrawFn) -> bytes:
    """Arrays of every type and shape, or files that only say so."""
    dtype, shape = np.dtype(draw(dtypes)), draw(shapes)
    size = int(np.prod(shape)) * dtype.itemsize
    content = draw(st.binary(min_size=size, max_size=size))
    if draw(st.booleans()):
        array = (
            np.frombuffer(content, dtype).reshape(shape)
            if dtype.itemsize and size
            else np.zeros(shape, dtype)
        )
        return npy_body(np.asfortranarray(array) if draw(st.booleans()) else array)
    claimed = draw(
        st.sampled_from([shape, (10**9, 4), (10**15, 4), (2**63, 4), (-1, 4), (4,), (0, 4), ("a", 4)])
    )
    header = f"{{'descr': {dtype.str!r}, 'fortran_order': {draw(st.booleans())}, 'shape': {claimed}, }}"
    header = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + content


def _column(draw: st.DrawFn, rows: int) -> Any:
    """A column of one of Arrow's types."""

    def some(each: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(st.one_of(each, st.none()), min_size=rows, max_size=rows))

    kind = draw(
        st.sampled_from(
            ["float64", "float32", "int64", "bool", "string", "list", "struct", "date", "dict", "decimal"]
        )
    )
    match kind:
        case "float64" | "float32":
            return pyarrow.array(some(st.floats(width=32)), kind)
        case "int64":
            return pyarrow.array(some(st.integers(-(2**63), 2**63 - 1)), "int64")
        case "bool":
            return pyarrow.array(some(st.booleans()), "bool")
        case "string":
            return pyarrow.array(some(st.text(st.characters(codec="utf-8"), max_size=4)), "string")
        case "list":
            return pyarrow.array(
                some(st.lists(st.floats(width=32), max_size=3)), pyarrow.list_(pyarrow.float64())
            )
        case "struct":
            return pyarrow.array([{"a": 1}] * rows, pyarrow.struct({"a": pyarrow.int64()}))
        case "date":
            return pyarrow.array(some(st.dates()), "date32")
        case "decimal":
            return pyarrow.array(some(st.decimals("-9", "9", places=2)), pyarrow.decimal128(9, 2))
    return pyarrow.array(some(st.sampled_from(["a", "b"])), "string").dictionary_encode()


@st.composite
def parquet_bodies(draw: st.DrawFn) -> bytes:
    """Tables of every type."""
    rows = draw(st.integers(0, 3))
    names = draw(st.sampled_from([NAMES, NAMES[::-1], NAMES[:3], [*NAMES, "species"], []]))
    if draw(st.booleans()):
        columns = {name: pyarrow.array([1.0] * rows, "float64") for name in names}
        if names:
            columns[draw(st.sampled_from(names))] = _column(draw, rows)
    else:
        columns = {name: _column(draw, rows) for name in names}
    return parquet_body(columns, compression=draw(st.sampled_from(["snappy", "gzip", "zstd", "none"])))


@st.composite
def damaged(draw: st.DrawFn, content_type: str) -> bytes:
    """A good body with a few bytes changed, lost or added."""
    body = bytearray(GOOD[content_type])
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(body)))
        end = min(len(body), start + draw(st.sampled_from([0, 1, 1, 2, 4, 100])))
        body[start:end] = draw(st.binary(max_size=6))
    return bytes(body)


BODIES = {
    CSV: csv_bodies(),
    JSON: json_bodies,
    JSON_LINES: json_lines_bodies,
    NPY: npy_bodies(),
    PARQUET: parquet_bodies(),
}
charsets = st.sampled_from(
    [
        "",
        "",
        "",
        "; charset=utf-16",
        "; charset=latin-1",
        '; charset="UTF-8"',
        "; charset=utf-7",
        "; charset=punycode",
        "; charset=idna",
        "; charset=unicode_escape",
        "; charset=hex",
        "; charset=undefined",
        "; charset=",
        "; charset=\x00",
    ]
)
printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)
accepts = st.one_of(
    st.sampled_from([CSV, JSON, JSON_LINES, NPY, PARQUET]),
    st.sampled_from(
        ["*/*", "text/*;q=0.1", "*/*;q=0", "a/b, text/csv;q=nan", ",", ";", "text/csv;q=1e999", "*;q=-1", "/"]
    ),
    printable,
)


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """A request of any type with a body that may fit it."""
    content_type = draw(st.sampled_from(list(BODIES)))
    body = draw(
        st.one_of(
            BODIES[content_type],
            damaged(content_type),
            st.binary(max_size=64),
            st.sampled_from(list(GOOD.values())),
        )
    )
    header = content_type + draw(charsets)
    if draw(st.integers(0, 19)) == 0:
        header = draw(printable)
    return Request("fuzz", body, header, draw(accepts))
