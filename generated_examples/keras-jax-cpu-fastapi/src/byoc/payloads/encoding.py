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
from enum import Enum
from typing import Any

import numpy as np
import pyarrow
from numpy.typing import NDArray
from pydantic import BaseModel

from byoc.errors import RequestError
from byoc.payloads.bodies import CSV, JSON, JSON_LINES, NPY, PARQUET

Array = NDArray[Any]
Predictions = Array | Sequence[Any]

# json.dumps would make an encoder for each call.
_dump_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
# From this many predictions on, Arrow is faster at writing whole numbers.
MANY_ROWS = 10_000


class PredictionsError(TypeError):
    """predict() returned what no answer can be made of. The message is one line for the log."""


def normalised(predictions: Any, count: int | None) -> Predictions:
    """One prediction for each of `count` inputs, as an array or a list; None if their count is not known.

    A DataFrame and a dict of columns become a record for each row. Raises PredictionsError.
    """
    if type(predictions) is tuple:  # of two outputs for two inputs, each would pass for a prediction
        raise PredictionsError("predict() returned a tuple: return a list, or a dict that names the outputs")
    listed = predictions if isinstance(predictions, list) else _listed(predictions)
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
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value  # which NumPy has not
    if isinstance(value, np.ma.MaskedArray):
        return value.tolist()
    return np.asarray(value) if hasattr(value, "__array__") and not isinstance(value, np.generic) else value


def encode(predictions: Predictions, media_type: str) -> bytes:
    """Encode one prediction per row; media_type is a result of `negotiate`.

    Raises PredictionsError for predictions of an unknown type, and RequestError 406 for known ones that this
    media type cannot hold.
    """
    if isinstance(predictions, np.ndarray) and _is_plain(predictions):
        if media_type == NPY:
            return _save(predictions)
        if media_type == CSV and predictions.ndim == 1:
            return _encode_csv_column(predictions)
    try:
        return ENCODERS[media_type](_plain(normalised(predictions, None), keeps_nan=media_type == NPY))
    except (ValueError, OverflowError, pyarrow.ArrowException):
        raise RequestError(406, f"{media_type} cannot hold these predictions; ask for {JSON}") from None


def _plain(value: Any, keeps_nan: bool) -> Any:
    """Predictions in Python's own types. Raises PredictionsError for what no media type can hold."""
    if type(value) is float:
        return value if keeps_nan or math.isfinite(value) else None
    if value is None or type(value) in (str, int, bool):
        return value
    if isinstance(value, (np.ndarray, np.generic)):
        if _is_plain(value) and (value.dtype.kind != "f" or np.isfinite(value).all()):
            return value.tolist()
        if _is_plain(value) or value.dtype == object:
            return _plain(value.tolist(), keeps_nan)
    if isinstance(value, (list, tuple)):
        return [_plain(item, keeps_nan) for item in value]
    if type(value) is dict and all(isinstance(key, (str, int, np.integer)) for key in value):
        named = {str(key): _plain(item, keeps_nan) for key, item in value.items()}
        if len(named) == len(value):
            return named
    if isinstance(value, Enum):
        return _plain(value.value, keeps_nan)
    if isinstance(value, BaseModel):
        return _plain(value.model_dump(), keeps_nan)
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value), keeps_nan)
    if (array := _array(value)) is not value:
        return _plain(array, keeps_nan)
    raise _unknown(value)


def _is_plain(array: Array | np.generic) -> bool:
    """Whether these are truth values, numbers or text."""
    return array.dtype.kind in "biufU" and array.dtype != np.longdouble


def _unknown(value: object) -> PredictionsError:
    name = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
    if isinstance(value, dict):
        name = f"a dict with the keys {', '.join(map(repr, value))[:200]}, which must be different texts"
    return PredictionsError(f"predict() returned {name}: return numbers, text, or lists or dicts of these")


def _encode_csv(rows: list[Any]) -> bytes:
    if rows and isinstance(rows[0], dict):
        rows = list(map(list, zip(*_columns(rows).values(), strict=True)))
    lines = [row if isinstance(row, list) else [row] for row in rows]
    differ = len(set(map(len, lines))) > 1 or [] in lines  # a row without cells would be a blank line
    if differ or any(isinstance(cell, (list, dict)) for line in lines for cell in line):
        raise ValueError("the rows differ, or a cell holds several values")
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(lines)
    return out.getvalue().encode()


def _encode_csv_column(predictions: Array) -> bytes:
    if len(predictions) >= MANY_ROWS and predictions.dtype.kind in "iu" and predictions.dtype.isnative:
        from pyarrow import csv as arrow_csv  # imported here, because small requests do without

        # Arrow writes whole numbers as Python does, but 1 for 1.0.
        out = pyarrow.BufferOutputStream()
        table = pyarrow.table({"prediction": predictions})
        arrow_csv.write_csv(table, out, arrow_csv.WriteOptions(include_header=False))
        return bytes(out.getvalue())
    values = _plain(predictions, keeps_nan=False)
    text = "\n".join(map(str, values)) + "\n"
    # Numbers, and labels that are not empty and hold none of these, need no quotes.
    is_simple = text.count("\n") == len(values) and not any(mark in text for mark in ("\n\n", ",", '"', "\r"))
    return text.encode() if is_simple and text[0] != "\n" and None not in values else _encode_csv(values)


def _encode_json(rows: list[Any]) -> bytes:
    return f"{_dump_json({'predictions': rows})}\n".encode()


def _encode_json_lines(rows: list[Any]) -> bytes:
    return "".join(f"{_dump_json(row)}\n" for row in rows).encode()


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

    out = io.BytesIO()
    is_records = rows and isinstance(rows[0], dict)
    parquet.write_table(pyarrow.table(_columns(rows) if is_records else {"prediction": rows}), out)
    return out.getvalue()


def _columns(records: list[Any]) -> dict[str, list[Any]]:
    names = records[0].keys()
    if not names or any(not isinstance(record, dict) or record.keys() != names for record in records):
        raise ValueError("the records have no keys, or different ones")
    return {name: [record[name] for record in records] for name in records[0]}


ENCODERS: Mapping[str, Callable[[list[Any]], bytes]] = {
    CSV: _encode_csv,
    JSON: _encode_json,
    JSON_LINES: _encode_json_lines,
    NPY: _encode_npy,
    PARQUET: _encode_parquet,
}
