"""Predictions become responses: in every type all of them, or none."""

from __future__ import annotations

import datetime
import enum
import io
import json
from typing import Any

import numpy as np
import pandas
import pyarrow
import pyarrow.parquet
import pytest
from byoc.errors import RequestError
from byoc.payloads import bodies, encoding
from pydantic import BaseModel

LABELS = np.array(["x", "y"])
RECORDS = [{"label": "x", "p": 0.5}, {"p": 0.25, "label": "y"}]


def table(body: bytes) -> dict[str, list[Any]]:
    return pyarrow.parquet.read_table(io.BytesIO(body)).to_pydict()


def test_predictions_keep_their_order_and_number_in_every_type() -> None:
    assert encoding.encode(LABELS, bodies.CSV) == b"x\ny\n"
    assert json.loads(encoding.encode(LABELS, bodies.JSON)) == {"predictions": ["x", "y"]}
    assert encoding.encode(LABELS, bodies.JSON_LINES) == b'"x"\n"y"\n'
    assert np.load(io.BytesIO(encoding.encode(LABELS, bodies.NPY))).tolist() == ["x", "y"]
    assert table(encoding.encode(LABELS, bodies.PARQUET)) == {"prediction": ["x", "y"]}


def test_records_keep_their_columns_whatever_the_order_of_their_keys() -> None:
    assert encoding.encode(RECORDS, bodies.CSV) == b"x,0.5\ny,0.25\n"
    assert table(encoding.encode(RECORDS, bodies.PARQUET)) == {"label": ["x", "y"], "p": [0.5, 0.25]}


def test_an_array_keeps_its_type_in_npy() -> None:
    array = np.array([[1, 2]], dtype=np.float32)
    assert np.load(io.BytesIO(encoding.encode(array, bodies.NPY))).dtype == np.float32


@pytest.mark.parametrize("dtype", ["int8", "uint64", ">i8", "bool", "float64", "str"])
def test_many_predictions_are_written_as_few_are(dtype: str) -> None:
    few = np.array([0, 1, 100], dtype=dtype)
    assert encoding.encode(np.tile(few, 5_000), bodies.CSV) == encoding.encode(few, bodies.CSV) * 5_000


@pytest.mark.parametrize(
    "labels, body",
    [
        (["a,b", 'c"d', "e\nf", "g"], b'"a,b"\n"c""d"\n"e\nf"\ng\n'),
        (["", "x"], b'""\nx\n'),
        (["x", "", "y"], b'x\n""\ny\n'),
    ],
)
def test_csv_quotes_what_would_break_its_lines(labels: list[str], body: bytes) -> None:
    assert encoding.encode(np.array(labels), bodies.CSV) == body
    assert encoding.encode(labels, bodies.CSV) == body


@pytest.mark.parametrize(
    "predictions",
    [np.array([np.nan, 2.0]), [float("nan"), 2.0], [np.float32("nan"), np.float64(2)]],
    ids=["array", "list", "NumPy's numbers"],
)
def test_a_nan_costs_no_other_row_its_answer(predictions: Any) -> None:
    assert json.loads(encoding.encode(predictions, bodies.JSON)) == {"predictions": [None, 2.0]}
    assert encoding.encode(predictions, bodies.JSON_LINES) == b"null\n2.0\n"
    assert encoding.encode(predictions, bodies.CSV) == b'""\n2.0\n'
    np.testing.assert_array_equal(np.load(io.BytesIO(encoding.encode(predictions, bodies.NPY))), [np.nan, 2])
    assert table(encoding.encode(predictions, bodies.PARQUET))["prediction"] == [None, 2.0]


def test_an_infinity_deep_in_an_answer_is_missing_everywhere() -> None:
    answer = [{"p": float("inf"), "q": 1.0}]
    assert json.loads(encoding.encode(answer, bodies.JSON)) == {"predictions": [{"p": None, "q": 1.0}]}
    assert encoding.encode(answer, bodies.CSV) == b",1.0\n"
    assert table(encoding.encode(answer, bodies.PARQUET)) == {"p": [None], "q": [1.0]}


class Box(BaseModel):
    label: str
    score: float


class Label(enum.Enum):
    CAT = "cat"
    DOG = 1


class Tensor:
    """What PyTorch's tensors offer, while gradients are recorded."""

    def __init__(self, array: Any, is_detached: bool = False, dtype: str = "torch.float32") -> None:
        self.array, self.is_detached, self.dtype = array, is_detached, dtype

    def detach(self) -> Tensor:
        return Tensor(self.array, True, self.dtype)

    def cpu(self) -> Tensor:
        return self

    def float(self) -> Tensor:
        return Tensor(self.array, self.is_detached)

    def __array__(self, *_: Any, **__: Any) -> Any:
        assert self.is_detached
        if self.dtype == "torch.bfloat16":
            raise TypeError("Got unsupported ScalarType BFloat16")
        return np.array(self.array)


FRAME = pandas.DataFrame({"label": ["x", "y"], "p": [0.5, np.nan]}, index=[7, 8])


@pytest.mark.parametrize(
    "predictions, expected",
    [
        (FRAME, [{"label": "x", "p": 0.5}, {"label": "y", "p": None}]),
        (FRAME["p"], [0.5, None]),
        ({"label": ["x", "y"], "p": np.array([0.5, 0.25])}, RECORDS),
        ({"p": Tensor([0.5, 0.25])}, [{"p": 0.5}, {"p": 0.25}]),
        (Tensor([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        ([{"boxes": Tensor([[1, 2]])}, {"boxes": []}], [{"boxes": [[1, 2]]}, {"boxes": []}]),
        (
            [Box(label="x", score=0.5), Box(label="y", score=1)],
            [{"label": "x", "score": 0.5}, {"label": "y", "score": 1.0}],
        ),
        ([["B", "I"], ["B"]], [["B", "I"], ["B"]]),
        ([Label.CAT, Label.DOG], ["cat", 1]),
        (Tensor([0.5, 0.25], dtype="torch.bfloat16"), [0.5, 0.25]),
    ],
)
def test_what_models_return_is_one_prediction_per_input(predictions: Any, expected: list[Any]) -> None:
    answer = encoding.normalised(predictions, 2)
    assert json.loads(encoding.encode(answer, bodies.JSON)) == {"predictions": expected}


@pytest.mark.parametrize(
    "predictions",
    [FRAME, {"p": [1, 2]}, np.array([1, 2]), Tensor(1.0), pandas.DataFrame([[1, 2]], columns=["a", "a"])],
)
def test_another_number_of_predictions_than_inputs_is_the_models_error(predictions: Any) -> None:
    with pytest.raises(encoding.PredictionsError, match=r"predict\(\) returned"):
        encoding.normalised(predictions, 1)


def test_several_outputs_are_no_predictions() -> None:
    outputs = (np.array(["x", "y"]), np.array([0.5, 0.25]))
    with pytest.raises(encoding.PredictionsError, match="a tuple: return a list, or a dict that names"):
        encoding.normalised(outputs, 2)


@pytest.mark.parametrize("numbers", [[1.5, 2.5], [1, 2]])
def test_what_a_mask_hides_is_missing(numbers: list[float]) -> None:
    answer = encoding.normalised(np.ma.MaskedArray(numbers, [True, False]), 2)
    assert json.loads(encoding.encode(answer, bodies.JSON)) == {"predictions": [None, numbers[1]]}


class Columns(dict[str, list[float]]):
    """What a DataFrame looks like to len() and list()."""


@pytest.mark.parametrize(
    "predictions",
    [
        {"p": [0.5], "q": []},
        [Columns(p=[0.5])],
        [{1}],
        [object()],
        [datetime.date(2026, 1, 1)],
        [b"x"],
        np.array([b"x"]),
        np.array(["2026-01-01"], dtype="datetime64[D]"),
        np.array([object()]),
        [{("a", "b"): 1}],
        [{0: 0.5, "0": 0.25}],
        iter([1.0]),
    ],
    ids=lambda predictions: repr(predictions)[:20],
)
@pytest.mark.parametrize("media_type", bodies.ALL)
def test_a_prediction_of_an_unknown_type_is_the_models_error_in_every_media_type(
    predictions: Any, media_type: str
) -> None:
    with pytest.raises(TypeError, match=r"predict\(\) returned"):
        encoding.encode(predictions, media_type)


@pytest.mark.parametrize(
    "predictions, refusing",
    [
        ([{"boxes": [1, 2]}, {"boxes": []}], [bodies.CSV, bodies.NPY]),
        ([["B", "I"], ["B"]], [bodies.CSV, bodies.NPY]),
        ([[["B"]], [["I"]]], [bodies.CSV]),
        ([[], []], [bodies.CSV]),
        ([{}, {}], [bodies.CSV, bodies.NPY, bodies.PARQUET]),
        ([{"a": 1}, {"b": 1}], [bodies.CSV, bodies.NPY, bodies.PARQUET]),
        ([1, "x"], [bodies.NPY, bodies.PARQUET]),
    ],
)
def test_what_a_type_cannot_hold_is_refused_with_the_type_that_can(
    predictions: Any, refusing: list[str]
) -> None:
    assert json.loads(encoding.encode(predictions, bodies.JSON)) == {"predictions": predictions}
    for media_type in refusing:
        with pytest.raises(RequestError, match="ask for application/json") as refused:
            encoding.encode(predictions, media_type)
        assert refused.value.status == 406
