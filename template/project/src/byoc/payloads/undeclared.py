"""What a model without declared types gets is what was sent (B-10).

Each value is by itself a number, a text or missing: float64 if all are numbers, text if all are texts,
otherwise objects (float, NaN where a value is missing, and str). Records of several keys become a structured
array: a field of objects for each key, in alphabetical order.
"""

import io
import math
import sys
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

HEADER_HINT = "If row 1 is a CSV header, say header=present in the Content-Type"


def decode_features(body: bytes, content_type: str | None, declared: Features) -> Array:
    """Decode a body to floats of shape [rows, columns], or to objects where some of them are text."""
    try:
        numbers: Array = tables.decode(body, content_type, declared)
        return numbers
    except RequestError as refused:
        if refused.status != 400 or bodies.parse_content_type(content_type).media_type == NPY:
            raise
        rows = bodies.read(body, content_type, DECODERS, declared)
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
    sent = bodies.read(body, content_type, {**DECODERS, NPY: _decode_npy}, None)
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


def _decode_csv(body: bytes, kind: ContentType, declared: Features | None) -> list[list[float | str]]:
    if declared:  # the cells of the named columns, as texts
        named = Table(dict.fromkeys(declared.names, text(optional=True)))
        columns = tables.decode(body, f"{CSV}; charset={kind.charset}; header={kind.header}", named)
        return [[_value(cell or "") for cell in row] for row in zip(*columns.values(), strict=True)]
    return [[_value(cell) for cell in row] for row in items.csv_rows(body, kind)]


def _value(cell: str) -> float | str:
    try:
        return float(cell.strip() or "nan")
    except ValueError:
        return cell


def _decode_json(body: bytes, kind: ContentType, declared: Features | None) -> Any:
    value = bodies.parse_json(body, kind)
    if isinstance(value, dict) and value.keys() == {"text"} and not declared:
        value = value["text"]  # as clients of text models send it
    return bodies.rows(value, declared.names if declared else ())


def _decode_json_lines(body: bytes, kind: ContentType, declared: Features | None) -> Any:
    lines = bodies.parse_json_lines(body, kind)
    if declared:
        return bodies.lists(lines, declared.names)
    is_wrapped = all(isinstance(line, dict) and len(line) == 1 for line in lines)
    return [bodies.unwrapped(line, bodies.ROW_KEYS) for line in lines] if is_wrapped else lines


def _decode_npy(body: bytes, kind: ContentType, declared: None) -> Array:
    array = tables.load_npy(body, "biufU", "numbers or text")
    return array.reshape(1, -1) if array.ndim < 2 else array


def _decode_parquet(body: bytes, kind: ContentType, declared: Features | None) -> Any:
    schema = parquet.read_schema(io.BytesIO(body))
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    columns = {}
    for name in declared.names if declared else [name for name in schema.names if name not in index]:
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


def _by_themselves(rows: Any, names: tuple[str, ...], accepts_missing: bool) -> Array:
    """Rows as float64 if all are numbers, as text if all are texts, or as objects of both.

    Raises RequestError for other objects, and for a column with a number in one row and a text in another.
    """
    inputs = np.array(rows, dtype=object)
    if not len(inputs):
        raise bad_body("the body holds no rows")
    if any(isinstance(cell, int) and abs(cell) > sys.float_info.max for cell in inputs.flat):
        raise bad_body("a number is too large for a float")
    if set(map(type, inputs.ravel())) <= {int, float, bool, type(None)}:
        return _finite(inputs.astype(np.float64), names, accepts_missing)
    cells = inputs.reshape(len(inputs), -1)
    numbers, first = np.zeros(cells.shape), dict[int, tuple[int, bool]]()
    for (row, column), cell in np.ndenumerate(cells):
        if not isinstance(cell, (str, int, float, type(None))):
            raise bad_body("all rows must have the same shape, and hold numbers or text")
        is_text = isinstance(cell, str)
        numbers[row, column] = math.nan if cell is None else 0 if is_text else cell
        if not np.isnan(numbers[row, column]):
            before, was_text = first.setdefault(column, (row, is_text))
            if was_text != is_text:
                reason = f"row {row + 1} is not like row {before + 1}: only one of them holds text"
                raise bad_body(f"{reason}. {HEADER_HINT}")
        cells[row, column] = cell if is_text else float(numbers[row, column])
    _finite(numbers.reshape(inputs.shape), names, accepts_missing or not names)
    values = cells.reshape(inputs.shape)
    if set(map(type, values.ravel())) == {str} and not names:
        return _text_array(values)
    if values.ndim == 1:  # an element of a text array has numpy's type, and of this one too
        values[:] = [np.str_(value) if isinstance(value, str) else np.float64(value) for value in values]
    return values


def _finite(inputs: Array, names: tuple[str, ...], accepts_missing: bool) -> Array:
    if not len(inputs):
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
