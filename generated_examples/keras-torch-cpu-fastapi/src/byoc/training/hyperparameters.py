"""SageMaker sends every hyperparameter as a string; model.py gets its own types (T-20 to T-24)."""

import ast
import json
from collections.abc import Mapping
from contextlib import suppress
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import AliasChoices, BaseModel, ValidationError

from byoc.errors import JobError

Schema = TypeVar("Schema", bound=BaseModel)

# Sent by SageMaker's SDK and by tuning jobs, not by the user (T-22, T-23).
PLATFORM_PREFIXES = ("sagemaker_", "_tuning_")


def parse(raw: Mapping[str, Any], schema: type[Schema]) -> Schema:
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
                problems = (
                    f"hyperparameter {'.'.join(map(str, e['loc']))!r}: {e['msg']} (got {e['input']!r})"
                    for e in error.errors()
                )
                raise JobError("; ".join(problems)) from None
        for name in again:
            del readings[name][0]


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
        if value is None or isinstance(value, (bool, list, tuple, dict)):
            readings.append(value)
    return [*readings, text]
