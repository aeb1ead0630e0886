"""Requests become arrays, by media type (B-10).

An array has the shape [rows, ...]: [rows, columns] of numbers for tabular input, in the order of the model's
FEATURES wherever the client named its columns.
"""

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from byoc.errors import RequestError
from byoc.payloads.arrow import pyarrow
from byoc.payloads.media_types import CSV, JSON, JSON_LINES, NPY, PARQUET, parse_content_type

Array = NDArray[Any]

# From here on a parser in C pays.
LARGE_CHARACTERS = 65536
# From here on the careful parser would take too much time and memory.
HUGE_CHARACTERS = 4 * 1024 * 1024
# Each column costs Arrow more than many cells.
MOST_COLUMNS = 4096
FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
# A small body may not become a large array: so much in memory for each of its bytes, or so much in all.
EXPANSION = 16
EXPANDED_BYTES = 64 * 1024 * 1024
# What str.splitlines takes for the end of a line and NumPy's parser does not.
RARE_LINE_ENDS = "\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"


def decode(
    body: bytes, content_type: str | None, features: Sequence[str] = (), accepts_missing: bool = False
) -> Array:
    """Decode a request body: floats for a model with FEATURES, and finite unless missing values are accepted.

    Raises RequestError 400 for a bad body, 413 for one that becomes too large, 415 for an unknown type.
    """
    media_type, charset = parse_content_type(content_type)
    decoder = DECODERS.get(media_type)
    if decoder is None:
        known = ", ".join(DECODERS)
        raise RequestError(415, f"Content-Type {media_type[:200]!r} is not accepted; send {known}")
    if not body or body.isspace():
        raise RequestError(400, "the request has no body")
    try:
        inputs = decoder(body, charset, features)
    except RequestError:
        raise
    except UnicodeDecodeError:
        raise RequestError(400, f"the body is not valid {charset}") from None
    except Exception as error:  # whatever a parser says of a body, it is the client's to mend
        raise RequestError(400, f"the body is not valid {media_type}: {_one_line(error)}") from None
    if len(inputs) == 0:
        raise RequestError(400, "the body holds no rows")
    if features and inputs.shape[1:] != (len(features),):
        got = inputs.shape[1] if inputs.ndim == 2 else f"shape {list(inputs.shape[1:])}"
        raise RequestError(
            400, f"each row must have {len(features)} values ({', '.join(features)}), not {got}"
        )
    return _floats(inputs, features, accepts_missing) if features else _plain_values(inputs)


def _decode_csv(body: bytes, charset: str, features: Sequence[str]) -> Array:
    text = body.decode(charset).removeprefix("\ufeff")
    if features and len(text) > LARGE_CHARACTERS and '"' not in text:
        try:
            return _decode_large_csv(text, features)
        except ValueError:
            # Read again with care: it is good after all, or the client learns which row is wrong.
            if len(text) > HUGE_CHARACTERS:
                raise
    if '"' in text:
        rows = [row for row in csv.reader(io.StringIO(text), strict=True) if row]
    else:
        rows = [line.split(",") for line in text.splitlines() if line.strip()]
    if not rows:
        raise RequestError(400, "the body holds no rows")
    first = [cell.strip() for cell in rows[0]]
    if not any(map(_is_number, set(first))) and (len(rows) > 1 or features):
        return _columns_to_array(first, rows[1:], features)
    return _numbers(rows) if features else _numbers_or_text(rows)


def _decode_large_csv(text: str, features: Sequence[str]) -> Array:
    """Numbers only, with or without a header, by Arrow's parser: ten times as fast. Raises ValueError."""
    from pyarrow import csv as arrow_csv  # here, for small requests do without

    if any(end in text for end in RARE_LINE_ENDS):
        text = "\n".join(text.splitlines())
    text = text.strip()
    names = [cell.strip() for cell in text.partition("\n")[0].split(",")]
    if len(names) > MOST_COLUMNS:
        raise ValueError(f"it has more than {MOST_COLUMNS} columns")
    has_header = not any(map(_is_number, set(names)))
    columns = [str(n) for n in range(len(names))]
    table = arrow_csv.read_csv(
        pyarrow.BufferReader(text.encode()),
        arrow_csv.ReadOptions(column_names=columns, skip_rows=int(has_header), use_threads=False),
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(columns, pyarrow.float64()),
            null_values=[],  # an empty cell is an error, not a number
        ),
    )
    array = np.empty((table.num_rows, len(columns)))
    for number, column in enumerate(table.columns):
        array[:, number] = column
    return array[:, _order(names, features)] if has_header else array


def _decode_json(body: bytes, charset: str, features: Sequence[str]) -> Array:
    return _from_json(_load_json(body.decode(charset)), features)


def _decode_json_lines(body: bytes, charset: str, features: Sequence[str]) -> Array:
    records = [_load_json(line) for line in body.decode(charset).splitlines() if line.strip()]
    # A line may be a record, a bare row, or a row wrapped as {"features": [...]} or {"instances": [...]}.
    rows = [
        next(iter(r.values())) if isinstance(r, dict) and len(r) == 1 and set(r) & ROW_KEYS else r
        for r in records
    ]
    return _rows_to_array(rows, features)


def _decode_npy(body: bytes, charset: str, features: Sequence[str]) -> Array:
    array = np.load(io.BytesIO(body), allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise RequestError(400, "the body must be one .npy array, not an archive")
    return array.reshape(1, -1) if array.ndim == 1 else np.atleast_1d(array)


def _decode_parquet(body: bytes, charset: str, features: Sequence[str]) -> Array:
    from pyarrow import parquet  # here, for most requests are not Parquet

    file = parquet.ParquetFile(io.BytesIO(body))
    schema = file.schema_arrow
    wanted = [schema.field(i) for i in _order(schema.names, features)]
    is_number = (pyarrow.types.is_integer, pyarrow.types.is_floating, pyarrow.types.is_decimal)
    for field in wanted:
        if not any(holds(field.type) for holds in (*is_number, pyarrow.types.is_boolean)):
            held = str(field.type)[:200]
            raise RequestError(400, f"column {field.name[:200]!r} holds {held}; send numbers")
    # A few bytes may stand for many equal rows: this is checked before they are unpacked.
    rows = sum(file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups))
    _check_expansion(rows * len(wanted) * FLOAT64.itemsize, len(body))
    table = file.read(columns=[field.name for field in wanted])
    columns = [table.column(field.name).to_numpy().astype(FLOAT64) for field in wanted]
    return np.column_stack(columns) if columns else np.empty((0, 0))


ROW_KEYS = {"features", "instances", "inputs", "data"}


def _from_json(value: Any, features: Sequence[str]) -> Array:
    """The four usual JSON forms, and a bare list of rows."""
    if isinstance(value, dict):
        if "columns" in value and "data" in value:
            return _columns_to_array(value["columns"], value["data"], features)
        for key in ("instances", "inputs", "dataframe_split", "dataframe_records", "records"):
            if key in value:
                return _from_json(value[key], features)
        if features and set(features) <= set(value):
            if all(isinstance(value[f], list) for f in features):  # columns by name
                return _numbers(list(zip(*(value[f] for f in features), strict=True)))
            return _rows_to_array([value], features)
        raise RequestError(
            400, 'send {"instances": [...]}, {"inputs": [...]}, {"columns": [...], "data": [...]} or records'
        )
    if isinstance(value, list):
        return _rows_to_array(value, features)
    raise RequestError(400, "the JSON body must be an object or a list")


def _rows_to_array(rows: list[Any], features: Sequence[str]) -> Array:
    if not rows:
        raise RequestError(400, "the body holds no rows")
    if isinstance(rows[0], dict):
        names = list(features or rows[0])
        for row in rows:
            if missing := [name for name in names if not isinstance(row, dict) or name not in row]:
                raise RequestError(400, f"a record has no {missing[0]!r}; each needs {', '.join(names)}")
        rows = [[row[name] for name in names] for row in rows]
    elif features and not isinstance(rows[0], list):
        rows = [rows]  # one bare row
    return _numbers(rows) if features else _array(rows)


def _columns_to_array(names: Sequence[str], rows: Sequence[Sequence[Any]], features: Sequence[str]) -> Array:
    order = _order(list(names), features)
    if any(len(row) != len(names) for row in rows):
        raise RequestError(400, f"each row must have {len(names)} values, one for each named column")
    ordered = [[row[i] for i in order] for row in rows]
    return _numbers(ordered) if features else _numbers_or_text(ordered)


def _order(names: list[str], features: Sequence[str]) -> list[int]:
    """Positions of the model's features among the client's columns; extra columns are left out."""
    if missing := [f for f in features if f not in names]:
        raise RequestError(400, f"column {missing[0]!r} is missing; the model needs {', '.join(features)}")
    return [names.index(f) for f in features] if features else list(range(len(names)))


def _numbers(rows: Sequence[Sequence[Any]]) -> Array:
    _check_lengths(rows)
    try:
        return np.array(rows, dtype=FLOAT64)
    except (ValueError, TypeError) as error:
        raise RequestError(400, f"row {_first_without_numbers(rows)}: {_one_line(error)}") from None


def _check_lengths(rows: Sequence[Sequence[Any]]) -> None:
    if len({len(row) for row in rows if isinstance(row, Sequence)}) > 1:
        raise RequestError(400, "all rows must have the same number of values")


def _first_without_numbers(rows: Sequence[Sequence[Any]]) -> int:
    for number, row in enumerate(rows, start=1):
        try:
            np.array(row, dtype=FLOAT64)
        except (ValueError, TypeError):
            return number
    return len(rows)


def _numbers_or_text(rows: Sequence[Sequence[Any]]) -> Array:
    _check_lengths(rows)
    try:
        return np.array(rows, dtype=FLOAT64)
    except ValueError:
        # Every cell becomes as wide as the longest.
        lengths = [len(str(cell)) for row in rows for cell in row]
        _check_expansion(len(lengths) * max(lengths) * np.dtype("U1").itemsize, sum(lengths))
        return np.array(rows, dtype=str)


def _check_expansion(array_bytes: int, body_bytes: int) -> None:
    if array_bytes > max(EXPANDED_BYTES, EXPANSION * body_bytes):
        raise RequestError(413, f"the body would take {array_bytes} bytes in memory; send smaller batches")


def _floats(inputs: Array, features: Sequence[str], accepts_missing: bool) -> Array:
    if inputs.dtype is not FLOAT64:
        if inputs.dtype.kind not in "biuf" or not inputs.dtype.itemsize:
            raise RequestError(400, f"the values are of type {inputs.dtype}; send numbers")
        if inputs.dtype is not FLOAT32:  # of the other byte order, too
            inputs = inputs.astype(FLOAT64)
    if not accepts_missing and not _is_finite(inputs):
        row, column = np.argwhere(~np.isfinite(inputs))[0]
        raise RequestError(400, f"row {row + 1} has no finite number for {features[column]!r}")
    return inputs


def _is_finite(inputs: Array) -> bool:
    # Of few numbers, Python's sum is known sooner; finite ones may have one that is not.
    if inputs.size < 64 and math.isfinite(sum(inputs.ravel().tolist())):
        return True
    return bool(np.isfinite(inputs).all())


def _plain_values(inputs: Array) -> Array:
    if inputs.dtype.kind not in "biufU" or not inputs.dtype.itemsize:
        raise RequestError(400, f"the values are of type {inputs.dtype}; send numbers or text")
    return inputs if inputs.dtype.isnative else inputs.astype(inputs.dtype.newbyteorder("="))


def _array(rows: list[Any]) -> Array:
    array = np.array(rows)
    if array.dtype == object:
        raise RequestError(400, "all rows must have the same shape")
    return array


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _load_json(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


Decoder = Callable[[bytes, str, Sequence[str]], Array]
DECODERS: Mapping[str, Decoder] = {
    CSV: _decode_csv,
    JSON: _decode_json,
    JSON_LINES: _decode_json_lines,
    NPY: _decode_npy,
    PARQUET: _decode_parquet,
}
