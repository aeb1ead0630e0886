"""Bodies become the columns that Numbers or a Table declares (B-10).

A cell is read by its column's type alone: other rows and the size of the body do not matter. An empty CSV
cell, a null, a NaN and a key that a record leaves out are missing, which only an optional column may be.
"""

import csv
import io
import math
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pyarrow
from numpy.typing import NDArray
from pyarrow import compute

from byoc.inputs import Column, Numbers, Table
from byoc.payloads import bodies
from byoc.payloads.bodies import CSV, JSON, JSON_LINES, NPY, PARQUET, ContentType, bad_body

Array = NDArray[Any]
Columns = dict[str, pyarrow.Array]

# Up to this size, Python reads numbers faster than Arrow.
FEW_CHARACTERS = 2500
# Each column costs Arrow more than many cells.
MOST_COLUMNS = 4096


class Kind(NamedTuple):
    """How Arrow holds a type, what a Parquet column may hold for it, a value, and what errors ask for."""

    arrow: pyarrow.DataType
    parquet: tuple[str, ...]  # predicates of pyarrow.types
    neutral: Any
    expected: str
    from_text: Callable[[str], Any] = str


def to_float(cell: str) -> float:
    """The number that a text holds. Raises ValueError, for Python's 1_000 too."""
    return float(cell.replace("_", "?"))


def _whole_number(cell: str) -> int | float:
    try:
        return int(cell.replace("_", "?"))
    except ValueError:
        return to_float(cell)


def _boolean(cell: str) -> bool | str:
    return {"true": True, "1": True, "false": False, "0": False}.get(cell.lower(), cell)


NUMBERS = ("integer", "floating", "decimal")
TEXTS = ("string", "large_string")
DATE = "a date such as 2026-01-31 or 2026-01-31T12:00:00Z"
KINDS = {
    "number": Kind(pyarrow.float64(), NUMBERS, 0.0, "a finite number", to_float),
    "whole_number": Kind(pyarrow.int64(), NUMBERS[:2], 0, "a whole number of 64 bits", _whole_number),
    "text": Kind(pyarrow.string(), TEXTS, "text", "a text"),
    "category": Kind(pyarrow.string(), TEXTS, "", "a text"),
    "boolean": Kind(pyarrow.bool_(), ("boolean",), False, "true or false", _boolean),
    "date": Kind(pyarrow.timestamp("us"), ("timestamp", "date", *TEXTS), datetime(2000, 1, 1), DATE),
}


def decode(body: bytes, content_type: str | None, declared: Numbers | Table) -> Any:
    """Decode a body to an array [rows, columns], a dict of arrays [rows], or a DataFrame.

    Raises RequestError 400 for a bad body, 413 for one that becomes too large, 415 for an unknown type.
    """
    decoders = NUMBER_DECODERS if isinstance(declared, Numbers) else DECODERS
    columns = bodies.read(body, content_type, decoders, declared)
    if isinstance(columns, np.ndarray):
        return columns
    if not len(columns[declared.names[0]]):
        raise bad_body("the body holds no rows")
    for name, column in declared.columns.items():
        if columns[name].null_count and not column.optional:
            row = compute.index(columns[name].is_null(), True).as_py() + 1
            raise bad_body(f"row {row}, column {name!r} is missing; send {_expected(column)}")
    return _arrays(columns, declared)


def neutral(declared: Numbers | Table) -> Any:
    """One row in which nothing is missing, for the first prediction of a worker."""
    columns = {}
    for name, column in declared.columns.items():
        cell = column.values[0] if column.values else KINDS[column.type].neutral
        columns[name] = pyarrow.array([cell], KINDS[column.type].arrow)
    return _arrays(columns, declared)


def _decode_csv(body: bytes, kind: ContentType, declared: Numbers | Table) -> Any:
    text = kind.text(body).lstrip("\r\n")
    end = len(text.rstrip())
    if (line_end := text.find("\n", end)) >= 0:  # blank lines after the last row
        text = text[:line_end].rstrip("\r")
    if isinstance(declared, Numbers) and len(text) <= FEW_CHARACTERS and not kind.header:
        with suppress(ValueError):  # what is not this simple is read with care
            return _few_numbers(text, declared)
    lines = io.StringIO(text, newline="")
    first = [cell.strip() for cell in next(csv.reader(lines, strict=True), [])]
    names = list(declared.names)
    if len(first) > max(MOST_COLUMNS, 2 * len(names)):
        raise bad_body(f"row 1 has {len(first)} columns; send {', '.join(names)[:500]}")
    order = list(range(len(first)))
    if has_header := _is_header(first, kind, declared):
        if first != names and os.environ.get("SAGEMAKER_BATCH", "").lower() == "true":
            # Batch transform splits a file, and only its first piece has the header.
            raise bad_body(f"in a batch the header must be {','.join(names)[:500]}")
        names = _present(first, declared)
        order = bodies.positions(first, names)
    elif len(first) != len(names):
        hint = "; separate them by commas" if any(mark in first[0] for mark in ";\t|") else ""
        raise bad_body(f"each row must have {bodies.listed_values(names)}, not {len(first)}{hint}")
    data = (text[lines.tell() :] if has_header else text).encode()
    types = [KINDS[declared.columns[name].type].arrow for name in names]
    if "x" in text or "X" in text:  # Arrow takes 0x10 for a whole number
        types = [pyarrow.string() if held == pyarrow.int64() else held for held in types]
    try:
        cells = _read_csv(data, len(first), order, types)
        if not all(_is_finite(column) for column in cells.columns if column.type == pyarrow.float64()):
            raise pyarrow.ArrowInvalid
    except pyarrow.ArrowInvalid:  # then a column that it cannot read is read cell by cell
        cells = _read_csv(data, len(first), order, [pyarrow.string()] * len(order))
    return _columns(cells.rename_columns(names), declared, _from_texts)


def _few_numbers(text: str, declared: Numbers) -> Array:
    rows = [line.split(",") for line in text.split("\n") if line]
    if rows[0] == list(declared.names):
        del rows[0]
    elif not declared.columns.keys().isdisjoint(map(str.strip, rows[0])):
        raise ValueError("a header in another order")
    if "_" in text and "_" in "".join(chain.from_iterable(rows)):
        raise ValueError("NumPy reads 1_000 too")
    return _complete(np.array(rows, dtype=np.float64), declared)


def _complete(numbers: Array, declared: Numbers) -> Array:
    """The same array. Raises ValueError where it has another shape than declared, or lacks a number."""
    if numbers.shape[1:] != (len(declared.names),) or not len(numbers) or not np.isfinite(numbers).all():
        raise ValueError("not one finite number for each column")
    return numbers


def _is_header(first: list[str], kind: ContentType, declared: Numbers | Table) -> bool:
    """A row that names columns is a header where no cell of a row could be such a name."""
    if kind.header:
        return kind.header == "present"
    named = declared.columns.keys() & first
    is_numeric = {column.type for column in declared.columns.values()} == {"number"}
    return bool(named) and (is_numeric or set(_present((), declared)) <= named)


def _present(sent: Iterable[str], declared: Numbers | Table) -> list[str]:
    """The declared columns that must be, or are, among the client's."""
    return [name for name, column in declared.columns.items() if name in sent or not column.optional]


def _read_csv(data: bytes, width: int, order: list[int], types: list[pyarrow.DataType]) -> pyarrow.Table:
    from pyarrow import csv as arrow_csv

    if not data.strip():
        raise bad_body("the body holds no rows")
    wanted = [str(position) for position in order]
    return arrow_csv.read_csv(
        pyarrow.BufferReader(data),
        # One block: then a row may have any size.
        arrow_csv.ReadOptions(
            column_names=[str(n) for n in range(width)],
            use_threads=False,
            block_size=min(len(data) + 1, 2**31 - 1),
        ),
        arrow_csv.ParseOptions(newlines_in_values=True),
        arrow_csv.ConvertOptions(
            include_columns=wanted,
            column_types=dict(zip(wanted, types, strict=True)),
            null_values=[""],
            strings_can_be_null=True,
        ),
    )


def _decode_json(body: bytes, kind: ContentType, declared: Numbers | Table) -> Any:
    only_numbers = body[:1] == b"{" and body.count(b'"') == 2  # which are those of "instances"
    return _from_rows(bodies.rows(bodies.parse_json(body, kind), declared.names), declared, only_numbers)


def _decode_json_lines(body: bytes, kind: ContentType, declared: Numbers | Table) -> Any:
    return _from_rows(bodies.parse_json_lines(body, kind), declared)


def _from_rows(rows: list[Any], declared: Numbers | Table, only_numbers: bool = False) -> Any:
    if isinstance(declared, Numbers):
        with suppress(ValueError, TypeError, OverflowError):
            numbers = np.array(rows, dtype=np.float64)
            # NumPy reads numbers in texts.
            if only_numbers or str not in map(type, chain.from_iterable(rows)):
                return _complete(numbers, declared)
    if (listed := bodies.lists(rows, declared.names)) is not rows:
        return _from_rows(listed, declared)
    if isinstance(declared, Numbers):  # as in .npy and Parquet, true is 1
        rows = [[int(cell) if isinstance(cell, bool) else cell for cell in row] for row in rows]
    cells = zip(*rows, strict=True) if rows else [()] * len(declared.names)
    pairs = zip(declared.columns.items(), cells, strict=True)
    return {name: _from_values(values, name, column) for (name, column), values in pairs}


def load_npy(body: bytes, kinds: str, wanted: str) -> Array:
    """An .npy array of these kinds of NumPy's types, in this machine's byte order."""
    array = np.load(io.BytesIO(body), allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise bad_body("the body must be one .npy array, not an archive")
    if array.dtype.kind not in kinds or not array.dtype.itemsize:
        raise bad_body(f"the values are of type {array.dtype}; send {wanted}")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _decode_npy(body: bytes, kind: ContentType, declared: Numbers) -> Any:
    numbers = load_npy(body, "biuf", "numbers")
    if numbers.ndim < 2:
        numbers = numbers.reshape((-1, 1) if len(declared.names) == 1 else (1, -1))
    if numbers.dtype != np.float32:
        numbers = numbers.astype(np.float64)
    with suppress(ValueError):
        return _complete(numbers, declared)
    return _from_rows(numbers.tolist(), declared)


def holds(held: pyarrow.DataType, kind: str) -> bool:
    """Whether a Parquet column of this type may stand for a declared one of this kind."""
    values = held.value_type if pyarrow.types.is_dictionary(held) else held
    return any(getattr(pyarrow.types, f"is_{what}")(values) for what in (*KINDS[kind].parquet, "null"))


def _decode_parquet(body: bytes, kind: ContentType, declared: Numbers | Table) -> Columns:
    from pyarrow import parquet

    file = parquet.ParquetFile(io.BytesIO(body))
    schema = file.schema_arrow
    present = _present(schema.names, declared)
    bodies.positions(schema.names, present)
    for name in present:
        held, column = schema.field(name).type, declared.columns[name]
        is_flag = isinstance(declared, Numbers) and holds(held, "boolean")
        if not (is_flag or holds(held, column.type)):
            raise bad_body(f"column {name!r} holds {str(held)[:200]}; send {_expected(column)}")
    # A few bytes may stand for many equal rows: this is checked before they are unpacked.
    groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
    unpacked = sum(group.total_byte_size for group in groups)
    bodies.check_expansion(max(unpacked, file.metadata.num_rows * len(present) * 8), len(body))
    texts = [name for name in present if "string" in KINDS[declared.columns[name].type].parquet]
    read = parquet.read_table(io.BytesIO(body), columns=present, read_dictionary=texts, use_threads=False)
    for name in texts:
        for chunk in read.column(name).chunks if pyarrow.types.is_dictionary(read.field(name).type) else ():
            lengths = compute.binary_length(chunk.dictionary).take(chunk.indices)
            bodies.check_expansion(compute.sum(lengths).as_py() or 0, len(body))
    return _columns(read, declared, _from_parquet)


def _columns(
    sent: pyarrow.Table, declared: Numbers | Table, convert: Callable[..., pyarrow.Array]
) -> Columns:
    """Each declared column as `convert` makes it of what was sent; of one that was not, nulls."""
    columns = {}
    for name, column in declared.columns.items():
        if name in sent.column_names:
            columns[name] = convert(sent.column(name).unify_dictionaries().combine_chunks(), name, column)
        else:
            columns[name] = pyarrow.nulls(sent.num_rows, KINDS[column.type].arrow)
    return columns


def _from_parquet(cells: pyarrow.Array, name: str, column: Column) -> pyarrow.Array:
    if pyarrow.types.is_dictionary(cells.type) or pyarrow.types.is_large_string(cells.type):
        cells = cells.cast(pyarrow.string())
    if pyarrow.types.is_string(cells.type):
        return _from_texts(cells, name, column, is_csv=False)
    if column.type == "whole_number" and not pyarrow.types.is_signed_integer(cells.type):
        return _from_values(cells.to_pylist(), name, column)  # floats are pandas' for numbers and gaps
    # Nanoseconds are cut, and a number of 64 bits may be rounded.
    cells = cells.cast(KINDS[column.type].arrow, safe=column.type == "whole_number")
    if column.type != "number":
        return cells
    if compute.any(compute.is_inf(cells)).as_py():
        return _from_values(cells.to_pylist(), name, column)  # raises, and names the row
    return compute.if_else(compute.is_nan(cells), None, cells)


def _from_texts(cells: pyarrow.Array, name: str, column: Column, is_csv: bool = True) -> pyarrow.Array:
    """A column of texts. Arrow reads plain ones; a column with others is read cell by cell."""
    if column.type == "text" or cells.type != pyarrow.string():
        return cells
    with suppress(pyarrow.ArrowInvalid):
        if column.type == "category":
            if compute.all(compute.is_in(cells, pyarrow.array([*column.values, None]))).as_py() is not False:
                return cells
        elif column.type != "whole_number":
            read = cells.cast(KINDS[column.type].arrow)
            if column.type != "number" or _is_finite(read):
                return read
    return _from_values(cells.to_pylist(), name, column, KINDS[column.type].from_text if is_csv else None)


def _from_values(
    cells: Iterable[Any], name: str, column: Column, from_text: Callable[[str], Any] | None = None
) -> pyarrow.Array:
    """A column of Python's values; with `from_text` they are texts, and without their types must be right."""
    values = []
    for row, cell in enumerate(cells, start=1):
        try:
            value = cell
            if from_text and cell is not None:
                value = from_text(cell.strip()) if cell.strip() else None
            is_missing = value is None or (isinstance(value, float) and math.isnan(value))
            values.append(None if is_missing else _value(value, column))
        except (ValueError, OverflowError):
            found = f"row {row}, column {name!r} is {repr(cell)[:200]}"
            raise bad_body(f"{found}; send {_expected(column)}") from None
    return pyarrow.array(values, KINDS[column.type].arrow)


def _value(value: Any, column: Column) -> Any:
    """The value of one cell. Raises ValueError where the column cannot hold it."""
    kind = type(value)
    if column.type == "number" and kind in (int, float) and math.isfinite(value):
        return float(value)
    if column.type == "whole_number" and kind in (int, float) and int(value) == value:
        limit = 2**63 if kind is int else 2**53  # a float beyond is rounded
        if -limit <= value < limit:
            return int(value)
    if (column.type, kind) in (("boolean", bool), ("text", str)) or value in column.values:
        return value
    if column.type == "date" and kind is str:
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    raise ValueError


def _is_finite(cells: pyarrow.Array | pyarrow.ChunkedArray) -> bool:
    return compute.all(compute.is_finite(cells)).as_py() is not False


def _expected(column: Column) -> str:
    return f"one of {', '.join(column.values)[:500]}" if column.values else KINDS[column.type].expected


def _arrays(columns: Columns, declared: Numbers | Table) -> Any:
    if isinstance(declared, Numbers):
        return np.column_stack([cells.to_numpy(zero_copy_only=False) for cells in columns.values()])
    if not declared.dataframe:
        return {name: _array(columns[name], name, column) for name, column in declared.columns.items()}
    import pandas  # only models that ask for a DataFrame have it

    return pandas.DataFrame({n: _series(columns[n], column) for n, column in declared.columns.items()})


def _array(cells: pyarrow.Array, name: str, column: Column) -> Array:
    if column.type == "whole_number" and column.optional:
        try:
            cells = cells.cast(pyarrow.float64())
        except pyarrow.ArrowInvalid:
            reason = "has a number beyond 2**53, which a float cannot hold"
            raise bad_body(f"column {name!r} {reason}") from None
    array: Array = cells.to_numpy(zero_copy_only=False, writable=True)
    return array.astype(object) if column.type == "boolean" and column.optional else array


def _series(cells: pyarrow.Array, column: Column) -> Any:
    import pandas

    if column.type == "text":
        return pandas.Series(cells.to_numpy(zero_copy_only=False), dtype=object)
    if values := column.values:
        cells = pyarrow.DictionaryArray.from_arrays(compute.index_in(cells, pyarrow.array(values)), values)
    nullable = {pyarrow.int64(): pandas.Int64Dtype(), pyarrow.bool_(): pandas.BooleanDtype()}
    return cells.to_pandas(types_mapper=nullable.get if column.optional else None)


DECODERS: Mapping[str, Callable[..., Any]] = {
    CSV: _decode_csv,
    JSON: _decode_json,
    JSON_LINES: _decode_json_lines,
    PARQUET: _decode_parquet,
}
NUMBER_DECODERS = {**DECODERS, NPY: _decode_npy}
