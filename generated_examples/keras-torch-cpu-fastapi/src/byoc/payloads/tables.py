"""Requests become the columns that a Table declares (B-10).

A cell is read by its column's type alone: other rows and the size of the body do not matter. An empty CSV
cell, a null, a NaN and a key that a record leaves out are missing, which only an optional column may be.
"""

import csv
import io
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow
from pyarrow import compute

from byoc.inputs import Column, Table
from byoc.payloads import decoding
from byoc.payloads.media_types import CSV, JSON, JSON_LINES, PARQUET, ContentType

TYPES = {
    "number": pyarrow.float64(),
    "whole_number": pyarrow.int64(),
    "text": pyarrow.string(),
    "category": pyarrow.string(),
    "boolean": pyarrow.bool_(),
    "date": pyarrow.timestamp("us"),
}
EXPECTED = {
    "number": "a finite number",
    "whole_number": "a whole number of 64 bits",
    "text": "a text",
    "boolean": "true or false",
    "date": "a date such as 2026-01-31 or 2026-01-31T12:00:00Z",
}
# What a Parquet column may hold, by predicates of pyarrow.types.
HELD = {
    "number": ("integer", "floating", "decimal"),
    "whole_number": ("integer", "floating"),
    "text": ("string", "large_string"),
    "category": ("string", "large_string"),
    "boolean": ("boolean",),
    "date": ("timestamp", "date", "string", "large_string"),
}
NEUTRAL = {"number": 0.0, "whole_number": 0, "text": "text", "boolean": False, "date": datetime(2000, 1, 1)}


def decode(body: bytes, content_type: str | None, table: Table) -> Any:
    """Decode a request body to a dict of arrays of shape [rows], or to a DataFrame.

    Raises RequestError 400 for a bad body, 413 for one that becomes too large, 415 for an unknown type.
    """
    columns = decoding.read(body, content_type, DECODERS, table)
    if not len(columns[table.names[0]]):
        raise decoding.bad_body("the body holds no rows")
    for name, column in table.columns.items():
        if columns[name].null_count and not column.optional:
            row = compute.index(columns[name].is_null(), True).as_py() + 1
            raise decoding.bad_body(f"row {row}, column {name!r} is missing; send {_expected(column)}")
    return _arrays(columns, table)


def neutral(table: Table) -> Any:
    """One row in which nothing is missing, for the first prediction of a worker."""
    cells = {name: c.values[0] if c.values else NEUTRAL[c.type] for name, c in table.columns.items()}
    return _arrays(
        {n: pyarrow.array([cell], TYPES[table.columns[n].type]) for n, cell in cells.items()}, table
    )


def _decode_csv(body: bytes, kind: ContentType, table: Table) -> dict[str, pyarrow.Array]:
    text = body.decode(kind.charset).removeprefix("\ufeff").strip("\r\n")
    ends = [0]

    def lines() -> Iterator[str]:
        for line in re.finditer(r"[^\r\n]*(?:\r\n|\r|\n|\Z)", text):
            ends.append(line.end())
            yield line.group()

    first = [cell.strip() for cell in next(csv.reader(lines(), strict=True), [])]
    present = list(table.names)
    if len(first) > max(decoding.MOST_COLUMNS, 2 * len(present)):
        raise decoding.bad_body(f"row 1 has {len(first)} columns; send {', '.join(table.names)[:500]}")
    named = set(table.names).intersection(first)
    has_header = kind.header == "present" or (
        kind.header != "absent" and named and named >= set(table.required)
    )
    if has_header:
        present = [name for name in table.names if name in named or not table.columns[name].optional]
        order = decoding.positions_of(first, present)
        if first != list(table.names) and os.environ.get("SAGEMAKER_BATCH", "").lower() == "true":
            # Batch transform splits a file, and only its first piece has the header.
            raise decoding.bad_body(f"in a batch the header must be {','.join(table.names)[:500]}")
    else:
        order = list(range(len(first)))
        if len(first) != len(present):
            raise decoding.bad_body(f"each row must have {decoding.listed_values(present)}, not {len(first)}")
    data = (text[ends[-1] :] if has_header else text).encode()
    if not data.strip():
        raise decoding.bad_body("the body holds no rows")
    types = {str(i): TYPES[table.columns[name].type] for i, name in zip(order, present, strict=True)}
    if "x" in text or "X" in text:  # Arrow takes 0x10 for a whole number
        types = {n: pyarrow.string() if held == pyarrow.int64() else held for n, held in types.items()}
    try:
        cells = _read_csv(data, len(first), types)
        if not all(_is_finite(cells.column(n)) for n, held in types.items() if held == pyarrow.float64()):
            raise pyarrow.ArrowInvalid
    except pyarrow.ArrowInvalid:  # then a column that it cannot read is read cell by cell
        cells = _read_csv(data, len(first), dict.fromkeys(types, pyarrow.string()))
    read = dict(zip(present, map(_one, cells.columns), strict=True))
    return {
        name: _from_texts(read[name], name, column) if name in read else _missing(cells.num_rows, column)
        for name, column in table.columns.items()
    }


def _read_csv(data: bytes, width: int, types: Mapping[str, pyarrow.DataType]) -> pyarrow.Table:
    """Columns 0, 1, ... of the given types."""
    from pyarrow import csv as arrow_csv

    names = [str(n) for n in range(width)]
    return arrow_csv.read_csv(
        pyarrow.BufferReader(data),
        # One block: then a row may have any size.
        arrow_csv.ReadOptions(
            column_names=names, use_threads=False, block_size=min(len(data) + 1, 2**31 - 1)
        ),
        arrow_csv.ParseOptions(newlines_in_values=True),
        arrow_csv.ConvertOptions(
            include_columns=list(types), column_types=types, null_values=[""], strings_can_be_null=True
        ),
    )


def _decode_json(body: bytes, kind: ContentType, table: Table) -> dict[str, pyarrow.Array]:
    return _from_json(decoding.parse_json(body, kind), table)


def _decode_json_lines(body: bytes, kind: ContentType, table: Table) -> dict[str, pyarrow.Array]:
    return _from_rows(decoding.parse_json_lines(body, kind, table.names), table)


def _decode_parquet(body: bytes, kind: ContentType, table: Table) -> dict[str, pyarrow.Array]:
    from pyarrow import parquet

    file = parquet.ParquetFile(io.BytesIO(body))
    schema = file.schema_arrow
    present = [name for name in table.names if name in schema.names or not table.columns[name].optional]
    decoding.positions_of(schema.names, present)
    texts = []
    for name in present:
        held, expected = schema.field(name).type, table.columns[name]
        values = held.value_type if pyarrow.types.is_dictionary(held) else held
        if not any(getattr(pyarrow.types, f"is_{what}")(values) for what in (*HELD[expected.type], "null")):
            raise decoding.bad_body(f"column {name!r} holds {str(held)[:200]}; send {_expected(expected)}")
        if "string" in HELD[expected.type]:
            texts.append(name)
    # A few bytes may stand for many equal rows: this is checked before they are unpacked.
    rows = sum(file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups))
    unpacked = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
    decoding.check_expansion(max(unpacked, rows * len(present) * 8), len(body))
    read = parquet.read_table(io.BytesIO(body), columns=present, read_dictionary=texts, use_threads=False)
    for name in texts:
        for chunk in read.column(name).chunks if pyarrow.types.is_dictionary(read.field(name).type) else ():
            lengths = compute.binary_length(chunk.dictionary).take(chunk.indices)
            decoding.check_expansion(compute.sum(lengths).as_py() or 0, len(body))
    columns = {}
    for name, column in table.columns.items():
        columns[name] = _missing(rows, column)
        if name in present:
            cells = _one(read.column(name))
            if name in texts and not pyarrow.types.is_temporal(cells.type):
                columns[name] = _from_texts(cells.cast(pyarrow.string()), name, column, is_csv=False)
            elif column.type == "whole_number" and pyarrow.types.is_floating(cells.type):
                columns[name] = _from_values(cells.to_pylist(), name, column)  # pandas' for numbers and gaps
            else:
                # Nanoseconds are cut, and a number of 64 bits may be rounded.
                columns[name] = _finite(
                    cells.cast(TYPES[column.type], safe=column.type == "whole_number"), name, column
                )
    return columns


def _from_json(value: Any, table: Table) -> dict[str, pyarrow.Array]:
    """A list of rows, a record, columns, {"columns": ..., "data": ...}, or one of these under a key."""
    if isinstance(value, list):
        is_row = len(table.names) > 1 and value and not any(isinstance(cell, (list, dict)) for cell in value)
        return _from_rows([value] if is_row else value, table)
    if not isinstance(value, dict):
        raise decoding.bad_body("the JSON body must be an object or a list")
    if named := [name for name in table.names if name in value]:
        if not all(isinstance(value[name], list) for name in named):
            return _from_rows([value], table)
        if len({len(value[name]) for name in named}) > 1:
            raise decoding.bad_body(f"all columns must have the same length: {', '.join(named)[:500]}")
        return _from_rows(
            [dict(zip(named, row, strict=True)) for row in zip(*map(value.get, named), strict=True)], table
        )
    if "columns" in value and "data" in value:
        decoding.positions_of(value["columns"], [name for name in table.names if name in value["columns"]])
        if any(len(row) != len(value["columns"]) for row in value["data"]):
            raise decoding.bad_body("each row must have one value for each named column")
        return _from_rows([dict(zip(value["columns"], row, strict=True)) for row in value["data"]], table)
    if len(keys := decoding.ROW_KEYS & value.keys()) == 1:
        return _from_json(value[keys.pop()], table)
    raise decoding.bad_body(
        f'send {{"instances": [...]}} or {{"inputs": [...]}} with records of {", ".join(table.names)[:500]}'
    )


def _from_rows(rows: Any, table: Table) -> dict[str, pyarrow.Array]:
    """Rows as records, as lists in the declared order, or as single values of the only column."""
    lists = []
    for number, row in enumerate(rows, start=1):
        if isinstance(row, dict) and not row.keys().isdisjoint(table.names):
            lists.append([row.get(name) for name in table.names])
            continue
        cells = row if isinstance(row, list) else [row]
        if isinstance(row, dict) or len(cells) != len(table.names):
            raise decoding.bad_body(
                f"row {number} must be a record or a list of {decoding.listed_values(table.names)}"
            )
        lists.append(cells)
    columns = zip(*lists, strict=True) if lists else [() for _ in table.names]
    return {
        name: _from_values(cells, name, table.columns[name])
        for name, cells in zip(table.names, columns, strict=True)
    }


def _from_texts(cells: pyarrow.Array, name: str, column: Column, is_csv: bool = True) -> pyarrow.Array:
    """A column of texts. Arrow reads plain ones; a column with others is read cell by cell."""
    if column.type == "text" or cells.type not in (pyarrow.string(), pyarrow.null()):
        return cells
    try:
        if column.type == "category":
            if compute.all(compute.is_in(cells, pyarrow.array([*column.values, None]))).as_py() is not False:
                return cells
        elif (
            column.type != "whole_number"
            or not compute.any(compute.match_substring(cells, "x", ignore_case=True)).as_py()
        ):
            read = cells.cast(TYPES[column.type])
            if column.type != "number" or _is_finite(read):
                return read
    except pyarrow.ArrowInvalid:
        pass
    return _from_values(cells.to_pylist(), name, column, READ_TEXT if is_csv else None)


def _from_values(
    cells: Iterable[Any], name: str, column: Column, readers: Mapping[str, Callable[[str], Any]] | None = None
) -> pyarrow.Array:
    """A column of Python's values; with `readers` they are texts, and without their types must be right."""
    values = []
    for row, cell in enumerate(cells, start=1):
        try:
            value = cell
            if readers and cell is not None:
                value = readers[column.type](cell.strip()) if cell.strip() else None
            is_missing = value is None or (isinstance(value, float) and math.isnan(value))
            values.append(None if is_missing else _value(value, column))
        except (ValueError, OverflowError):
            raise decoding.bad_body(
                f"row {row}, column {name!r} is {repr(cell)[:200]}; send {_expected(column)}"
            ) from None
    return pyarrow.array(values, TYPES[column.type])


def _value(value: Any, column: Column) -> Any:
    """The value of one cell. Raises ValueError where the column cannot hold it."""
    kind = type(value)
    if column.type == "number" and kind in (int, float) and math.isfinite(value):
        return float(value)
    if column.type == "whole_number" and kind in (int, float) and int(value) == value:
        limit = 2**63 if kind is int else 2**53  # a float beyond is rounded
        if -limit <= value < limit:
            return int(value)
    if column.type == "boolean" and kind is bool:
        return value
    if column.type == "text" and kind is str:
        return value
    if column.type == "category" and value in column.values:
        return value
    if column.type == "date" and kind is str:
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    raise ValueError


def _whole_number(cell: str) -> int | float:
    try:
        return int(cell)
    except ValueError:
        return float(cell)


READ_TEXT: Mapping[str, Callable[[str], Any]] = {
    "number": float,
    "category": str,
    "date": str,
    "whole_number": _whole_number,
    "boolean": lambda cell: {"true": True, "1": True, "false": False, "0": False}.get(cell.lower(), cell),
}


def _finite(cells: pyarrow.Array, name: str, column: Column) -> pyarrow.Array:
    """The same with nulls for NaN, and without infinity."""
    if column.type != "number":
        return cells
    if compute.any(compute.is_inf(cells)).as_py():
        return _from_values(cells.to_pylist(), name, column)  # raises, and names the row
    return compute.if_else(compute.is_nan(cells), None, cells)


def _is_finite(cells: pyarrow.Array | pyarrow.ChunkedArray) -> bool:
    return compute.all(compute.is_finite(cells)).as_py() is not False


def _missing(rows: int, column: Column) -> pyarrow.Array:
    return pyarrow.nulls(rows, TYPES[column.type])


def _one(cells: pyarrow.ChunkedArray) -> pyarrow.Array:
    return (
        pyarrow.concat_arrays(cells.unify_dictionaries().chunks) if cells.num_chunks != 1 else cells.chunk(0)
    )


def _expected(column: Column) -> str:
    return f"one of {', '.join(column.values)[:500]}" if column.values else EXPECTED[column.type]


def _arrays(columns: Mapping[str, pyarrow.Array], table: Table) -> Any:
    if table.dataframe:
        return _dataframe(columns, table)
    return {name: _array(columns[name], name, column) for name, column in table.columns.items()}


def _array(cells: pyarrow.Array, name: str, column: Column) -> np.ndarray[Any, Any]:
    if column.type == "whole_number" and column.optional:
        try:
            cells = cells.cast(pyarrow.float64())
        except pyarrow.ArrowInvalid:
            raise decoding.bad_body(
                f"column {name!r} has a number beyond 2**53, which a float cannot hold"
            ) from None
    array: np.ndarray[Any, Any] = cells.to_numpy(zero_copy_only=False, writable=True)
    return array.astype(object) if column.type == "boolean" and column.optional else array


def _dataframe(columns: Mapping[str, pyarrow.Array], table: Table) -> Any:
    import pandas  # only models that ask for a DataFrame have it

    def held(cells: pyarrow.Array, name: str, column: Column) -> Any:
        if column.type == "category":
            codes = compute.fill_null(compute.index_in(cells, pyarrow.array(column.values)), -1)
            return pandas.Categorical.from_codes(codes.to_numpy(), column.values)
        if column.optional and column.type in ("whole_number", "boolean"):
            array = {"whole_number": pandas.arrays.IntegerArray, "boolean": pandas.arrays.BooleanArray}[
                column.type
            ]
            filled = compute.fill_null(cells, pyarrow.scalar(0).cast(cells.type))
            is_null = cells.is_null().to_numpy(zero_copy_only=False)
            return array(filled.to_numpy(zero_copy_only=False, writable=True), is_null.copy())
        array = _array(cells, name, column)
        return pandas.Series(array, dtype=object) if column.type == "text" else array

    read = {name: held(columns[name], name, column) for name, column in table.columns.items()}
    return pandas.DataFrame(read, copy=False)


DECODERS: Mapping[str, Callable[[bytes, ContentType, Table], dict[str, pyarrow.Array]]] = {
    CSV: _decode_csv,
    JSON: _decode_json,
    JSON_LINES: _decode_json_lines,
    PARQUET: _decode_parquet,
}
