"""Requests become inputs and predictions become responses, by media type (S-26, B-10)."""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from byoc.inputs import Features, Images, Inputs, Media, Numbers, Table, Text

# One of Arrow's allocators would start a thread, and a process with threads must not be forked.
os.environ.setdefault("JE_ARROW_MALLOC_CONF", "background_thread:false")
from byoc.payloads.bodies import CSV, JSON, JSON_LINES
from byoc.payloads.encoding import encode, normalised

__all__ = ["CSV", "JSON", "JSON_LINES", "decoder", "encode", "is_untyped", "neutral", "normalised"]


def decoder(inputs: Inputs | None, accepts_missing: bool = False) -> Callable[[bytes, str | None], Any]:
    """From a body and its Content-Type to what `predict` gets. Imports what that needs now."""
    # Always: scikit-learn asks in each prediction whether it was given one of Arrow's tables, and fails in
    # one thread while another imports pyarrow.
    from byoc.payloads import items, tables, undeclared

    if isinstance(inputs, Table) and inputs.dataframe:
        import pandas  # noqa: F401
    if isinstance(inputs, Images):
        import PIL.Image  # noqa: F401
    if isinstance(inputs, Features):
        return partial(undeclared.decode_features, declared=inputs)
    if isinstance(inputs, (Numbers, Table)):
        return partial(tables.decode, declared=inputs)
    if isinstance(inputs, Text):
        return partial(items.decode_text, declared=inputs)
    if isinstance(inputs, Media):
        return partial(items.decode_media, declared=inputs)
    return partial(undeclared.decode, accepts_missing=accepts_missing)


def is_untyped(inputs: Any) -> bool:
    """Whether these are texts or records that no declaration describes: the model may know numbers only."""
    return isinstance(inputs, np.ndarray) and inputs.dtype.hasobject and not isinstance(inputs.flat[0], bytes)


def neutral(inputs: Inputs | None) -> Any:
    """One input for a worker's first prediction; None where none can be made up."""
    from byoc.payloads import tables

    if isinstance(inputs, (Numbers, Table)):
        return tables.neutral(inputs)
    return ["text"] if isinstance(inputs, Text) else None
