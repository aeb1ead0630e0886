"""model.py's Hyperparameters, as tuning jobs and create_algorithm want them."""

import importlib
import json
import math
import sys
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]


def parameter_ranges(settings: type[BaseModel]) -> dict[str, list[dict[str, Any]]]:
    """ParameterRanges of create_hyper_parameter_tuning_job: each field with two bounds, and each choice.

    Narrow them to what you want to search.
    """
    ranges: dict[str, list[dict[str, Any]]] = {
        f"{kind}ParameterRanges": [] for kind in ("Integer", "Continuous", "Categorical")
    }
    for name, _, kind, values in _fields(settings):
        if values:
            ranges[f"{kind}ParameterRanges"].append({"Name": name, **values})
    return ranges


def supported(settings: type[BaseModel]) -> list[dict[str, Any]]:
    """TrainingSpecification.SupportedHyperParameters of create_algorithm: every field."""
    specifications = []
    for name, field, kind, values in _fields(settings):
        found = {"Name": name, "Type": kind, "IsTunable": bool(values), "IsRequired": "default" not in field}
        if description := field.get("description"):
            found["Description"] = description
        if values:
            found["Range"] = {f"{kind}ParameterRangeSpecification": values}
        if field.get("default") is not None:
            found["DefaultValue"] = _text(field["default"])
        specifications.append(found)
    return specifications


def _fields(settings: type[BaseModel]) -> list[tuple[str, Schema, str, dict[str, Any] | None]]:
    """Of each field: the name that a job uses, its JSON schema, SageMaker's type, and bounds or choices."""
    schema = settings.model_json_schema()
    fields = []
    for name, field in schema.get("properties", {}).items():
        kinds = [option for option in field.get("anyOf", [field]) if option.get("type") != "null"]
        one = {**field, **kinds[0]} if len(kinds) == 1 else {}
        one = {**one, **schema.get("$defs", {}).get(one.get("$ref", "").rpartition("/")[2], {})}
        fields.append((name, field, *_domain(one)))
    return fields


def _domain(field: Schema) -> tuple[str, dict[str, Any] | None]:
    choices = field.get("enum", [field["const"]] if "const" in field else None)
    if field.get("type") == "boolean":
        choices = [True, False]
    if choices:
        return "Categorical", {"Values": [_text(choice) for choice in choices]}
    if field.get("type") == "integer":
        low = field.get("minimum", field.get("exclusiveMinimum", -math.inf) + 1)
        high = field.get("maximum", field.get("exclusiveMaximum", math.inf) - 1)
        return "Integer", _bounds(low, high)
    if field.get("type") == "number":
        low = field.get("minimum", math.nextafter(field.get("exclusiveMinimum", -math.inf), math.inf))
        high = field.get("maximum", math.nextafter(field.get("exclusiveMaximum", math.inf), -math.inf))
        # nextafter() makes the largest number of what has no bound.
        finite = abs(low) < sys.float_info.max and abs(high) < sys.float_info.max
        return "Continuous", _bounds(low, high) if finite else None
    return "FreeText", None


def _bounds(low: float, high: float) -> dict[str, str] | None:
    return {"MinValue": _text(low), "MaxValue": _text(high)} if math.isfinite(high - low) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def main() -> None:
    """Print both as JSON."""
    from byoc import framework

    framework.prepare(threads=1)
    settings = importlib.import_module("model").Hyperparameters
    found = {"ParameterRanges": parameter_ranges(settings), "SupportedHyperParameters": supported(settings)}
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
