"""Requests become arrays, by media type (B-10).

An array has the shape [rows, ...]. A model that declares FEATURES gets floats of shape [rows, features], in
their order. A model that declares none gets what was sent: float64 numbers, or text. A missing value is an
empty CSV cell, a null, a NaN or a key that a record leaves out; only ACCEPTS_MISSING lets it in, as NaN.
"""

import csv
import io
import json
import os
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from byoc.errors import RequestError
from byoc.payloads.media_types import CSV, JSON, JSON_LINES, NPY, PARQUET, ContentType, parse_content_type

# One of Arrow's allocators would start a thread, and a process with threads must not be forked.
os.environ.setdefault("JE_ARROW_MALLOC_CONF", "background_thread:false")
# Imported at the start: scikit-learn asks in each prediction whether it was given one of Arrow's tables, and
# fails in one thread while another imports pyarrow.
import pyarrow

Array = NDArray[Any]

# From this size on, Arrow's parser is faster than Python's.
LARGE_CHARACTERS = 2500
# Each column costs Arrow more than many cells.
MOST_COLUMNS = 4096
FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
# A small body must not become a large array: at most this many bytes for each of its bytes, or in all.
EXPANSION = 16
EXPANDED_BYTES = 64 * 1024 * 1024
HEADER_HINT = "If row 1 is a CSV header, say header=present in the Content-Type"
# Keys under which clients send rows.
ROW_KEYS = {"instances", "inputs", "dataframe_split", "dataframe_records", "records", "features", "data"}
ARROW_NUMBERS = ("integer", "floating", "decimal", "boolean", "null")


def decode(
    body: bytes, content_type: str | None, features: Sequence[str] = (), accepts_missing: bool = False
) -> Array:
    """Decode a request body.

    Raises RequestError 400 for a bad body, 413 for one that becomes too large, 415 for an unknown type.
    """
    inputs = read(body, content_type, DECODERS, features)
    if len(inputs) == 0:
        raise bad_body("the body holds no rows")
    if features and inputs.shape[1:] != (len(features),):
        got = inputs.shape[1] if inputs.ndim == 2 else f"shape {list(inputs.shape[1:])}"
        raise bad_body(f"each row must have {listed_values(features)}, not {got}")
    return _checked(inputs, features, accepts_missing)


def read(
    body: bytes, content_type: str | None, decoders: Mapping[str, Callable[..., Any]], declared: Any
) -> Any:
    """Call the decoder of a body's media type. Raises RequestError 400 or 415."""
    kind = parse_content_type(content_type)
    decoder = decoders.get(kind.media_type) or decoders.get(kind.media_type.partition("/")[0] + "/*")
    if decoder is None:
        known = ", ".join(decoders)
        raise RequestError(415, f"Content-Type {kind.media_type[:200]!r} is not accepted; send {known}")
    if not body or body.isspace():
        raise bad_body("the request has no body")
    try:
        return decoder(body, kind, declared)
    except RequestError:
        raise
    except UnicodeDecodeError:
        raise bad_body(f"the body is not valid {kind.charset}") from None
    except Exception as error:  # each parser has its own exceptions; all of them mean a bad body
        raise bad_body(f"the body is not valid {kind.media_type}: {one_line(error)}") from None


def _decode_csv(body: bytes, kind: ContentType, features: Sequence[str]) -> Array:
    text = body.decode(kind.charset).removeprefix("\ufeff")
    is_simple = bool(features) and '"' not in text
    if is_simple and len(text) <= LARGE_CHARACTERS and "\r" not in text and not kind.header:
        with suppress(ValueError):  # a header, a gap or an error: read it with care
            return _few_numbers(text, features)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: Iterable[list[str]] = (row for row in reader if len(row) > 1 or (row and row[0].strip()))
    first = next(iter(rows), [])
    if features and len(first) > max(MOST_COLUMNS, 2 * len(features)):
        raise bad_body(f"row 1 has {len(first)} columns; each row must have {listed_values(features)}")
    names = [cell.strip() for cell in first]
    # A first row of text is a header only if it names declared columns, or if the client says so.
    has_header = kind.header != "absent" and not set(features).isdisjoint(names)
    order = list(range(len(names)))
    if has_header := has_header or (kind.header == "present"):
        order = positions_of(names, features)
        if order != sorted(order) and os.environ.get("SAGEMAKER_BATCH", "").lower() == "true":
            # Batch transform splits a file, and only its first piece has the header.
            raise bad_body(f"in a batch the header must have the order {', '.join(features)}")
    else:
        rows = chain([first], rows)
    if features and len(order) != len(features):
        raise bad_body(f"each row must have {listed_values(features)}, not {len(order)}")
    if is_simple and len(text) > LARGE_CHARACTERS and len(names) <= MOST_COLUMNS:
        with suppress(ValueError):  # read it with care, and name the row that is wrong
            return _numbers_by_arrow(text.strip(), len(names), order, has_header)
    return _numbers_or_text(rows, len(names), order, features)


def _few_numbers(text: str, features: Sequence[str]) -> Array:
    rows = [line.split(",") for line in text.split("\n") if line and not line.isspace()]
    if not rows or not set(features).isdisjoint(map(str.strip, rows[0])):
        raise ValueError("no rows, or a header")
    return np.array(rows, dtype=FLOAT64)


def _numbers_by_arrow(text: str, width: int, order: list[int], has_header: bool) -> Array:
    from pyarrow import csv as arrow_csv  # imported here, because small requests do without

    columns = [str(n) for n in range(width)]
    wanted = [columns[i] for i in order]
    table = arrow_csv.read_csv(
        pyarrow.BufferReader(text.encode()),
        arrow_csv.ReadOptions(column_names=columns, skip_rows=int(has_header), use_threads=False),
        convert_options=arrow_csv.ConvertOptions(
            include_columns=wanted, column_types=dict.fromkeys(wanted, pyarrow.float64()), null_values=[]
        ),
    )
    numbers = np.empty((table.num_rows, len(wanted)))
    for position, column in enumerate(table.columns):
        numbers[:, position] = column
    if np.isnan(numbers).any():
        raise ValueError("Arrow knows more spellings of NaN")
    return numbers


def _numbers_or_text(
    rows: Iterable[list[str]], width: int, order: list[int], features: Sequence[str]
) -> Array:
    numbers = array("d")
    undeclared: list[list[Any]] = []
    for number, row in enumerate(rows, start=1):
        if len(row) != width:
            raise bad_body(f"all rows must have {width} values, as row 1 has; row {number} has {len(row)}")
        cells = [row[i] for i in order]
        values: list[Any]
        try:
            values = [float(cell) for cell in cells]
        except ValueError:
            values = [_number_or_text(cell) for cell in cells]
            if features and (text := next((v for v in values if isinstance(v, str)), "")):
                column = features[values.index(text)]
                raise bad_body(f"row {number}, column {column!r}: {text[:200]!r} is not a number") from None
        if features:
            numbers.extend(values)
        else:
            undeclared.append(cells if str in map(type, values) else values)
    if features:
        return np.array(numbers, dtype=FLOAT64).reshape(-1, len(features))
    return _undeclared(np.array(undeclared, dtype=object))


def _number_or_text(cell: str) -> float | str:
    try:
        return float(cell.strip() or "nan")
    except ValueError:
        return cell


def _decode_json(body: bytes, kind: ContentType, features: Sequence[str]) -> Array:
    return _from_json(parse_json(body, kind), features)


def parse_json(body: bytes, kind: ContentType) -> Any:
    """A body of JSON."""
    try:
        return json.loads(body.decode(kind.charset))
    except json.JSONDecodeError as error:
        hint = "; one value per line is application/jsonlines" if error.msg == "Extra data" else ""
        raise ValueError(f"{error}{hint}") from None


def _decode_json_lines(body: bytes, kind: ContentType, features: Sequence[str]) -> Array:
    return _from_rows(parse_json_lines(body, kind, features), features)


def parse_json_lines(body: bytes, kind: ContentType, names: Sequence[str]) -> list[Any]:
    """One value for each line of a body; a line may wrap it, unless it has one of these names."""
    text = body.decode(kind.charset).strip()
    # All at once, as one JSON array: line by line takes ten times as long.
    try:
        rows: list[Any] = json.loads("[" + text.replace("\n", ",\n") + "]")
    except json.JSONDecodeError:  # perhaps because of blank lines
        text = "\n".join(line for line in text.split("\n") if line.strip())
        rows = json.loads("[" + text.replace("\n", ",\n") + "]")
    if len(rows) != text.count("\n") + 1:
        raise bad_body("each line must be one JSON value")
    # A line may be a record, a bare row, or a row wrapped as {"features": [...]} or {"instances": [...]}.
    if isinstance(rows[0], dict) and set(names).isdisjoint(rows[0]):
        return [next(iter(row.values())) if _is_wrapped(row) else row for row in rows]
    return rows


def _is_wrapped(row: Any) -> bool:
    return isinstance(row, dict) and len(row) == 1 and row.keys() <= ROW_KEYS


def _decode_npy(body: bytes, kind: ContentType, features: Sequence[str]) -> Array:
    loaded = np.load(io.BytesIO(body), allow_pickle=False)
    if not isinstance(loaded, np.ndarray):
        raise bad_body("the body must be one .npy array, not an archive")
    return loaded.reshape((-1, 1) if len(features) == 1 else (1, -1)) if loaded.ndim < 2 else loaded


def _decode_parquet(body: bytes, kind: ContentType, features: Sequence[str]) -> Array:
    from pyarrow import parquet  # imported here, because most requests are not Parquet

    file = parquet.ParquetFile(io.BytesIO(body))
    schema = file.schema_arrow
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    names = list(features) or [name for name in schema.names if name not in index]
    positions_of(schema.names, names)
    for name in names:
        held = schema.field(name).type
        if not any(getattr(pyarrow.types, f"is_{kind_of}")(held) for kind_of in ARROW_NUMBERS):
            raise bad_body(f"column {name[:200]!r} holds {str(held)[:200]}; send numbers")
    # A few bytes may stand for many equal rows: this is checked before they are unpacked.
    rows = sum(file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups))
    check_expansion(rows * len(names) * FLOAT64.itemsize, len(body))
    table = file.read(columns=names)
    columns = [table.column(name).to_numpy().astype(FLOAT64) for name in names]
    return np.column_stack(columns) if columns else np.empty((0, 0))


def _from_json(value: Any, features: Sequence[str]) -> Array:
    """The usual JSON forms, and a bare list of rows."""
    if not features:  # a text alone, as clients of text models send it
        value = value["text"] if isinstance(value, dict) and value.keys() == {"text"} else value
        value = [value] if isinstance(value, str) else value
    if isinstance(value, list):
        is_row = len(features) > 1 and value and not isinstance(value[0], (dict, list))
        return _from_rows([value] if is_row else value, features)
    if not isinstance(value, dict):
        raise bad_body("the JSON body must be an object or a list")
    if not set(features).isdisjoint(value):
        columns = [value.get(name) for name in features]
        if all(isinstance(column, list) for column in columns):
            return _from_rows([list(row) for row in zip(*columns, strict=True)], features)
        return _from_rows([value], features)
    if "columns" in value and "data" in value:
        order = positions_of(value["columns"], features)
        if any(len(row) != len(value["columns"]) for row in value["data"]):
            raise bad_body("each row must have one value for each named column")
        return _from_rows([[row[i] for i in order] for row in value["data"]], features)
    if len(keys := ROW_KEYS & value.keys()) == 1:
        return _from_json(value[keys.pop()], features)
    raise RequestError(
        400, 'send {"instances": [...]}, {"inputs": [...]}, {"columns": [...], "data": [...]} or records'
    )


def _from_rows(rows: list[Any], features: Sequence[str]) -> Array:
    """Rows as lists, records, or single values."""
    if rows and isinstance(rows[0], dict):
        names = list(features or rows[0])
        if not features and len(names) > 1:
            raise bad_body("the model declares no FEATURES, so records have no order; send lists")
        for number, row in enumerate(rows, start=1):
            if not isinstance(row, dict) or row.keys().isdisjoint(names):
                raise bad_body(f"row {number} must be a record of {', '.join(names)[:500]}")
        rows = [[row.get(name) for name in names] for row in rows]
    if not features:
        return _undeclared(np.array(rows, dtype=object))
    try:
        inputs = np.array(rows, dtype=FLOAT64)
    except (ValueError, TypeError):
        for number, row in enumerate(rows, start=1):
            for name, cell in zip(features, row if isinstance(row, list) else [row], strict=False):
                if not _is_number(cell):
                    held = repr(cell)[:200]
                    raise bad_body(f"row {number}, column {name!r}: {held} is not a number") from None
        raise bad_body(f"each row must have {listed_values(features)}") from None
    return inputs.reshape(-1, 1) if inputs.ndim == 1 else inputs


def _is_number(value: object) -> bool:
    try:
        np.array(value, dtype=FLOAT64)
    except (ValueError, TypeError):
        return False
    return True


def _undeclared(cells: Array) -> Array:
    """What was sent to a model without FEATURES, whose type follows from each row alone: numbers or text."""
    types = set(map(type, cells.ravel()))
    if types <= {int, float, bool, type(None)}:
        return cells.astype(FLOAT64)
    if not types <= {str, int, float, bool}:
        raise bad_body("all rows must have the same shape, and hold numbers or text")
    has_text = [str in map(type, row) for row in cells.reshape(len(cells), -1)]
    if not all(has_text):
        number = has_text.index(not has_text[0]) + 1
        raise bad_body(f"row {number} is not like row 1: only one of them holds text. {HEADER_HINT}")
    return text_array(cells)


def text_array(cells: Array) -> Array:
    lengths = [len(str(cell)) for cell in cells.ravel()]  # every cell becomes as wide as the longest
    check_expansion(len(lengths) * max(lengths) * np.dtype("U1").itemsize, sum(lengths))
    return cells.astype(str)


def positions_of(names: Sequence[str], features: Sequence[str]) -> list[int]:
    """Positions of the model's features among the client's columns; extra columns are left out."""
    if not features:
        return list(range(len(names)))
    wanted = set(features)
    found = [(name, position) for position, name in enumerate(names) if name in wanted]
    positions = dict(found)
    if missing := wanted - positions.keys():
        name = next(f for f in features if f in missing)
        raise bad_body(f"column {name!r} is missing; each row must have {listed_values(features)}")
    if len(found) > len(positions):
        raise bad_body(f"a column is named twice; each row must have {listed_values(features)}")
    return [positions[name] for name in features]


def listed_values(features: Sequence[str]) -> str:
    return f"{len(features)} values ({', '.join(features)[:500]})"


def check_expansion(array_bytes: int, body_bytes: int) -> None:
    if array_bytes > max(EXPANDED_BYTES, EXPANSION * body_bytes):
        raise RequestError(413, f"the body would take {array_bytes} bytes in memory; send smaller batches")


def _checked(inputs: Array, features: Sequence[str], accepts_missing: bool) -> Array:
    """Numbers in the machine's byte order, without the values that the model does not accept."""
    if inputs.dtype is not FLOAT64:
        wanted, kinds = ("numbers", "biuf") if features else ("numbers or text", "biufU")
        if inputs.dtype.kind not in kinds or not inputs.dtype.itemsize:
            raise bad_body(f"the values are of type {inputs.dtype}; send {wanted}")
        if not features:
            inputs = inputs.astype(inputs.dtype.newbyteorder("="), copy=False)
        elif inputs.dtype is not FLOAT32:
            inputs = inputs.astype(FLOAT64)
    if inputs.dtype.kind == "f" and not np.isfinite(inputs).all():
        refused = np.argwhere(np.isinf(inputs) if accepts_missing else ~np.isfinite(inputs))
        if len(refused):
            row, *place = refused[0].tolist()
            value = repr(features[place[0]]) if features else f"value {place[0] + 1 if place else 1}"
            raise bad_body(f"row {row + 1} has no finite number for {value}")
    return inputs


def bad_body(reason: str) -> RequestError:
    return RequestError(400, reason)


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


Decoder = Callable[[bytes, ContentType, Sequence[str]], Array]
DECODERS: Mapping[str, Decoder] = {
    CSV: _decode_csv,
    JSON: _decode_json,
    JSON_LINES: _decode_json_lines,
    NPY: _decode_npy,
    PARQUET: _decode_parquet,
}
