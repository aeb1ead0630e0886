"""Filters and joins of a transform job, record by record."""

from __future__ import annotations

from typing import Any

import pytest

from sagegen.local.processing import Path, Processing
from sagegen.local.wire import Fault

ROW = b'7,"a, b",3\n'
RECORD = b'{"id":7,"features":[1,2]}\n'


def processing(kind: str, split: str = "Line", **given: str) -> Processing:
    return Processing(
        {
            "TransformInput": {"ContentType": kind, "SplitType": split},
            "TransformOutput": {"Accept": kind, "AssembleWith": split},
            "DataProcessing": given,
        }
    )


@pytest.mark.parametrize(
    "kind, given, body, sent",
    [
        ("text/csv", {"InputFilter": "$[1:]"}, ROW + ROW, b'"a, b",3\n' * 2),
        ("text/csv", {"InputFilter": "$[0,-1]"}, ROW, b"7,3\n"),
        ("text/csv", {"InputFilter": "$[0]"}, ROW, b"7\n"),
        ("application/jsonlines", {"InputFilter": "$.features"}, RECORD * 2, b"[1,2]\n" * 2),
        ("application/jsonlines", {"InputFilter": "$.features[:1]"}, RECORD, b"[1]\n"),
        ("application/jsonlines", {"InputFilter": "$['id','features']"}, RECORD, RECORD),
        ("application/jsonlines", {"JoinSource": "Input"}, RECORD, RECORD),
    ],
)
def test_the_model_gets_what_the_input_filter_selects(
    kind: str, given: dict[str, str], body: bytes, sent: bytes
) -> None:
    assert processing(kind, **given).before(body) == sent


@pytest.mark.parametrize(
    "kind, given, body, answer, written",
    [
        ("text/csv", {"JoinSource": "Input"}, ROW + ROW, b"x\ny\n", b'7,"a, b",3,x\n7,"a, b",3,y\n'),
        ("text/csv", {"JoinSource": "Input", "OutputFilter": "$[0,-1]"}, ROW, b"x,y\n", b"7,y\n"),
        ("text/csv", {"OutputFilter": "$[1]"}, ROW, b"x,y\n", b"y\n"),
        (
            "application/jsonlines",
            {"JoinSource": "Input", "OutputFilter": "$['id','SageMakerOutput']"},
            RECORD,
            b'{"label":"x"}',
            b'{"id":7,"SageMakerOutput":{"label":"x"}}\n',
        ),
        (
            "application/jsonlines",
            {"JoinSource": "Input"},
            b"[1]\n[2]\n",
            b"3\n4\n",
            b'{"SageMakerInput":[1],"SageMakerOutput":3}\n{"SageMakerInput":[2],"SageMakerOutput":4}\n',
        ),
    ],
)
def test_the_output_is_what_the_output_filter_selects_of_the_join(
    kind: str, given: dict[str, str], body: bytes, answer: bytes, written: bytes
) -> None:
    assert processing(kind, **given).after(body, answer) == written


def test_a_whole_file_of_json_is_one_record() -> None:
    whole = processing("application/json", "None", JoinSource="Input", InputFilter="$.features")
    body = b'{\n "features": [1,\n 2]\n}\n'
    assert whole.before(body) == b"[1,2]\n"
    assert whole.after(body, b'{"label": "x"}') == b'{"features":[1,2],"SageMakerOutput":{"label":"x"}}\n'


@pytest.mark.parametrize(
    "do, reason",
    [
        (
            lambda: processing("text/csv", JoinSource="Input").after(ROW + ROW, b"x\n"),
            "1 answers to 2 records",
        ),
        (lambda: processing("text/csv", InputFilter="$[9]").before(ROW), r"nothing at \$\[9\]"),
        (lambda: processing("text/csv", InputFilter="$.name").before(ROW), r"nothing at \$\.name"),
        (lambda: processing("application/jsonlines", InputFilter="$.a").before(b"no json\n"), "is not"),
        (lambda: processing("application/x-npy", JoinSource="Input"), "ContentType and Accept"),
    ],
)
def test_what_cannot_be_joined_or_filtered_fails_with_its_reason(do: Any, reason: str) -> None:
    with pytest.raises(Fault, match=reason):
        do()


@pytest.mark.parametrize("text", ["", "a", "$.", "$[", "$[?(@.a)]", "$..a", "$.*", "$['a", "$[1:2:3]", "$a"])
def test_an_operator_that_sagemaker_does_not_have_is_refused(text: str) -> None:
    with pytest.raises(Fault, match="JSONPath"):
        Path(text)
