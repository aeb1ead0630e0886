"""Requests become arrays: each form gives the same rows, and nothing is guessed."""

from __future__ import annotations

import gzip
import json
import re
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from bodies import FEATURES, ROWS, decode, npy, parquet
from byoc.errors import RequestError
from byoc.inputs import Features
from byoc.payloads import tables
from hypothesis import given, settings
from hypothesis import strategies as st

CSV, JSON, JSON_LINES = "text/csv", "application/json", "application/jsonlines"
NPY, PARQUET = "application/x-npy", "application/x-parquet"
INDEX = {"pandas": '{"index_columns": ["__index_level_0__"]}'}
GZIP = gzip.compress(b"1,2\n", mtime=0)
nan = float("nan")


def refusal(
    body: bytes, content_type: str, features: tuple[str, ...] = FEATURES, accepts_missing: bool = False
) -> RequestError:
    with pytest.raises(RequestError) as refused:
        decode(body, content_type, features, accepts_missing)
    assert "\n" not in refused.value.reason
    return refused.value


@pytest.mark.parametrize(
    "content_type, body",
    [
        (CSV, b"1,2\n3,4.5\n"),
        (CSV, b"1,2\r\n3,4.5"),
        (CSV, b"\n1,2\n\n3,4.5\n\n"),
        (CSV, b"1,2\n3,4.5\n" + b" " * 3000 + b"\r\n\t"),
        (CSV, b"1,2\r3,4.5\r"),
        ("text/csv; charset=utf-8", b"a,b\n1,2\n3,4.5\n"),
        ("text/csv; header=present", b"a,b\n1,2\n3,4.5\n"),
        ("text/csv; header=absent", b"1,2\n3,4.5\n"),
        (CSV, b"b,other,a\n2,x,1\n4.5,,3\n"),
        (CSV, b'"1","2"\n"3","4.5"\n'),
        ("text/csv; charset=utf-16", "1,2\n3,4.5\n".encode("utf-16")),
        ("TEXT/CSV", b"\xef\xbb\xbfa,b\n1,2\n3,4.5\n"),
        (None, b"1,2\n3,4.5\n"),
        (JSON, b'{"instances": [[1, 2], [3, 4.5]]}'),
        (JSON, b'{"inputs": [{"b": 2, "a": 1}, {"a": 3, "b": 4.5}]}'),
        (JSON, b'{"columns": ["b", "c", "a"], "data": [[2, "x", 1], [4.5, "y", 3]]}'),
        (JSON, b'[{"a": 1, "b": 2, "c": "x"}, {"a": 3, "b": 4.5}]'),
        (JSON, b'{"a": [1, 3], "b": [2, 4.5]}'),
        (JSON, b"\xef\xbb\xbf[[1, 2], [3, 4.5]]"),
        (JSON_LINES, b"\xef\xbb\xbf[1, 2]\n[3, 4.5]\n"),
        (JSON_LINES, b"[1, 2]\n[3, 4.5]\n"),
        (JSON_LINES, b"[1, 2]\r\n\r\n[3, 4.5]\r\n"),
        (JSON_LINES, b'{"a": 1, "b": 2}\n{"a": 3, "b": 4.5}'),
        (JSON_LINES, b'{"features": [1, 2]}\n{"features": [3, 4.5]}'),
        (NPY, npy(ROWS)),
        (PARQUET, parquet({"b": [2, 4.5], "a": [1, 3]})),
    ],
)
def test_every_form_of_a_request_gives_the_same_rows(content_type: str | None, body: bytes) -> None:
    assert decode(body, content_type, FEATURES).tolist() == ROWS


@pytest.mark.parametrize(
    "content_type, body",
    [
        (JSON, b"[1, 2]"),
        (JSON, b'{"features": [1, 2]}'),
        (JSON, b'{"a": 1, "b": 2}'),
        (JSON_LINES, b"[1, 2]"),
        (NPY, npy([1.0, 2.0])),
    ],
)
def test_a_single_row_needs_no_list_of_rows(content_type: str, body: bytes) -> None:
    assert decode(body, content_type, FEATURES).tolist() == [[1, 2]]


@pytest.mark.parametrize(
    "content_type, body",
    [
        (CSV, b"1\n2\n3\n"),
        (JSON, b'{"instances": [1, 2, 3]}'),
        (JSON, b'{"a": [1, 2, 3]}'),
        (JSON_LINES, b"1\n2\n3\n"),
        (JSON_LINES, b'{"instances": 1}\n{"instances": 2}\n{"instances": 3}'),
        (NPY, npy([1.0, 2.0, 3.0])),
    ],
)
def test_the_rows_of_a_single_feature_may_be_bare_numbers(content_type: str, body: bytes) -> None:
    assert decode(body, content_type, ("a",)).tolist() == [[1], [2], [3]]


@pytest.mark.parametrize(
    "content_type, body, status, reason",
    [
        (CSV, b"", 400, "no body"),
        (CSV, b"1,2,3\n", 400, "2 values"),
        (CSV, b"1,x\n", 400, "row 1, column 'b' is 'x'; send a finite number"),
        (CSV, b"1,2\n3\n", 400, "Row #2: Expected 2 columns, got 1"),
        (CSV, b"a,c\n1,2\n", 400, "'b' is missing"),
        (CSV, b"a,b\n", 400, "no rows"),
        (CSV, b"a;b\n1;2\n", 400, "2 values (a, b), not 1; separate them by commas"),
        (CSV, b"a,b,a\n1,2,3\n", 400, "named twice"),
        ("text/csv; header=present", b"1,2\n3,4\n", 400, "'a' is missing"),
        ("text/csv; header=absent", b"a,b\n1,2\n", 400, "'a'"),
        ("text/csv; header=yes", b"a,b\n1,2\n", 415, "send header=present or header=absent"),
        (CSV, b"1_0,2\n", 400, "row 1, column 'a' is '1_0'; send a finite number"),
        (CSV, b"\xff\xfe\xfd", 400, "not valid utf-8"),
        (CSV, GZIP, 400, "compressed by gzip; send it uncompressed"),
        ("text/csv; charset=latin-1", GZIP, 400, "compressed by gzip"),
        (JSON, b"{", 400, "not valid application/json"),
        (JSON, b'{"a": 1, "b": 2}\n{"a": 3, "b": 4}', 400, "application/jsonlines"),
        (JSON, b'{"instances": []}', 400, "no rows"),
        (JSON, b'{"nonsense": 1}', 400, "instances"),
        (JSON, b'[{"x": 1}]', 400, "row 1 must be a record or a list of 2 values (a, b)"),
        (JSON, b'[[1, 2], [3, "x"]]', 400, "row 2, column 'b'"),
        (JSON, b'[[1, 2], [3, "4"]]', 400, "row 2, column 'b' is '4'; send a finite number"),
        (JSON, b'{"instances": [["1", 2]]}', 400, "row 1, column 'a' is '1'; send a finite number"),
        (JSON, b'{"columns": ["a", "b"], "data": 5}', 400, "data a list of rows"),
        (JSON, b'{"columns": ["a", "b"], "data": [1, 2]}', 400, "one value for each named column"),
        (JSON, b"[[1, 2], [3]]", 400, "2 values"),
        (JSON_LINES, b"[1, 2]\n[3, \n", 400, "line 2"),
        (JSON_LINES, b"[1, 2], [3, 4]\n", 400, "each line"),
        (JSON_LINES, b"[1\n2]\n", 400, "each line"),
        (JSON_LINES, b"1\n2\n", 400, "2 values"),
        (NPY, npy([{"a": 1}], allow_pickle=True), 400, "not valid"),
        (NPY, b"\x93NUMPY", 400, "not valid"),
        (NPY, npy([["1", "2"]]), 400, "send numbers"),
        (NPY, npy([[1j, 2]]), 400, "send numbers"),
        (NPY, npy(np.zeros((10**9, 2), "V0")), 400, "send numbers"),
        (PARQUET, b"PAR1", 400, "not valid"),
        (PARQUET, parquet({"a": ["x"], "b": [1]}), 400, "column 'a' holds string; send a finite number"),
        (PARQUET, parquet({"a": [b"x"], "b": [1]}), 400, "column 'a' holds binary; send a finite number"),
        (PARQUET, parquet({"a": [0.0] * 10**7, "b": [0.0] * 10**7}), 413, "smaller batches"),
        ("image/png", b"1,2", 415, "text/csv"),
    ],
)
def test_a_bad_request_is_refused_with_its_reason(
    content_type: str, body: bytes, status: int, reason: str
) -> None:
    refused = refusal(body, content_type)
    assert refused.status == status
    assert reason in refused.reason


MISSING = {
    "an empty cell": (CSV, b"1,2\n3,\n"),
    "a blank cell": (CSV, b"a,b\n1,2\n3,  \n"),
    "nan in CSV": (CSV, b"1,2\n3,nan\n"),
    "null": (JSON, b"[[1, 2], [3, null]]"),
    "NaN as Python writes it": (JSON, b"[[1, 2], [3, NaN]]"),
    "a key left out": (JSON, b'[{"a": 1, "b": 2}, {"a": 3}]'),
    "null in a line": (JSON_LINES, b"[1, 2]\n[3, null]\n"),
    "a key left out of a line": (JSON_LINES, b'{"a": 1, "b": 2}\n{"a": 3}'),
    "NaN in an array": (NPY, npy([[1, 2], [3, nan]])),
    "a null in Parquet": (PARQUET, parquet({"a": [1, 3], "b": [2, None]})),
    "NaN in Parquet": (PARQUET, parquet({"a": [1, 3], "b": [2, nan]})),
}


@pytest.mark.parametrize("content_type, body", MISSING.values(), ids=MISSING)
def test_a_missing_value_is_nan_for_a_model_that_accepts_it_and_else_refused(
    content_type: str, body: bytes
) -> None:
    inputs = decode(body, content_type, FEATURES, accepts_missing=True)
    np.testing.assert_array_equal(inputs, [[1, 2], [3, nan]])
    assert refusal(body, content_type).reason == "row 2, column 'b' is missing; send a finite number"


def test_a_missing_value_in_another_row_does_not_change_what_a_truth_value_means() -> None:
    np.testing.assert_array_equal(
        decode(b"[[true, 2], [3, null]]", JSON, FEATURES, accepts_missing=True), [[1, 2], [3, nan]]
    )


def test_a_model_without_features_may_get_a_long_text() -> None:
    assert decode(b"x" * 200_000 + b",1\n", CSV).tolist() == [["x" * 200_000, 1]]


def test_a_column_of_nothing_but_nulls_is_missing_everywhere() -> None:
    body = parquet({"a": [1.0, 3.0], "b": [None, None]})
    np.testing.assert_array_equal(decode(body, PARQUET, FEATURES, True), [[1, nan], [3, nan]])


@pytest.mark.parametrize(
    "content_type, body",
    [
        (CSV, b"1,2\ninf,4\n"),
        (CSV, b"1,2\n1e999,4\n"),
        (JSON, b"[[1,2],[Infinity,4]]"),
        (NPY, npy([[1, 2], [np.inf, 4]])),
    ],
)
@pytest.mark.parametrize("accepts_missing", [False, True])
def test_infinity_is_refused_in_every_type(content_type: str, body: bytes, accepts_missing: bool) -> None:
    refused = refusal(body, content_type, FEATURES, accepts_missing)
    assert re.fullmatch("row 2, column 'a' is '?(inf|1e999)'?; send a finite number", refused.reason)


def lines(first: str, rest: str, count: int) -> bytes:
    return (first + (rest + "\n") * count).encode()


@pytest.mark.parametrize(
    "first, rest", [("", "1,2"), ("b,a\n", "2,1"), ("name,a,b\n", "bob,1,2"), ("a,b,n\n", "1,2,")]
)
def test_a_large_csv_gives_the_same_rows_as_a_small_one(first: str, rest: str) -> None:
    few, many = (decode(lines(first, rest, count), CSV, FEATURES) for count in (2, 20_000))
    assert few.tolist() == [[1, 2]] * 2
    assert many.tolist() == [[1, 2]] * 20_000


@pytest.mark.parametrize("name", ["1", " 1"])
@pytest.mark.parametrize("count", [1, 20_000])
def test_a_header_of_declared_names_is_one_even_if_they_are_numbers(name: str, count: int) -> None:
    assert decode(lines(f"{name},2\n", "3,4", count), CSV, ("1", "2")).tolist() == [[3, 4]] * count


def test_the_bad_row_of_a_large_csv_is_named() -> None:
    assert "row 20001, column 'b'" in refusal(lines("", "1,2", 20_000) + b"1,x\n", CSV).reason


def fail(*_: object) -> None:
    raise ValueError


cells = st.one_of(
    st.floats().map(repr),
    st.integers().map(str),
    st.sampled_from(
        [
            "",
            " ",
            " 1 ",
            "+1",
            "1.",
            ".5",
            "1_0",
            "nan",
            "nan(1)",
            "-NaN",
            "1d",
            "--1",
            "true",
            "inf",
            "1e999",
            "x",
            "0x1",
            "١",
        ]
    ),
)


@settings(max_examples=300, deadline=None)
@given(
    rows=st.lists(st.lists(cells, min_size=1, max_size=3).map(",".join), min_size=1, max_size=5),
    end=st.sampled_from(["\n", "\r\n", "\r", "\n\n", "\n \n", "\x0b", "\x85", "\u2028"]),
    first=st.sampled_from(["", "a,b{}", "b,x,a{}", "\ufeff", " "]),
)
@pytest.mark.parametrize("accepts_missing", [False, True])
def test_a_body_gives_the_same_answer_below_and_above_the_size_for_arrow(
    accepts_missing: bool, rows: list[str], end: str, first: str
) -> None:
    body = (first.format(end) + end.join(rows)).encode()

    def answer(threshold: int, *, careful: bool = False) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tables, "FEW_CHARACTERS", threshold)
            if careful:
                patch.setattr(tables, "_few_numbers", fail)
            try:
                return repr(decode(body, CSV, FEATURES, accepts_missing).tolist())
            except RequestError as error:
                return error.reason

    assert answer(0) == answer(10**9) == answer(10**9, careful=True)


@pytest.mark.parametrize(
    "content_type, body, expected",
    [
        (CSV, b"red,small\nblue,large\n", [["red", "small"], ["blue", "large"]]),
        (CSV, b"red,small", [["red", "small"]]),
        (CSV, b"red,1\nblue,2", [["red", 1], ["blue", 2]]),
        (CSV, b"1_0,1\n", [["1_0", 1]]),
        (JSON, b'[["red", 1], ["blue", 2]]', [["red", 1], ["blue", 2]]),
        (PARQUET, parquet({"color": ["red", "blue"], "n": [1, 2]}), [["red", 1], ["blue", 2]]),
        (PARQUET, parquet({"text": ["great film", "boring"]}), [["great film"], ["boring"]]),
        (CSV, b"1,2\n3,4.5\n", ROWS),
        ("text/csv; header=present", b"x,y\n1,2\n3,4.5\n", ROWS),
        (JSON, b'{"inputs": ["great film", "1984"]}', ["great film", "1984"]),
        (JSON, b'[{"text": "great film"}]', [["great film"]]),
        (JSON, b"[[1, 2], [3, 4.5]]", ROWS),
        (JSON, b"[[[1, 2]], [[3, 4]]]", [[[1, 2]], [[3, 4]]]),
        (JSON_LINES, b'{"text": "a"}\n{"text": "b"}', [["a"], ["b"]]),
        (PARQUET, parquet({"a": [1, 3], "b": [2, 4.5], "__index_level_0__": [7, 8]}, INDEX), ROWS),
    ],
)
def test_a_model_without_features_gets_what_was_sent(
    content_type: str, body: bytes, expected: object
) -> None:
    inputs = decode(body, content_type)
    assert inputs.tolist() == expected
    texts = [isinstance(value, str) for value in np.ravel(inputs.astype(object))]
    assert inputs.dtype.kind == ("U" if all(texts) else "O" if any(texts) else "f")


@pytest.mark.parametrize(
    "content_type, body",
    [
        (CSV, b"x,y\n1,2\n"),
        (CSV, b"1,2\nred,blue\n"),
        (JSON, b'[[1, 2], ["red", "blue"]]'),
        (JSON, b'["great film", 1984]'),
    ],
)
def test_rows_of_numbers_and_rows_of_text_are_never_mixed(content_type: str, body: bytes) -> None:
    assert "row 2 is not like row 1" in refusal(body, content_type, ()).reason


UNTYPED_GAPS = {
    "an empty cell": (CSV, b"red,1\n,2\nblue,\n"),
    "null": (JSON, b'[["red", 1], [null, 2], ["blue", null]]'),
    "null in a line": (JSON_LINES, b'["red", 1]\n[null, 2]\n["blue", NaN]\n'),
    "a null in Parquet": (PARQUET, parquet({"color": ["red", None, "blue"], "n": [1, 2, None]})),
}


@pytest.mark.parametrize("content_type, body", UNTYPED_GAPS.values(), ids=UNTYPED_GAPS)
def test_a_missing_value_beside_text_is_nan_and_its_row_the_same_as_alone(
    content_type: str, body: bytes
) -> None:
    inputs = decode(body, content_type)
    assert str(inputs.tolist()) == "[['red', 1.0], [nan, 2.0], ['blue', nan]]"


def test_records_of_a_model_without_a_declaration_are_the_same_in_any_order_of_their_keys() -> None:
    one = decode(b'{"instances": [{"b": null, "a": "x", "c": 1}]}', JSON)
    other = decode(b'{"c": 1, "a": "x", "b": null}', JSON_LINES)
    assert one.dtype == other.dtype and one.dtype.names == ("a", "b", "c")
    assert str(one.tolist()) == str(other.tolist()) == "[('x', nan, 1)]"
    assert decode(b'[{"a": 1, "b": 2}, {"b": 4, "a": 3}]', JSON)["b"].tolist() == [2, 4]
    assert "row 2 has other keys" in refusal(b'[{"a": 1, "b": 2}, {"a": 3}]', JSON, ()).reason
    assert (
        "row 2 has a number that is not finite"
        in refusal(b'[{"a": 1, "b": 2}, {"a": 3, "b": Infinity}]', JSON, ()).reason
    )


@pytest.mark.parametrize(
    "content_type, body",
    [
        (CSV, b"22,male\n,female\n"),
        (CSV, b"b,a\nmale,22\nfemale,\n"),
        (JSON, b'[{"b": "male", "a": 22}, {"b": "female"}]'),
        (JSON_LINES, b'[22, "male"]\n[null, "female"]'),
        (PARQUET, parquet({"b": ["male", "female"], "a": [22, None]})),
    ],
)
def test_features_without_types_may_be_text(content_type: str, body: bytes) -> None:
    inputs = decode(body, content_type, FEATURES, accepts_missing=True, declare=Features)
    assert str(inputs.tolist()) == "[[22.0, 'male'], [nan, 'female']]"
    with pytest.raises(RequestError, match="row 2 has no finite number for 'a'"):
        decode(body, content_type, FEATURES, declare=Features)


@pytest.mark.parametrize(
    "content_type, body", [(CSV, b"1,nan"), (CSV, b"1,"), (JSON, b"[[1, null]]"), (NPY, npy([[1, nan]]))]
)
def test_a_model_without_features_gets_missing_values_only_if_it_accepts_them(
    content_type: str, body: bytes
) -> None:
    assert refusal(body, content_type, ()).reason == "row 1 has no finite number for value 2"
    np.testing.assert_array_equal(decode(body, content_type, (), True), [[1, nan]])


@pytest.mark.parametrize("body", [b"[[]]", b"[[], []]"])
def test_a_model_without_features_gets_no_empty_rows(body: bytes) -> None:
    assert refusal(body, JSON, ()).reason == "the body holds no rows"


@pytest.mark.parametrize("body", [b"[[%s, 1]]", b'[[%s, "x"]]'])
def test_a_number_that_no_float_can_hold_is_refused(body: bytes) -> None:
    assert refusal(body % (b"9" * 400), JSON, ()).reason == "a number is too large for a float"


def test_one_long_text_does_not_make_all_cells_long() -> None:
    body = json.dumps({"inputs": ["x" * 1_000_000, *["y"] * 1_000]}).encode()
    assert refusal(body, JSON, ()).status == 413


def test_a_batch_refuses_a_header_in_another_order_because_the_next_piece_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert decode(b"b,a\n2,1\n", CSV, FEATURES).tolist() == [[1, 2]]
    monkeypatch.setenv("SAGEMAKER_BATCH", "true")
    assert decode(b"a,b\n1,2\n", CSV, FEATURES).tolist() == [[1, 2]]
    assert "in a batch the header must be a,b" in refusal(b"b,a\n2,1\n", CSV).reason


def seconds(call: Callable[[], object]) -> float:
    """Of CPU time, which other processes on this machine do not change."""
    began = time.process_time()
    call()
    return time.process_time() - began


def test_json_lines_cost_at_most_one_and_a_half_times_the_same_rows_as_json() -> None:
    count = 200_000
    as_lines = b"1\n" * count
    as_json = json.dumps([1] * count).encode()
    pairs = [
        (
            seconds(lambda: decode(as_lines, JSON_LINES, ("a",))),
            seconds(lambda: decode(as_json, JSON, ("a",))),
        )
        for _ in range(5)
    ]
    assert min(a for a, _ in pairs) <= 1.5 * min(b for _, b in pairs)


def test_a_body_of_very_many_columns_is_refused_quickly() -> None:
    features = tuple(f"f{n}" for n in range(200))
    names = b"x," * 1_000_000 + b"f0\n"
    baseline = seconds(lambda: names.decode().split(","))
    assert seconds(lambda: refusal(names, CSV, features)) < 40 * baseline + 1
