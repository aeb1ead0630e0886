"""Hyperparameters as tuning jobs and create_algorithm want them, by botocore's own model of them."""

from __future__ import annotations

import re
from enum import Enum
from typing import Any, Literal

import botocore.session
import pytest
from botocore.model import ListShape, Shape, StringShape, StructureShape
from botocore.validate import ParamValidator
from byoc import hyperparameters
from pydantic import BaseModel, Field

SAGEMAKER = botocore.session.get_session().get_service_model("sagemaker")


class Kind(Enum):
    ONE = "one"
    TWO = "two"


class Settings(BaseModel):
    epochs: int = Field(20, ge=1, le=100, description="Passes over the data")
    width: int = Field(8, gt=0, lt=65)
    rate: float = Field(0.01, gt=0, le=1)
    growth: float = Field(2.0, ge=1.5, lt=3)
    seed: int = Field(0, ge=0)
    momentum: float = 0.9
    optimizer: Literal["adam", "sgd"] = "adam"
    only: Literal["one"] = "one"
    kind: Kind = Kind.ONE
    shuffle: bool = True
    depth: int | None = Field(None, ge=1, le=9)
    layers: list[int] = [8]
    name: str
    reg: float = Field(1.0, alias="lambda", ge=0, le=10)


def strings(shape: Shape, value: Any) -> list[tuple[str, str, StringShape]]:
    """Every string of a value with its shape: botocore checks neither patterns nor lengths (CFG-20)."""
    if isinstance(shape, StructureShape):
        return [found for name, one in value.items() for found in strings(shape.members[name], one)]
    if isinstance(shape, ListShape):
        return [found for one in value for found in strings(shape.member, one)]
    return [(shape.name, value, shape)] if isinstance(shape, StringShape) else []


@pytest.mark.parametrize(
    "name, value",
    [
        ("ParameterRanges", hyperparameters.parameter_ranges(Settings)),
        ("HyperParameterSpecifications", hyperparameters.supported(Settings)),
    ],
)
def test_botocore_accepts_the_export(name: str, value: Any) -> None:
    shape = SAGEMAKER.shape_for(name)
    assert not ParamValidator().validate(value, shape).has_errors()
    for where, text, string in strings(shape, value):
        assert not string.enum or text in string.enum, where
        assert len(text) <= string.metadata.get("max", len(text)), where
        if (pattern := string.metadata.get("pattern")) and "\\p" not in pattern:
            assert re.fullmatch(pattern, text), where


def ranges(kind: str) -> dict[str, Any]:
    found = hyperparameters.parameter_ranges(Settings)[f"{kind}ParameterRanges"]
    return {one.pop("Name"): one for one in found}


def test_a_field_with_two_bounds_is_a_range_that_the_field_accepts() -> None:
    assert ranges("Integer") == {
        "epochs": {"MinValue": "1", "MaxValue": "100"},
        "width": {"MinValue": "1", "MaxValue": "64"},
        "depth": {"MinValue": "1", "MaxValue": "9"},
    }
    continuous = ranges("Continuous")
    assert continuous.keys() == {"rate", "growth", "lambda"}
    for name, bounds in continuous.items():
        for bound in bounds.values():
            Settings.model_validate({"name": "x", name: float(bound)})


def test_a_choice_lists_its_values() -> None:
    assert ranges("Categorical") == {
        "optimizer": {"Values": ["adam", "sgd"]},
        "only": {"Values": ["one"]},
        "kind": {"Values": ["one", "two"]},
        "shuffle": {"Values": ["true", "false"]},
    }


def test_a_specification_has_every_field_with_its_default() -> None:
    found = {one["Name"]: one for one in hyperparameters.supported(Settings)}
    assert found.keys() == {*Settings.model_json_schema()["properties"]}
    assert found["name"] == {"Name": "name", "Type": "FreeText", "IsTunable": False, "IsRequired": True}
    assert found["layers"]["DefaultValue"] == "[8]"
    assert found["seed"]["Type"] == "Integer"
    assert "Range" not in found["seed"]
    assert found["epochs"] == {
        "Name": "epochs",
        "Description": "Passes over the data",
        "Type": "Integer",
        "IsTunable": True,
        "IsRequired": False,
        "Range": {"IntegerParameterRangeSpecification": {"MinValue": "1", "MaxValue": "100"}},
        "DefaultValue": "20",
    }
