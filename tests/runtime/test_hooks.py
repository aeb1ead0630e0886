"""What LoadedModel makes of model.py: its declaration, its decode and encode, and what predict returns."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from byoc.batching import Batching
from byoc.errors import RequestError
from byoc.hooks import Headers, Request, Response
from byoc.inputs import Images, Numbers, Table, Text, category, number
from byoc.payloads.bodies import ALL
from byoc.serving.loaded_model import LoadedModel

ASGI = [(b"x-amzn-sagemaker-custom-attributes", b"trace=1"), (b"x-tenant", b"blue")]
WSGI = {"HTTP_X_AMZN_SAGEMAKER_CUSTOM_ATTRIBUTES": "trace=1", "HTTP_X_TENANT": "blue", "wsgi.input": object()}
Load = Callable[..., LoadedModel]


def answer(
    model: LoadedModel, body: bytes, content_type: str = "text/csv", accept: str = "application/json"
) -> Any:
    response = model.invoke(body, content_type, accept)
    assert response.status == 200, response.body
    return json.loads(response.body)["predictions"]


def refused_at_load(load: Load, capsys: pytest.CaptureFixture[str], **names: Any) -> str:
    with pytest.raises(SystemExit):
        load(**names)
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("headers", [ASGI, WSGI], ids=["ASGI", "WSGI"])
def test_decode_and_encode_of_model_py_see_the_request_and_set_headers(load: Load, headers: Any) -> None:
    def decode(request: Request) -> Any:
        assert request.media_type == "application/pdf"
        assert request.content_type == "Application/PDF; version=2"
        assert request.headers["X-Tenant"] == request.headers.get("x-TENANT") == "blue"
        assert "X-Tenant" in request.headers and request.headers.get("X-Other") is None
        return {"pages": request.body, "trace": request.custom_attributes}

    def encode(predictions: Any, accept: str) -> Response:
        return Response(predictions["trace"], accept, {"X-Trace": predictions["trace"]}, 202)

    model = load(decode=decode, encode=encode, predict=lambda model, inputs: inputs, INPUTS=Text())
    response = model.invoke(b"%PDF", "Application/PDF; version=2", "image/png, */*", headers)
    assert response == Response(b"trace=1", "image/png", {"X-Trace": "trace=1"}, 202)


@pytest.mark.parametrize(
    "hook", [{}, {"encode": lambda predictions, accept: Response(b"x", headers={"X-A": "b"})}]
)
def test_every_answer_says_which_model_gave_it(
    load: Load, monkeypatch: pytest.MonkeyPatch, hook: dict[str, Any]
) -> None:
    name = "X-Amzn-SageMaker-Custom-Attributes"
    assert name not in load(**hook, INPUTS=Text()).invoke(b'["a"]', "application/json", None).headers
    monkeypatch.setenv("MODEL_VERSION", "churn-2")
    headers = load(**hook, INPUTS=Text()).invoke(b'["a"]', "application/json", None).headers
    assert headers[name] == "churn-2" and ("X-A" in headers) == bool(hook)


def test_input_fn_and_output_fn_are_the_same_under_the_names_of_aws_s_toolkits(load: Load) -> None:
    model = load(
        input_fn=lambda body, content_type: [content_type, *body.decode().split(";")],
        output_fn=lambda predictions, accept: ("|".join(predictions), "text/x-pipes"),
    )
    assert model.invoke(b"a;b", "text/x", None) == Response(b"text/x|a|b", "text/x-pipes")


@pytest.mark.parametrize(
    "names, content_type, body",
    [
        ({"FEATURES": ("a", "b")}, "text/csv", b"1,x\n"),
        ({}, "application/json", b'[{"a": 1, "b": 2}]'),
    ],
)
def test_what_no_declaration_describes_is_refused_only_by_a_model_that_fails_on_it(
    load: Load, capsys: pytest.CaptureFixture[str], names: dict[str, Any], content_type: str, body: bytes
) -> None:
    assert load(**names, predict=lambda model, inputs: ["x"]).invoke(body, content_type, None).status == 200
    numbers_only = load(**names, predict=lambda model, inputs: inputs.astype(float).sum(axis=1))
    refused = numbers_only.invoke(body, content_type, None)
    assert (refused.status, refused.body.count(b"\n")) == (400, 1)
    assert b"it may take numbers only" in refused.body
    assert "Traceback" in capsys.readouterr().err


def test_decode_alone_leaves_the_answer_to_the_usual_media_types(load: Load) -> None:
    model = load(decode=lambda request: request.body.split(b";"), predict=lambda model, inputs: [len(inputs)])
    assert answer(model, b"a;b", "text/x") == [2]


@pytest.mark.parametrize(
    "accept, given", [(None, "application/json"), ("*/*", "application/json"), ("a/b;q=1", "a/b")]
)
def test_encode_gets_one_media_type(load: Load, accept: str | None, given: str) -> None:
    model = load(INPUTS=Text(), encode=lambda predictions, accept: accept)
    assert model.invoke(b"x", "text/plain", accept) == Response(given.encode(), given)


@pytest.mark.parametrize(
    "encoded",
    [
        5,
        None,
        Response(b"", "text/plain", {"Content-Length": "1"}),
        Response(b"", "text/plain", {"X-A": "1\r\nX-B: 2"}),
        Response(b"", "text/plain\r\n"),
    ],
)
def test_an_answer_that_http_cannot_hold_is_the_model_s_error(load: Load, encoded: Any) -> None:
    model = load(INPUTS=Text(), encode=lambda predictions, accept: encoded)
    assert model.invoke(b"x", "text/plain", None).status == 500


def test_decode_may_refuse_a_request_with_a_status_and_a_reason(load: Load) -> None:
    def decode(request: Request) -> Any:
        raise RequestError(422, "send two pages")

    assert load(decode=decode).invoke(b"x", "a/b", None) == Response(b"send two pages\n", status=422)


def test_a_header_of_a_response_may_be_a_number(load: Load) -> None:
    model = load(encode=lambda predictions, accept: Response(b"x", headers={"X-Words": 5}), INPUTS=Text())  # type: ignore[dict-item]
    assert model.invoke(b'["a"]', "application/json", None).headers == {"X-Words": "5"}


def test_headers_of_both_stacks_have_the_same_names() -> None:
    assert Headers(ASGI) == Headers(WSGI)
    assert Headers({"CONTENT_TYPE": "a/b"})["content-type"] == "a/b"


@pytest.mark.parametrize(
    "declared, content_type, body, inputs",
    [
        ({"INPUTS": Numbers("a", "b")}, "text/csv", b"1,2", [[1.0, 2.0]]),
        ({"FEATURES": ("a", "b"), "ACCEPTS_MISSING": True}, "text/csv", b"1,", [[1.0, None]]),
        ({"INPUTS": Text()}, "text/plain", b"x", ["x"]),
        ({}, "text/csv", b"red,small\nblue,large", [["red", "small"], ["blue", "large"]]),
    ],
)
def test_what_a_model_declares_is_what_predict_gets(
    load: Load, declared: Any, content_type: str, body: bytes, inputs: Any
) -> None:
    assert answer(load(**declared), body, content_type) == inputs


def test_a_table_answers_a_row_each_and_may_answer_by_columns(load: Load) -> None:
    table = Table(size=number(), color=category("red", "blue", optional=True))
    model = load(INPUTS=table, predict=lambda model, inputs: inputs)
    assert answer(model, b"1,red\n2,\n") == [{"size": 1.0, "color": "red"}, {"size": 2.0, "color": None}]


def test_a_worker_has_predicted_before_it_is_ready(load: Load) -> None:
    seen: list[Any] = []
    for declared in (Numbers("a"), Table(a=number()), Text(), Images(), None):
        load(INPUTS=declared, predict=lambda model, inputs: seen.append(inputs))
    assert [len(inputs) for inputs in seen] == [1, 1, 1]


def test_a_made_up_text_that_predict_refuses_does_not_stop_a_worker(
    load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    def predict(model: Any, inputs: Any) -> Any:
        raise ValueError("unknown word")

    load(INPUTS=Text(), predict=predict)
    assert "predict() failed on a made-up input: ValueError: unknown word" in capsys.readouterr().err
    assert "unknown word" in refused_at_load(load, capsys, INPUTS=Numbers("a"), predict=predict)


@pytest.mark.parametrize("accept", ALL)
@pytest.mark.parametrize(
    "returned, reason",
    [
        ([object()], "predict() returned object: return numbers"),
        ([{"label": {1, 2}}], "predict() returned set: return numbers"),
        (np.array([b"x"]), "predict() returned an array of |S1"),
        (np.array([np.longdouble("nan")]), "predict() returned an array of float128"),
        (np.array([1 + 1j]), "predict() returned an array of complex128"),
        ([1, 2], "predict() returned 2 predictions for 1 inputs"),
        ({"a": [1, 2]}, "predict() returned 2 predictions for 1 inputs"),
        (iter([1]), "predict() returned list_iterator"),
    ],
)
def test_what_no_answer_can_be_made_of_is_a_500_and_one_line_in_the_log(
    load: Load, capsys: pytest.CaptureFixture[str], accept: str, returned: Any, reason: str
) -> None:
    model = load(INPUTS=Text(), predict=lambda model, inputs: returned)
    capsys.readouterr()
    assert model.invoke(b"x", "text/plain", accept).status == 500
    [line] = capsys.readouterr().err.splitlines()
    assert reason in line


def test_batching_joins_lists_as_it_joins_arrays(load: Load) -> None:
    assert answer(load(INPUTS=Text(), BATCHING=Batching()), b"x", "text/plain") == ["x"]
    assert answer(load(INPUTS=Numbers("a"), BATCHING=Batching()), b"1") == [[1.0]]


def test_batching_of_what_cannot_be_joined_is_refused_at_load(
    load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    for names in ({"INPUTS": Table(a=number())}, {"decode": lambda request: 1}):
        assert "BATCHING joins arrays and lists" in refused_at_load(
            load, capsys, BATCHING=Batching(), **names
        )
