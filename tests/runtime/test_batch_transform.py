"""Batch transform: the answers to a file's parts, put one behind the other, are the file's answer (B-10)."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from byoc.inputs import Numbers
from byoc.serving.loaded_model import LoadedModel

from sagegen.local.transform import batches

ROWS = [[float(number), 0.5] for number in range(40)]
ANSWERS = [2 * row[0] for row in ROWS]
MOST = 100  # bytes of a part: some ten records

Load = Callable[..., LoadedModel]


@pytest.fixture
def model(load: Load) -> LoadedModel:
    return load(INPUTS=Numbers("a", "b"), predict=lambda model, inputs: 2 * inputs[:, 0])


def npy(values: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, np.array(values))
    return out.getvalue()


def parquet(**columns: list[float]) -> bytes:
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), out)
    return out.getvalue()


FILES = {
    "text/csv": "".join(f"{a},{b}\n" for a, b in ROWS).encode(),
    "application/jsonlines": "".join(f"{json.dumps(row)}\n" for row in ROWS).encode(),
    "application/json": json.dumps({"instances": ROWS}).encode(),
    "application/x-npy": npy(ROWS),
    "application/x-parquet": parquet(a=[row[0] for row in ROWS], b=[row[1] for row in ROWS]),
}
READ: dict[str, Callable[[bytes], list[float]]] = {
    "text/csv": lambda body: [float(line) for line in body.decode().splitlines()],
    "application/jsonlines": lambda body: [json.loads(line) for line in body.decode().splitlines()],
    "application/json": lambda body: json.loads(body)["predictions"],
    "application/x-npy": lambda body: np.load(io.BytesIO(body)).tolist(),
    "application/x-parquet": lambda body: pyarrow.parquet.read_table(io.BytesIO(body))[
        "prediction"
    ].to_pylist(),
}


def parts(model: LoadedModel, media_type: str, split: str, strategy: str) -> list[bytes]:
    """The answers to the parts that SageMaker makes of a file."""
    bodies = batches(io.BytesIO(FILES[media_type]), split, strategy, MOST if split == "Line" else 0)
    answers = [model.invoke(body, media_type, media_type) for body in bodies]
    assert {answer.status for answer in answers} == {200}
    return [answer.body for answer in answers]


@pytest.mark.parametrize("strategy", ["SingleRecord", "MultiRecord"])
@pytest.mark.parametrize("media_type", ["text/csv", "application/jsonlines"])
def test_parts_of_lines_add_up_without_assemble_with(
    model: LoadedModel, media_type: str, strategy: str
) -> None:
    found = parts(model, media_type, "Line", strategy)
    assert len(found) > 1
    assert b"".join(found) == parts(model, media_type, "None", strategy)[0]
    assert READ[media_type](b"".join(found)) == ANSWERS


@pytest.mark.parametrize("media_type", ["text/csv", "application/jsonlines"])
def test_a_line_feed_of_assemble_with_is_an_empty_line_between_parts_and_loses_nothing(
    model: LoadedModel, media_type: str
) -> None:
    lines = b"".join(part + b"\n" for part in parts(model, media_type, "Line", "SingleRecord")).split(b"\n")
    assert READ[media_type](b"\n".join(line for line in lines if line)) == ANSWERS


@pytest.mark.parametrize("media_type", list(FILES))
def test_a_whole_file_gets_one_answer_in_its_own_type(model: LoadedModel, media_type: str) -> None:
    (answer,) = parts(model, media_type, "None", "MultiRecord")
    assert READ[media_type](answer) == ANSWERS


@pytest.mark.parametrize("media_type", ["application/json", "application/jsonlines"])
def test_answers_in_json_end_in_a_line_feed(model: LoadedModel, media_type: str) -> None:
    """Several files or parts one behind the other stay readable: one value a line."""
    bodies = itertools.repeat(FILES["text/csv"], 2)
    both = b"".join(model.invoke(body, "text/csv", media_type).body for body in bodies)
    assert both.endswith(b"\n") and all(json.loads(line) is not None for line in both.splitlines())


def test_a_file_of_one_value_a_line_that_is_called_json_is_refused_with_the_right_name(
    model: LoadedModel,
) -> None:
    body = FILES["application/jsonlines"]
    for part in (body, b"".join(itertools.islice(batches(io.BytesIO(body), "Line", "MultiRecord", MOST), 1))):
        refused = model.invoke(part, "application/json", None)
        assert refused.status == 400
        assert b"one value per line is application/jsonlines" in refused.body
