"""model.py's Hyperparameters: read from a job's strings (T-20 to T-24), and described for tuning jobs."""

import ast
import importlib
import json
import math
import sys
from collections.abc import Mapping
from contextlib import suppress
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import AliasChoices, BaseModel, ValidationError

from byoc.errors import JobError

Schema = dict[str, Any]
Settings = TypeVar("Settings", bound=BaseModel)

# Sent by SageMaker's SDK and by tuning jobs, not by the user (T-22, T-23).
PLATFORM_PREFIXES = ("sagemaker_", "_tuning_")


def parse(raw: Mapping[str, Any], schema: type[Settings]) -> Settings:
    """Turn hyperparameters.json into an instance of the model's Hyperparameters.

    The first of a string's `_readings` that the field accepts counts. Keys may have hyphens for underscores.
    Raises JobError that names each wrong key.
    """
    names = _names(schema)
    readings: dict[str, list[Any]] = {}
    for key, text in raw.items():
        if key.startswith(PLATFORM_PREFIXES):
            continue
        name = key if key in names else key.replace("-", "_")
        if name in names:
            readings[name] = _readings(text)
        else:
            guess = get_close_matches(name, names, n=1)
            hint = f"; did you mean {guess[0]!r}?" if guess else ""
            print(f"hyperparameter {key!r} is not one of the model's and is ignored{hint}", flush=True)
    while True:
        try:
            return schema.model_validate({name: values[0] for name, values in readings.items()})
        except ValidationError as error:
            wrong = {str(e["loc"][0]) for e in error.errors() if e["loc"]}
            again = [name for name in wrong if len(readings.get(name, ())) > 1]
            if not again:
                raise JobError("; ".join(_problem(e, schema) for e in error.errors())) from None
        for name in again:
            del readings[name][0]


def _problem(error: Mapping[str, Any], schema: type[BaseModel]) -> str:
    """What is wrong with one hyperparameter, and its value if that is no secret."""
    fields = schema.model_fields.items()
    secret = [field.validation_alias or name for name, field in fields if "Secret" in str(field.annotation)]
    name, *_ = place = error["loc"] or ("",)
    got = "" if name in ("", *secret) else f" (got {error['input']!r})"
    return f"hyperparameter {'.'.join(map(str, place))!r}: {error['msg']}{got}"


def _names(schema: type[BaseModel]) -> list[str]:
    """What the fields may be called in hyperparameters.json: their aliases, and else their names."""
    names: list[str] = []
    for name, field in schema.model_fields.items():
        alias = field.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias or name]
        names += [choice for choice in choices if isinstance(choice, str)]
        if schema.model_config.get("populate_by_name") or schema.model_config.get("validate_by_name"):
            names.append(name)
    return names


def _readings(text: Any) -> list[Any]:
    """What a string may stand for: JSON, Python as SDK v2 writes it (None, (64, 32)), or the text itself."""
    if not isinstance(text, str):
        return [text]
    readings: list[Any] = []
    with suppress(ValueError, RecursionError):
        readings.append(json.loads(text))
    with suppress(ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        value = ast.literal_eval(text)
        if value is None or isinstance(value, (bool, list, tuple, dict, set)):
            readings.append(value)
    return [*readings, text]


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
