"""Request bodies in binary formats."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from byoc import payloads
from byoc.inputs import Numbers

FEATURES = ("a", "b")
ROWS = [[1.0, 2.0], [3.0, 4.5]]


def npy(array: object, **options: bool) -> bytes:
    out = io.BytesIO()
    np.save(out, np.asarray(array), **options)
    return out.getvalue()


def parquet(columns: dict[str, Any], metadata: dict[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns).replace_schema_metadata(metadata), out)
    return out.getvalue()


def decode(
    body: bytes,
    content_type: str | None,
    features: Sequence[str] = (),
    accepts_missing: bool = False,
    declare: type[Numbers] = Numbers,
) -> Any:
    """What predict gets from a model of these columns of numbers, or of one that declares nothing."""
    declared = declare(*features, missing=accepts_missing) if features else None
    return payloads.decoder(declared, accepts_missing)(body, content_type)
