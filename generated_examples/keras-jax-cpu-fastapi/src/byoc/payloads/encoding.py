"""Predictions become responses, by media type (S-26, B-10)."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from byoc.errors import RequestError
from byoc.payloads.arrow import pyarrow
from byoc.payloads.decoding import Array
from byoc.payloads.media_types import CSV, JSON, JSON_LINES, NPY, PARQUET

# What model.predict may return: one value, list or dict for each row.
Predictions = Array | Sequence[Any]

# From so many predictions on, Arrow is faster at writing whole numbers.
MANY_ROWS = 10_000


def encode(predictions: Predictions, media_type: str) -> bytes:
    """Encode one prediction per row; media_type is a result of `negotiate`."""
    return ENCODERS[media_type](predictions)


def _encode_csv(predictions: Predictions) -> bytes:
    if isinstance(predictions, np.ndarray) and predictions.ndim == 1:
        if len(predictions) >= MANY_ROWS and predictions.dtype.kind in "iu" and predictions.dtype.isnative:
            return _encode_many_integers(predictions)
        text = "\n".join(map(str, predictions.tolist())) + "\n"
        # Labels that hold none of these need no quotes.
        if text.count("\n") == len(predictions) and not any(character in text for character in ',"\r'):
            return text.encode()
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(
        row if isinstance(row, list) else list(row.values()) if isinstance(row, dict) else [row]
        for row in _plain(predictions)
    )
    return out.getvalue().encode()


def _encode_many_integers(predictions: Array) -> bytes:
    """By Arrow, as Python would. Fractions are not for it: it writes 1 for 1.0."""
    from pyarrow import csv as arrow_csv  # here, for small requests do without

    out = pyarrow.BufferOutputStream()
    table = pyarrow.table({"prediction": predictions})
    arrow_csv.write_csv(table, out, arrow_csv.WriteOptions(include_header=False))
    return bytes(out.getvalue())


def _encode_json(predictions: Predictions) -> bytes:
    return _dump_json({"predictions": _plain(predictions)}) + b"\n"


def _encode_json_lines(predictions: Predictions) -> bytes:
    return b"".join(_dump_json(row) + b"\n" for row in _plain(predictions))


def _encode_npy(predictions: Predictions) -> bytes:
    array = np.asarray(predictions)
    if array.dtype == object:
        raise RequestError(406, "these predictions do not fit one array; ask for application/json")
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()


def _encode_parquet(predictions: Predictions) -> bytes:
    from pyarrow import parquet

    out = io.BytesIO()
    rows = _plain(predictions)
    if rows and isinstance(rows[0], dict):
        table = pyarrow.Table.from_pylist(rows)
    else:
        table = pyarrow.table({"prediction": rows})
    parquet.write_table(table, out)
    return out.getvalue()


def _plain(predictions: Predictions) -> list[Any]:
    """Predictions as a list of values, one per row."""
    return list(predictions.tolist() if isinstance(predictions, np.ndarray) else predictions)


def _dump_json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False, default=_from_numpy).encode()


def _from_numpy(value: object) -> Any:
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"a prediction of type {type(value).__name__} cannot be written as JSON")


ENCODERS: Mapping[str, Callable[[Predictions], bytes]] = {
    CSV: _encode_csv,
    JSON: _encode_json,
    JSON_LINES: _encode_json_lines,
    NPY: _encode_npy,
    PARQUET: _encode_parquet,
}
