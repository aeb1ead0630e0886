"""A table's cells are read by their column's type alone, in every media type and at every size."""

from __future__ import annotations

import io
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas
import pytest
from bodies import parquet
from byoc import payloads
from byoc.errors import RequestError
from byoc.inputs import Table, boolean, category, date, number, text, whole_number
from hypothesis import given, settings
from hypothesis import strategies as st

CSV, JSON, JSON_LINES = "text/csv", "application/json", "application/jsonlines"
PARQUET = "application/x-parquet"
NAMES = ("size", "count", "note", "color", "new", "seen")
TABLE = Table(
    size=number(),
    count=whole_number(),
    note=text(),
    color=category("red", "blue"),
    new=boolean(),
    seen=date(),
)
OPTIONAL = Table(
    size=number(optional=True),
    count=whole_number(optional=True),
    note=text(optional=True),
    color=category("red", "blue", optional=True),
    new=boolean(optional=True),
    seen=date(optional=True),
)
RECORDS: list[dict[str, Any]] = [
    {"size": 1.5, "count": 2, "note": "a, b", "color": "red", "new": True, "seen": "2026-01-31"},
    {
        "size": 2,
        "count": -3,
        "note": "é\n",
        "color": "blue",
        "new": False,
        "seen": "2026-01-31T12:30:00+02:00",
    },
]
EXPECTED = {
    "size": np.array([1.5, 2]),
    "count": np.array([2, -3]),
    "note": np.array(["a, b", "é\n"], dtype=object),
    "color": np.array(["red", "blue"], dtype=object),
    "new": np.array([True, False]),
    "seen": np.array(["2026-01-31T00:00", "2026-01-31T10:30"], dtype="datetime64[us]"),
}
ROW = b'1.5,2,"a, b",red,true,2026-01-31\n'
ROWS = ROW + '2,-3,"é\n",blue,FALSE,2026-01-31T12:30:00+02:00\n'.encode()
HEADER = ",".join(NAMES).encode() + b"\n"
LISTS = [[record[name] for name in NAMES] for record in RECORDS]
COLUMNS = {name: [record[name] for record in RECORDS] for name in NAMES}


def decoded(body: bytes, content_type: str, table: Table = TABLE) -> Any:
    return payloads.decoder(table)(body, content_type)


def refusal(body: bytes, content_type: str, table: Table = TABLE) -> RequestError:
    with pytest.raises(RequestError) as refused:
        decoded(body, content_type, table)
    assert "\n" not in refused.value.reason
    return refused.value


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    "content_type, body",
    [
        (CSV, ROWS),
        (CSV, HEADER + ROWS),
        (CSV, b"\xef\xbb\xbf" + HEADER.replace(b"\n", b"\r\n") + ROWS),
        ("text/csv; header=present", b"x," + HEADER + b"0," + ROWS.replace(b"\n2,", b"\n0,2,")),
        ("text/csv; header=absent", ROWS),
        (JSON, as_json({"instances": RECORDS})),
        (JSON, as_json({"inputs": LISTS})),
        (JSON, as_json(LISTS)),
        (JSON, as_json(COLUMNS)),
        (JSON, as_json({"columns": NAMES, "data": LISTS})),
        (JSON, as_json({"dataframe_split": {"columns": NAMES, "data": LISTS}})),
        (JSON, as_json([dict(reversed(record.items())) for record in RECORDS])),
        (JSON_LINES, b"\n".join(map(as_json, RECORDS))),
        (JSON_LINES, b"\n".join(map(as_json, LISTS))),
        (JSON_LINES, b"\n".join(as_json({"features": row}) for row in LISTS)),
        (PARQUET, parquet({**COLUMNS, "seen": EXPECTED["seen"], "other": [1, 2]})),
        (PARQUET, parquet({**COLUMNS, "size": [1.5, 2.0]})),
    ],
)
def test_every_form_of_a_request_gives_the_declared_columns(content_type: str, body: bytes) -> None:
    table = decoded(body, content_type)
    assert tuple(table) == NAMES
    for name, column in EXPECTED.items():
        assert table[name].dtype == column.dtype, name
        np.testing.assert_array_equal(table[name], column)


def test_one_row_may_come_without_a_list_of_rows() -> None:
    for body in (RECORDS[0], LISTS[0]):
        assert decoded(as_json(body), JSON)["note"].tolist() == ["a, b"]


def test_the_only_column_may_come_as_bare_values() -> None:
    for content_type, body in (
        (JSON, b'{"instances": ["x", "y"]}'),
        (JSON_LINES, b'"x"\n"y"'),
        (CSV, b"x\ny"),
    ):
        assert decoded(body, content_type, Table(note=text()))["note"].tolist() == ["x", "y"]


MISSING = {
    "an empty cell": (CSV, b",,,,,\n"),
    "blank cells": (CSV, b" , ,, , , \n"),
    "nan": (CSV, b"nan,NaN,,,,\n"),
    "null": (JSON, as_json([dict.fromkeys(NAMES)])),
    "NaN": (JSON, as_json([dict.fromkeys(NAMES, float("nan"))])),
    "keys left out": (JSON, b'[{"size": null}]'),
    "null in a line": (JSON_LINES, as_json([None] * 6)),
    "columns left out": (CSV, b"size,other\n,1"),
    "Parquet's null": (PARQUET, parquet({name: [None] for name in NAMES})),
    "pandas' NaN": (PARQUET, parquet({"size": [float("nan")], "count": [float("nan")]})),
}


@pytest.mark.parametrize("content_type, body", MISSING.values(), ids=MISSING)
def test_a_missing_value_is_nan_none_or_nat_where_it_is_optional(content_type: str, body: bytes) -> None:
    table = decoded(body, content_type, OPTIONAL)
    assert [str(table[name][0]) for name in NAMES] == ["nan", "nan", "None", "None", "None", "NaT"]
    assert [table[name].dtype.kind for name in NAMES] == list("ffOOOM")


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_value_is_refused_where_it_is_not_optional(name: str) -> None:
    without = [RECORDS[0], {**RECORDS[1], name: None}]
    assert refusal(as_json(without), JSON).reason.startswith(f"row 2, column {name!r} is missing; send ")
    cells = ["1", "2", "n", "red", "1", "2026-01-31"]
    cells[NAMES.index(name)] = ""
    assert refusal(ROW + ",".join(cells).encode(), CSV).reason == refusal(as_json(without), JSON).reason


@pytest.mark.parametrize(
    "name, cells, values, accepted",
    [
        ("size", ["x", "inf", "1e999", "1,5", "1_0"], ["1", True, [1], float("inf")], "a finite number"),
        (
            "count",
            ["1.5", "0x10", "1_0", "9223372036854775808", "9e17"],
            ["1", True, 1.5, 2**63],
            "a whole number",
        ),
        ("note", [], [1, True, ["x"]], "a text"),
        ("color", ["Red", "green"], ["Red", 1, ["red"]], "one of red, blue"),
        ("new", ["yes", "2", "t"], ["true", 1, 0], "true or false"),
        ("seen", ["31.01.2026", "soon"], [20260131, "soon"], "a date such as 2026-01-31"),
    ],
)
def test_a_wrong_cell_is_refused_with_its_place_and_what_would_be_accepted(
    name: str, cells: list[str], values: list[Any], accepted: str
) -> None:
    for cell in cells:
        row = [
            {**dict(zip(NAMES, ["1", "2", "n", "red", "1", "2026-01-31"], strict=True)), name: f'"{cell}"'}[n]
            for n in NAMES
        ]
        reason = refusal(ROW + ",".join(row).encode(), CSV).reason
        assert reason.startswith(f"row 2, column {name!r} is {cell!r}; send {accepted}")
    for value in values:
        reason = refusal(as_json([RECORDS[0], {**RECORDS[0], name: value}]), JSON).reason
        assert reason.startswith(f"row 2, column {name!r} is {value!r}; send {accepted}")


@pytest.mark.parametrize(
    "content_type, body, status, reason",
    [
        ("text/csv; header=true", HEADER + ROW, 415, "send header=present or header=absent"),
        (CSV, b"1,2\n", 400, "each row must have 6 values (size, count, note, color, new, seen), not 2"),
        (CSV, ROW + b"1,2\n", 400, "Row #2"),
        (CSV, HEADER, 400, "no rows"),
        (CSV, b"size,count,size,note,color,new,seen\n", 400, "named twice"),
        ("text/csv; header=present", ROW, 400, "column 'size' is missing"),
        ("text/csv; header=absent", HEADER + ROW, 400, "row 1, column 'size' is 'size'"),
        (JSON, b"[]", 400, "no rows"),
        (JSON, b"5", 400, "must be an object or a list"),
        (JSON, b'{"x": 5}', 400, "records of size, count"),
        (JSON, b'[{"x": 5}]', 400, "row 1 must be a record"),
        (JSON, b"[[1, 2]]", 400, "row 1 must be a record"),
        (JSON, b'{"size": [1], "count": [1, 2]}', 400, "the same length"),
        (PARQUET, b"PAR1", 400, "not valid"),
        (
            PARQUET,
            parquet({**COLUMNS, "count": np.array([1, 2**63], dtype="uint64")}),
            400,
            "row 2, column 'count' is 9223372036854775808; send a whole number of 64 bits",
        ),
        (PARQUET, parquet({**COLUMNS, "size": ["1", "2"]}), 400, "column 'size' holds string; send a finite"),
        (
            PARQUET,
            parquet({"note": pandas.Series(["x" * 10_000_000] * 100).astype("category")}),
            413,
            "bytes",
        ),
        ("application/x-npy", b"x", 415, "text/csv, application/json"),
    ],
)
def test_a_bad_request_is_refused_with_its_reason(
    content_type: str, body: bytes, status: int, reason: str
) -> None:
    table = Table(note=text()) if status == 413 else TABLE
    refused = refusal(body, content_type, table)
    assert refused.status == status
    assert reason in refused.reason


def test_a_long_text_is_read_in_each_row() -> None:
    long = "x" * 200_000
    body = f"{long},1\n{long},2\n".encode()
    assert decoded(body, CSV, Table(note=text(), n=number()))["note"].tolist() == [long, long]


def test_a_row_of_text_is_no_header_unless_it_names_the_required_columns() -> None:
    table = Table(note=text(), color=category("red", "blue", optional=True))
    assert decoded(b"note,red\nx,blue\n", CSV, Table(a=text(), b=text()))["a"].tolist() == ["note", "x"]
    assert decoded(b"color,note\nred,x\n", CSV, table)["note"].tolist() == ["x"]


def test_a_batch_refuses_a_header_that_differs_because_the_next_piece_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = Table(a=number(), b=number(optional=True))
    assert decoded(b"b,a\n2,1\n", CSV, table)["a"].tolist() == [1]
    monkeypatch.setenv("SAGEMAKER_BATCH", "true")
    assert decoded(b"a,b\n1,2\n", CSV, table)["a"].tolist() == [1]
    for body in (b"b,a\n2,1\n", b"a\n1\n", b"a,b,c\n1,2,3\n"):
        assert "in a batch the header must be a,b" in refusal(body, CSV, table).reason


def test_a_dataframe_has_pandas_own_types() -> None:
    kinds = {"size": "float64", "note": "object", "color": "category", "seen": "datetime64[us]"}
    required = decoded(ROWS, CSV, Table(TABLE.columns, dataframe=True))
    optional = decoded(ROWS + b",,,,,\n", CSV, Table(OPTIONAL.columns, dataframe=True))
    assert required.dtypes.astype(str).to_dict() == {**kinds, "count": "int64", "new": "bool"}
    assert optional.dtypes.astype(str).to_dict() == {**kinds, "count": "Int64", "new": "boolean"}
    assert list(required.columns) == list(NAMES)
    assert list(optional["color"].cat.categories) == ["red", "blue"]
    assert optional["note"].tolist() == ["a, b", "é\n", None]
    assert optional.isna().iloc[2].all() and not optional.iloc[:2].isna().any(axis=None)


def test_a_frame_that_pandas_wrote_comes_back_without_its_index() -> None:
    frame = decoded(ROWS, CSV, Table(TABLE.columns, dataframe=True)).set_axis([7, 8])
    for content_type, body in ((PARQUET, frame.to_parquet()), (CSV, frame.to_csv(index=False).encode())):
        again = decoded(body, content_type, Table(TABLE.columns, dataframe=True))
        pandas.testing.assert_frame_equal(again, frame.reset_index(drop=True))


def test_a_worker_s_first_prediction_gets_a_row_like_any_other() -> None:
    for table in (TABLE, OPTIONAL, Table(OPTIONAL.columns, dataframe=True)):
        neutral, sent = payloads.neutral(table), decoded(ROW, CSV, table)
        assert {n: c.dtype for n, c in neutral.items()} == {n: c.dtype for n, c in sent.items()}
        assert all(len(column) == 1 for _, column in neutral.items())


plain = [
    "",
    " ",
    " 1 ",
    "+1",
    "-0",
    "1.",
    ".5",
    "1_0",
    "1e5",
    "nan",
    "nan(1)",
    "inf",
    "1e999",
    "0x1p3",
    "0x1",
    "١",
]
others = [
    "x",
    "true",
    "True",
    "0",
    "00",
    "red",
    "blue ",
    "2026-01-31",
    "20260131",
    "2026-01-31 12:00",
    "9" * 19,
    '"a""b"',
]


@settings(max_examples=200, deadline=None)
@given(
    cells=st.lists(st.sampled_from(plain + others), min_size=1, max_size=4),
    column=st.sampled_from(list(OPTIONAL.columns.values())),
)
def test_a_cell_means_the_same_beside_every_other_cell(cells: list[str], column: Any) -> None:
    table = Table(a=column, b=text(optional=True))

    def answer(rows: list[str]) -> Any:
        try:
            return [
                repr(v)
                for v in decoded("".join(f"{row},x\n" for row in rows).encode(), CSV, table)["a"].tolist()
            ]
        except RequestError as error:
            return error.reason.partition("column")[2] or error.reason

    alone = [answer([cell]) for cell in cells]
    together = answer(cells)
    refused = [one for one in alone if isinstance(one, str)]
    assert together == (refused[0] if refused else [one[0] for one in alone])


def test_ten_thousand_mixed_rows_cost_at_most_one_and_a_half_times_pandas() -> None:
    rows = [
        f"{n / 7:.4f},{n},note {n % 100},{'red' if n % 3 else 'blue'},{n % 2 == 0},2026-01-31"
        for n in range(10_000)
    ]
    body = "\n".join([",".join(NAMES), *rows]).encode()
    table = Table(TABLE.columns, dataframe=True)

    def predict(frame: Any) -> Any:
        """What a boosted model of 100 stumps computes: less than any that is worth a container."""
        columns = [frame["size"].to_numpy(), frame["count"].to_numpy(), (frame["color"] == "red").to_numpy()]
        return sum(np.where(columns[n % 3] > n, 0.1, -0.1) for n in range(100))

    def ours() -> Any:
        return predict(decoded(body, CSV, table))

    def theirs() -> Any:
        return predict(pandas.read_csv(io.BytesIO(body), parse_dates=["seen"], dtype={"color": "category"}))

    np.testing.assert_allclose(ours(), theirs())
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(15)]
    assert statistics.median(a for a, _ in pairs) <= 1.5 * statistics.median(b for _, b in pairs)


def seconds(call: Callable[[], object]) -> float:
    """Of CPU time, which other processes on this machine do not change."""
    began = time.process_time()
    call()
    return time.process_time() - began
