"""Predictions become responses, by media type (S-26, B-10).

A prediction is a number, a text, a truth value or None, or a list or dict of these. NaN and infinity
are missing values: null in JSON, JSON Lines and Parquet, an empty cell in CSV; .npy keeps them.
"""

import csv
import io
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

import numpy as np
import pyarrow
from pydantic import BaseModel

from byoc.errors import RequestError
from byoc.payloads.decoding import Array
from byoc.payloads.media_types import CSV, JSON, JSON_LINES, NPY, PARQUET

# What model.predict may return: one prediction for each row, or a dict of columns, a DataFrame or a tensor.
Predictions = Array | Sequence[Any]

# From this many predictions on, Arrow is faster at writing whole numbers.
MANY_ROWS = 10_000
# Arrays of truth values, numbers and text.
PLAIN_KINDS = "biufU"


class PredictionsError(TypeError):
    """predict() returned what no answer can be made of. The message is one line for the log."""


def normalised(predictions: Any, count: int | None) -> Predictions:
    """One prediction for each of `count` inputs, as an array or a list; None if their count is not known.

    A DataFrame and a dict of columns become a record for each row. Raises PredictionsError.
    """
    if not isinstance(predictions, (list, np.ndarray)):
        predictions = _listed(predictions)
    elif isinstance(predictions, np.ndarray) and not predictions.ndim:
        raise _unknown(predictions)
    listed: Predictions = predictions
    if count is not None and len(listed) != count:
        raise PredictionsError(f"predict() returned {len(listed)} predictions for {count} inputs")
    return listed


def _listed(predictions: Any) -> Predictions:
    pandas = sys.modules.get("pandas")
    if pandas and isinstance(predictions, (pandas.DataFrame, pandas.Series)):
        present = predictions.astype(object).where(predictions.notna(), None)
        if isinstance(predictions, pandas.Series):
            return list(present)
        if not present.columns.is_unique:
            raise PredictionsError("predict() returned a DataFrame with two columns of one name")
        return list(present.to_dict("records"))
    if isinstance(predictions, dict):
        columns = {name: _listed(column) for name, column in predictions.items()}
        if len({len(column) for column in columns.values()}) != 1:
            raise PredictionsError("predict() returned a dict whose columns have no common length")
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    predictions = _array(predictions)
    if isinstance(predictions, (list, tuple)) or (isinstance(predictions, np.ndarray) and predictions.ndim):
        return predictions
    raise _unknown(predictions)


def _array(value: Any) -> Any:
    """A framework's tensor as an array; other values as they are."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    return np.asarray(value) if hasattr(value, "__array__") and not isinstance(value, np.generic) else value


def encode(predictions: Predictions, media_type: str) -> bytes:
    """Encode one prediction per row; media_type is a result of `negotiate`.

    Raises PredictionsError for predictions of an unknown type, and RequestError 406 for known ones that this
    media type cannot hold.
    """
    if isinstance(predictions, np.ndarray) and predictions.dtype.kind in PLAIN_KINDS:
        if media_type == NPY:
            return _save(predictions)
        if media_type == CSV and predictions.ndim == 1:
            return _encode_csv_column(predictions)
    try:
        if not isinstance(predictions, (list, np.ndarray)):
            predictions = _listed(predictions)
        return ENCODERS[media_type](_plain(predictions))
    except (ValueError, OverflowError, pyarrow.ArrowException):
        raise RequestError(406, f"{media_type} cannot hold these predictions; ask for {JSON}") from None


def _plain(value: Any) -> Any:
    """Predictions in Python's own types. Raises PredictionsError for what no media type can hold."""
    if value is None or type(value) in (float, str, int, bool):
        return value
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.kind in PLAIN_KINDS:
            return value.tolist()
        if value.dtype == object:
            return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if type(value) is dict and all(isinstance(key, (str, int, np.integer)) for key in value):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, BaseModel):
        return _plain(value.model_dump())
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if (array := _array(value)) is not value:
        return _plain(array)
    raise _unknown(value)


def _unknown(value: object) -> PredictionsError:
    name = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
    return PredictionsError(f"predict() returned {name}: return numbers, text, or lists or dicts of these")


def _encode_csv(rows: list[Any]) -> bytes:
    rows = _finite(rows)
    if rows and isinstance(rows[0], dict):
        names = _names(rows)
        rows = [[row[name] for name in names] for row in rows]
    lines = [row if isinstance(row, list) else [row] for row in rows]
    if len(set(map(len, lines))) > 1 or any(
        isinstance(cell, (list, dict)) for line in lines for cell in line
    ):
        raise ValueError("the rows differ, or a cell holds several values")
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(lines)
    return out.getvalue().encode()


def _encode_csv_column(predictions: Array) -> bytes:
    many_integers = len(predictions) >= MANY_ROWS and predictions.dtype.kind in "iu"
    if many_integers and predictions.dtype.isnative:
        from pyarrow import csv as arrow_csv  # imported here, because small requests do without

        # Arrow writes whole numbers as Python does, but 1 for 1.0.
        out = pyarrow.BufferOutputStream()
        table = pyarrow.table({"prediction": predictions})
        arrow_csv.write_csv(table, out, arrow_csv.WriteOptions(include_header=False))
        return bytes(out.getvalue())
    values = predictions.tolist()
    text = "\n".join(map(str, values)) + "\n"
    if predictions.dtype.kind == "f" and "n" in text:  # NaN or infinity
        return _encode_csv(values)
    # Labels that are not empty and hold none of these need no quotes.
    is_simple = text.count("\n") == len(values) and not any(mark in text for mark in ("\n\n", ",", '"', "\r"))
    if is_simple and not text.startswith("\n"):
        return text.encode()
    return _encode_csv(values)


def _encode_json(rows: list[Any]) -> bytes:
    return _dump_json({"predictions": rows}) + b"\n"


def _encode_json_lines(rows: list[Any]) -> bytes:
    return b"".join(_dump_json(row) + b"\n" for row in rows)


def _encode_npy(rows: list[Any]) -> bytes:
    array = np.array(rows)
    if array.dtype == object or (array.dtype.kind == "U" and array.tolist() != rows):
        raise ValueError("the rows do not fit one array")
    return _save(array)


def _save(array: Array) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()


def _encode_parquet(rows: list[Any]) -> bytes:
    from pyarrow import parquet

    rows = _finite(rows)
    if rows and isinstance(rows[0], dict):
        columns = {name: [row[name] for row in rows] for name in _names(rows)}
    else:
        columns = {"prediction": rows}
    out = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), out)
    return out.getvalue()


def _names(rows: list[Any]) -> list[str]:
    """The columns of records, which all must have."""
    if any(not isinstance(row, dict) or row.keys() != rows[0].keys() for row in rows):
        raise ValueError("the records have different keys")
    return list(rows[0])


def _dump_json(value: Any) -> bytes:
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
    except ValueError:
        return json.dumps(_finite(value), separators=(",", ":"), allow_nan=False).encode()


def _finite(value: Any) -> Any:
    """The same with None for each number that JSON cannot hold."""
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


ENCODERS: Mapping[str, Callable[[list[Any]], bytes]] = {
    CSV: _encode_csv,
    JSON: _encode_json,
    JSON_LINES: _encode_json_lines,
    NPY: _encode_npy,
    PARQUET: _encode_parquet,
}
