"""Hyperparameters arrive as strings and reach the model as the types that it declares."""

from __future__ import annotations

import datetime
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest
from byoc import hyperparameters
from byoc.errors import JobError
from pydantic import AliasChoices, BaseModel, Field, SecretStr, field_validator


class Kind(str, Enum):  # noqa: UP042 – the form that users write
    ONE = "1"
    TWO = "2"


class Settings(BaseModel):
    epochs: int = 3
    rate: float = 0.1
    shuffle: bool = True
    optimizer: str = "adam"
    layers: list[int] = [8]
    run: str | None = "x"
    size: Literal["1", "2", "auto"] = "auto"
    kind: Kind = Kind.TWO
    where: Path = Path("/x")
    token: SecretStr = SecretStr("")
    day: datetime.date | None = None
    reg: float = Field(1.0, alias="lambda")
    depth: int = Field(1, validation_alias=AliasChoices("max_depth", "depth"))
    seed: int | None = 0
    names: list[str] = []
    shape: tuple[int, int] = (1, 1)
    tags: set[str] = set()
    secret: SecretStr | None = Field(None, min_length=8)
    even: int = 0

    @field_validator("even")
    @classmethod
    def is_even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("must be even")
        return value


@pytest.mark.parametrize(
    "name, text, value",
    [
        ("epochs", "7", 7),
        ("epochs", 7, 7),
        ("rate", "1e-3", 0.001),
        ("shuffle", "false", False),
        ("shuffle", "False", False),
        ("optimizer", '"sgd"', "sgd"),
        ("optimizer", "sgd", "sgd"),
        ("optimizer", "123", "123"),
        ("optimizer", "true", "true"),
        ("optimizer", "None", "None"),
        ("layers", "[16, 8]", [16, 8]),
        ("layers", "(64, 32)", [64, 32]),
        ("run", "123", "123"),
        ("run", "12e4567", "12e4567"),
        ("run", "1e5", "1e5"),
        ("run", "None", None),
        ("run", "null", None),
        ("size", "2", "2"),
        ("kind", "1", Kind.ONE),
        ("where", "12", Path("12")),
        ("token", "123", SecretStr("123")),
        ("day", "2026-11-26", datetime.date(2026, 11, 26)),
        ("day", "None", None),
        ("seed", "None", None),
        ("seed", "5", 5),
        ("names", "['a', 'b']", ["a", "b"]),
        ("names", '["a", "b"]', ["a", "b"]),
        ("shape", "(64, 32)", (64, 32)),
        ("tags", "{'a', 'b'}", {"a", "b"}),
        ("even", "4", 4),
    ],
)
def test_a_string_becomes_the_declared_type(name: str, text: Any, value: object) -> None:
    assert getattr(hyperparameters.parse({name: text}, Settings), name) == value


@pytest.mark.parametrize(
    "key, field, value",
    [("lambda", "reg", 5.0), ("max_depth", "depth", 5), ("max-depth", "depth", 5), ("depth", "depth", 5)],
)
def test_an_alias_is_a_name(key: str, field: str, value: float) -> None:
    assert getattr(hyperparameters.parse({key: "5"}, Settings), field) == value


def test_one_value_that_is_read_as_text_leaves_the_others_as_they_are() -> None:
    parsed = hyperparameters.parse({"run": "123", "epochs": "7", "names": "['a']"}, Settings)
    assert (parsed.run, parsed.epochs, parsed.names) == ("123", 7, ["a"])


def test_what_the_platform_adds_is_not_the_models() -> None:
    assert (
        hyperparameters.parse({"sagemaker_program": "x", "_tuning_objective_metric": "y"}, Settings)
        == Settings()
    )


@pytest.mark.parametrize(
    "key, text",
    [("epochs", "many"), ("even", "3"), ("lambda", "x"), ("layers", "[1, 'x']"), ("layers", "[" * 2500)],
)
def test_a_wrong_hyperparameter_is_named(key: str, text: str) -> None:
    with pytest.raises(JobError, match=f"^hyperparameter '{key}"):
        hyperparameters.parse({key: text}, Settings)


def test_a_misspelt_hyperparameter_is_pointed_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert hyperparameters.parse({"epoch": "7"}, Settings) == Settings()
    assert "did you mean 'epochs'" in capsys.readouterr().out


def test_a_secret_that_is_refused_is_not_shown() -> None:
    with pytest.raises(JobError, match=r"^hyperparameter 'secret': .* at least 8 items [^(]*$") as refused:
        hyperparameters.parse({"secret": "hunter2"}, Settings)
    assert "hunter2" not in str(refused.value)
