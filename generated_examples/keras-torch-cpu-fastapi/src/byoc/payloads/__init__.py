"""Requests become inputs and predictions become responses, by media type (S-26, B-10)."""

from collections.abc import Callable
from functools import partial
from typing import Any

from byoc.inputs import Images, Inputs, Numbers, Table, Text
from byoc.payloads.decoding import Array, decode
from byoc.payloads.encoding import PredictionsError, encode, normalised
from byoc.payloads.items import decode_media, decode_text, decode_undeclared
from byoc.payloads.media_types import ALL, CSV, JSON, JSON_LINES, NPY, PARQUET, negotiate

__all__ = [
    "ALL",
    "CSV",
    "JSON",
    "JSON_LINES",
    "NPY",
    "PARQUET",
    "Array",
    "PredictionsError",
    "decode",
    "decoder",
    "encode",
    "negotiate",
    "neutral",
    "normalised",
]


def decoder(inputs: Inputs | None, accepts_missing: bool = False) -> Callable[[bytes, str | None], Any]:
    """From a body and its Content-Type to what `predict` gets. Imports what that needs."""
    if inputs is None:
        return partial(decode_undeclared, accepts_missing=accepts_missing)
    if isinstance(inputs, Numbers):
        return partial(decode, features=inputs.names, accepts_missing=inputs.missing)
    if isinstance(inputs, Table):
        from byoc.payloads import tables

        if inputs.dataframe:
            import pandas  # noqa: F401 - not in the first request
        return partial(tables.decode, table=inputs)
    if isinstance(inputs, Text):
        return partial(decode_text, declared=inputs)
    if isinstance(inputs, Images):
        import PIL.Image  # noqa: F401 - not in the first request
    return partial(decode_media, declared=inputs)


def neutral(inputs: Inputs | None) -> Any:
    """One input for a worker's first prediction; None where none can be made up."""
    import numpy as np

    if isinstance(inputs, Numbers):
        return np.zeros((1, len(inputs.names)))
    if isinstance(inputs, Table):
        from byoc.payloads import tables

        return tables.neutral(inputs)
    return ["text"] if isinstance(inputs, Text) else None
