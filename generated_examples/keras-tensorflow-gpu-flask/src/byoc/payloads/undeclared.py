"""What a model without declared types gets is what was sent (B-10).

Each value is by itself a number, a text or missing: float64 if all are numbers, text if all are texts,
otherwise objects (float, NaN where a value is missing, and str). Records of several keys become a structured
array: a field of objects for each key, in alphabetical order.
"""

import io
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow
from pyarrow import parquet

from byoc.errors import RequestError
from byoc.inputs import Features, Numbers, Table, Text, boolean, number, text
from byoc.payloads import bodies, items, tables
from byoc.payloads.bodies import CSV, JSON, JSON_LINES, NPY, PARQUET, ContentType, bad_body
from byoc.payloads.tables import Array

# Of the columns that FEATURES names; empty where a model declares nothing.
Names = tuple[str, ...]
HEADER_HINT = "If row 1 is a CSV header, say header=present in the Content-Type"


def decode_features(body: bytes, content_type: str | None, declared: Features) -> Array:
    """Decode a body to floats of shape [rows, columns], or to objects where some of them are text."""
    try:
        numbers: Array = tables.decode(body, content_type, declared)
        return numbers
    except RequestError as refused:
        if refused.status != 400 or bodies.parse_content_type(content_type).media_type == NPY:
            raise
        rows = bodies.read(body, content_type, DECODERS, declared.names)
        cells = _by_themselves(rows, declared.names, next(iter(declared.columns.values())).optional)
        if cells.dtype != object:
            raise
        return cells


def decode(body: bytes, content_type: str | None, accepts_missing: bool = False) -> Array:
    """Decode a body for a model without a declaration: texts [n], bytes as objects [n], or what it holds."""
    media_type = bodies.parse_content_type(content_type).media_type
    if media_type == items.PLAIN:
        return _text_array(np.array(items.decode_text(body, content_type, Text()), dtype=object))
    if media_type.startswith("image/") or media_type in ("application/x-image", items.ANY):
        whole = np.empty(1, dtype=object)
        whole[0] = np.bytes_(bodies.read(body, content_type, {media_type: items.whole}, None)[0])
        return whole
    sent = bodies.read(body, content_type, {**DECODERS, NPY: _decode_npy}, ())
    if isinstance(sent, np.ndarray):
        return _finite(sent, (), accepts_missing)
    if sent and isinstance(sent[0], dict):
        names = sorted(sent[0])
        for row, record in enumerate(sent, start=1):
            if not isinstance(record, dict):
                raise bad_body(f"row {row} must be a record, as row 1 is")
            if record.keys() != sent[0].keys():
                raise bad_body(f"row {row} has other keys than row 1, and the model declares none")
        sent = bodies.lists(sent, names)
        if len(names) > 1:
            return _structured(sent, names)
    return _by_themselves(sent, (), accepts_missing)


def _decode_csv(body: bytes, kind: ContentType, names: Names) -> list[list[float | str]]:
    if not names:
        return [[_value(cell) for cell in row] for row in items.csv_rows(body, kind)]
    named = Table(dict.fromkeys(names, text(optional=True)))  # the cells of these columns, as texts
    header = f"; header={kind.header}" if kind.header else ""
    columns = tables.decode(body, f"{CSV}; charset={kind.charset}{header}", named)
    return [[_value(cell or "") for cell in row] for row in zip(*columns.values(), strict=True)]


def _value(cell: str) -> float | str:
    try:
        return tables.to_float(cell.strip() or "nan")
    except ValueError:
        return cell


def _decode_json(body: bytes, kind: ContentType, names: Names) -> Any:
    value = bodies.parse_json(body, kind)
    if isinstance(value, dict) and value.keys() == {"text"} and not names:
        value = value["text"]  # as clients of text models send it
    return bodies.lists(bodies.rows(value, names), names)


def _decode_json_lines(body: bytes, kind: ContentType, names: Names) -> Any:
    lines = bodies.parse_json_lines(body, kind)
    if not names and all(isinstance(line, dict) and len(line) == 1 for line in lines):
        return [bodies.unwrapped(line, bodies.ROW_KEYS) for line in lines]
    return bodies.lists(lines, names)


def _decode_npy(body: bytes, kind: ContentType, names: Names) -> Array:
    array = tables.load_npy(body, "biufU", "numbers or text")
    return array.reshape(1, -1) if array.ndim < 2 else array


def _decode_parquet(body: bytes, kind: ContentType, names: Names) -> Any:
    schema = parquet.read_schema(io.BytesIO(body))
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    columns = {}
    for name in names or [name for name in schema.names if name not in index]:
        held = schema.field(name).type if name in schema.names else pyarrow.null()
        fitting = (column for column in (number, boolean, text) if tables.holds(held, column().type))
        columns[name] = next(fitting, number)(optional=True)
    if all(column.type != "text" for column in columns.values()):
        return tables.decode(body, PARQUET, Numbers(*columns, missing=True))
    read = tables.decode(body, PARQUET, Table(columns))
    return list(map(list, zip(*(cells.tolist() for cells in read.values()), strict=True)))


def _structured(rows: list[list[Any]], names: list[str]) -> Array:
    inputs = np.empty(len(rows), dtype=[(name, object) for name in names])
    for position, row in enumerate(rows):
        if any(isinstance(value, float) and math.isinf(value) for value in row):
            raise bad_body(f"row {position + 1} has a number that is not finite")
        inputs[position] = tuple(math.nan if value is None else value for value in row)
    return inputs


def _by_themselves(rows: Any, names: Names, accepts_missing: bool) -> Array:
    """Rows as float64 if all are numbers, as text if all are texts, or as objects of both.

    Raises RequestError for other objects, and for a column with a number in one row and a text in another.
    """
    sent = np.array(rows, dtype=object)
    is_text = np.array([isinstance(cell, str) for cell in sent.flat], dtype=bool).reshape(sent.shape)
    try:
        numbers = np.where(is_text, 0, sent).astype(np.float64)
    except OverflowError:
        raise bad_body("a number is too large for a float") from None
    except (TypeError, ValueError):
        raise bad_body("all rows must have the same shape, and hold numbers or text") from None
    if not is_text.any():
        return _finite(numbers, names, accepts_missing)
    is_known = ~np.isnan(numbers.reshape(len(sent), -1))
    texts = is_text.reshape(is_known.shape)
    first = is_known.argmax(axis=0)  # the first row of each column that is not missing
    others = np.argwhere(is_known & (texts != texts[first, range(len(first))]))
    if len(others):
        row, column = others[0]
        reason = f"row {row + 1} is not like row {first[column] + 1}: only one of them holds text"
        raise bad_body(f"{reason}. {HEADER_HINT}")
    _finite(numbers, names, accepts_missing or not names)
    if is_text.all() and not names:
        return _text_array(sent)
    if sent.ndim > 1:
        return np.where(is_text, sent, numbers.astype(object))
    # An element of a text array has NumPy's type, and of this one too.
    mixed = zip(sent, numbers, is_text, strict=True)
    sent[:] = [np.str_(cell) if text else number for cell, number, text in mixed]
    return sent


def _finite(inputs: Array, names: Names, accepts_missing: bool) -> Array:
    if not inputs.size:
        raise bad_body("the body holds no rows")
    if inputs.dtype.kind == "f":
        refused = np.argwhere(np.isinf(inputs) if accepts_missing else ~np.isfinite(inputs))
        if len(refused):
            row, *place = refused[0].tolist()
            value = repr(names[place[0]]) if names else f"value {place[0] + 1 if place else 1}"
            raise bad_body(f"row {row + 1} has no finite number for {value}")
    return inputs


def _text_array(cells: Array) -> Array:
    lengths = [len(str(cell)) for cell in cells.ravel()]  # every cell becomes as wide as the longest
    bodies.check_expansion(len(lengths) * max(lengths) * np.dtype("U1").itemsize, sum(lengths))
    return cells.astype(str)


DECODERS: Mapping[str, Callable[..., Any]] = {
    CSV: _decode_csv,
    JSON: _decode_json,
    JSON_LINES: _decode_json_lines,
    PARQUET: _decode_parquet,
}
