"""What the options of `sagegen check` select, and what they refuse in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from sagegen.check.run import choose, environment, payload, trains
from sagegen.errors import USAGE, SagegenError


def ids(*options: tuple[str, ...], training: bool = True) -> set[str]:
    return {one.id for one in choose(*options, training=training)}


def test_ids_are_accepted_in_lower_case() -> None:
    assert ids((), ("t-01", "S-20"), ("s-20",)) == {"T-01"}


def test_a_rule_that_only_would_leave_out_is_refused() -> None:
    with pytest.raises(SagegenError, match="--only leaves out T-01 – add --only train") as error:
        choose(("serve",), ("S-20", "T-01"), ())
    assert error.value.exit_code == USAGE
    assert ids(("serve",), ("S-20",), ()) == {"S-20"}


def test_a_folder_with_a_model_alone_does_not_ask_about_training(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    assert trains(None)
    assert not trains(tmp_path)
    found = ids((), (), (), training=trains(tmp_path))
    assert not {"T-01", "T-02", "T-51"} & found
    assert {"T-10", "S-02", "S-20"} <= found
    (tmp_path / "input").mkdir()
    assert {"T-01", "T-02", "T-51"} <= ids((), (), (), training=trains(tmp_path))


@pytest.mark.parametrize(
    "only, kept, dropped",
    [
        (("static", "serve"), {"S-02", "T-10"}, {"T-02"}),
        (("static", "train"), {"T-02", "T-10"}, {"S-02"}),
        (("static", "batch", "train"), {"T-02", "S-02"}, set()),
        (("static",), {"T-02", "S-02"}, set()),
    ],
)
def test_a_command_that_nobody_asked_about_may_be_missing(
    only: tuple[str, ...], kept: set[str], dropped: set[str]
) -> None:
    found = ids(only, (), ())
    assert kept <= found
    assert not dropped & found


def test_a_rule_that_is_named_is_judged_whatever_the_folder_holds() -> None:
    assert ids((), ("T-01", "T-02"), (), training=False) == {"T-01", "T-02"}


def test_variables_are_key_and_value() -> None:
    assert environment(["A=1", "B_2=x=y", "C="]) == {"A": "1", "B_2": "x=y", "C": ""}


@pytest.mark.parametrize(
    "pairs, message",
    [
        (["A"], "not KEY=VALUE"),
        (["=1"], "not KEY=VALUE"),
        (["A-B=1"], "not KEY=VALUE"),
        (["1A=1"], "not KEY=VALUE"),
        ([f"{'A' * 513}=1"], "not KEY=VALUE"),
        (["A=1", "A=2"], "A is given twice"),
        (["A=" + "x" * 1025], "1025 characters"),
        (["SAGEMAKER_BIND_TO_PORT=9000"], "the platform sets it"),
        ([f"A{i}=1" for i in range(101)], "101 times"),
    ],
)
def test_variables_that_the_service_would_refuse_are_refused_in_one_line(
    pairs: list[str], message: str
) -> None:
    with pytest.raises(SagegenError, match=message) as error:
        environment(pairs)
    assert error.value.exit_code == USAGE
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name, content_type",
    [
        ("rows.csv", "text/csv"),
        ("rows.jsonl", "application/jsonlines"),
        ("photo.jpg", "image/jpeg"),
        ("one.txt", "text/plain"),
        ("rows.npy", "application/x-npy"),
    ],
)
def test_a_payloads_suffix_tells_its_type(tmp_path: Path, name: str, content_type: str) -> None:
    (tmp_path / name).write_bytes(b"1")
    found, said = payload(tmp_path / name, None), payload(tmp_path / name, "text/x")
    assert found
    assert found.content_type == content_type
    assert said
    assert said.content_type == "text/x"


def test_a_payload_of_no_known_type_needs_one(tmp_path: Path) -> None:
    with pytest.raises(SagegenError, match=r"what type is .*rows\? – give --content-type") as error:
        payload(tmp_path / "rows", None)
    assert error.value.exit_code == USAGE
