"""SageMaker sends every hyperparameter as a string; user code deserves typed values (T-20 to T-24)."""

import json
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from byoc.errors import JobError

Schema = TypeVar("Schema", bound=BaseModel)

# Sent by SageMaker's SDK and by tuning jobs, not by the user (T-22, T-23).
PLATFORM_PREFIXES = ("sagemaker_", "_tuning_")


def parse(raw: Mapping[str, str], schema: type[Schema]) -> Schema:
    """Turn hyperparameters.json into an instance of the model's Hyperparameters.

    Accepts plain strings ("0.1"), JSON-encoded ones ("\"adam\"", "[1, 2]") and keys with hyphens.
    Raises JobError that names each wrong key.
    """
    values: dict[str, Any] = {}
    for key, text in raw.items():
        if key.startswith(PLATFORM_PREFIXES):
            continue
        name = key.replace("-", "_")
        if field := schema.model_fields.get(name):
            values[name] = _decoded(text, keep_text=field.annotation is str)
        else:
            guess = get_close_matches(name, schema.model_fields, n=1)
            hint = f"; did you mean {guess[0]!r}?" if guess else ""
            print(f"hyperparameter {key!r} is not one of the model's and is ignored{hint}", flush=True)
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(
            f"hyperparameter {'.'.join(map(str, e['loc']))!r}: {e['msg']} (got {e['input']!r})"
            for e in error.errors()
        )
        raise JobError(problems) from None


def _decoded(text: str, *, keep_text: bool) -> Any:
    """The value inside a JSON-encoded string; a text field keeps "1" and "true" as they are."""
    try:
        value = json.loads(text)
    except (TypeError, ValueError):
        return text
    return text if keep_text and not isinstance(value, str) else value
