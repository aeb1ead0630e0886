"""byoc.payloads in this process, with random bodies: each is an array of plain values, or a 4xx."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Sized
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from .fuzzing import accepts, charsets, csv_bodies, few, requests
from .load import Request
from .traffic import CSV, NAMES

SRC = Path(__file__).parents[3] / "template/project/src"
sys.path.insert(0, str(SRC))

from byoc import payloads  # noqa: E402
from byoc.errors import RequestError  # noqa: E402
from byoc.inputs import Numbers  # noqa: E402
from byoc.payloads import encoding, tables  # noqa: E402
from byoc.payloads.bodies import ALL, JSON_LINES, NPY, negotiate  # noqa: E402
from byoc.payloads.bodies import CSV as CSV_TYPE  # noqa: E402

SECONDS = 2


def decode(request: Request, features: list[str]) -> Any:
    """The array; None where the request was refused as it should be."""
    began = time.perf_counter()
    try:
        decoder = payloads.decoder(Numbers(*features) if features else None)
        return decoder(request.body, request.content_type)
    except RequestError as error:
        refused = error
    finally:
        assert time.perf_counter() - began < SECONDS
    assert 400 <= refused.status < 500
    assert refused.reason.strip()
    assert "\n" not in refused.reason
    assert len(refused.reason) < 1000
    return None


@few(1000)
@given(request=requests())
def test_a_body_becomes_rows_of_numbers_or_is_refused(request: Request) -> None:
    inputs = decode(request, NAMES)
    if inputs is not None:
        assert inputs.ndim == 2
        assert inputs.shape[1] == len(NAMES)
        assert len(inputs) > 0
        assert inputs.dtype in (np.float64, np.float32)
        assert inputs.dtype.isnative
        assert np.isfinite(inputs).all()


@few(500)
@given(request=requests())
def test_without_named_features_a_body_becomes_an_array_of_plain_values_or_is_refused(
    request: Request,
) -> None:
    inputs = decode(request, [])
    if inputs is not None:
        assert inputs.ndim >= 1
        assert len(inputs) > 0
        assert inputs.dtype.kind in "biufUO" or inputs.dtype.names  # records have the values of JSON
        if inputs.dtype == object:
            assert all(isinstance(value, (float, str, bytes)) for value in inputs.flat)


@few(600)
@given(body=csv_bodies())
def test_the_fast_csv_parser_reads_what_the_careful_one_reads(body: bytes) -> None:
    careful = decode(Request("csv", body), NAMES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "FEW_CHARACTERS", 0)
        fast = decode(Request("csv", body), NAMES)
    assert (careful is None) == (fast is None), (careful, fast)
    if careful is not None:
        np.testing.assert_array_equal(careful, fast)


@few(500)
@given(accept=accepts, content_type=st.builds(str.__add__, st.sampled_from([CSV, "a/b", ""]), charsets))
def test_accept_chooses_a_type_that_can_be_written_or_is_refused(accept: str, content_type: str) -> None:
    try:
        chosen, status = negotiate(accept, content_type), 200
    except RequestError as error:
        chosen, status = CSV_TYPE, error.status
    assert chosen in ALL
    assert status in (200, 406, 415)


predictions = st.one_of(
    st.lists(
        st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.booleans()), min_size=1, max_size=4
    ),
    st.lists(st.lists(st.floats(), min_size=2, max_size=2), min_size=1, max_size=3),
    st.lists(st.dictionaries(st.sampled_from("ab"), st.floats()), min_size=1, max_size=3),
    st.lists(st.floats(), min_size=1).map(np.array),
    st.lists(st.text(), min_size=1).map(np.array),
    st.lists(st.floats(width=32), min_size=1).map(lambda v: np.array(v, dtype=np.float32)[:, None]),
)


@few(500)
@given(values=predictions, media_type=st.sampled_from(ALL))
def test_predictions_are_written_one_for_each_row_or_refused(values: Sized, media_type: str) -> None:
    try:
        body = encoding.encode(values, media_type)
    except (RequestError, ValueError, TypeError):
        return  # a 406, or the model's mistake: its 500 is right
    if media_type == NPY:
        assert len(np.load(io.BytesIO(body), allow_pickle=False)) == len(values)
    elif media_type == JSON_LINES:
        assert body.count(b"\n") == len(values)
