"""What a type of resource is, and calls with a template's values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import botocore

from sagegen.local.cloud import ACCOUNT

Properties = dict[str, Any]
BOOLEANS = {"true": True, "false": False}


class Unfit(ValueError):
    """A member that a call does not have."""


@dataclass
class Made:
    """A resource as it is: what Ref gives, and what Fn::GetAtt gives."""

    physical: str
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Calls:
    """The services as the stack's caller may use them, and where it is."""

    client: Callable[[str], Any]
    region: str
    pause: Callable[[float], bool]

    def arn(self, service: str, resource: str) -> str:
        """An ARN in this account."""
        return f"arn:aws:{service}:{self.region}:{ACCOUNT}:{resource}"


@dataclass(frozen=True)
class Kind:
    """One type. `change` is None where every change replaces the resource."""

    make: Callable[[Calls, Properties], Made]
    remove: Callable[[Calls, Made, Properties], Any]
    properties: frozenset[str]
    change: Callable[[Calls, Made, Properties, Properties], Made] | None = None
    #: Changes of these replace it.
    fixed: frozenset[str] = frozenset()
    #: The property that names it, where a template may leave it out, and how long a name may be.
    name: str = ""
    #: What is still to be done once it is there: a failure then removes it.
    settle: Callable[[Calls, Made, Properties, Properties], Any] | None = None
    longest: int = 63
    lower: bool = False


def invented(kind: Kind, stack: str, logical: str, generation: int) -> str:
    """The name of a resource that the template does not name; the same in every run."""
    mark = hashlib.sha256(f"{stack}/{logical}/{generation}".encode()).hexdigest()[:12].upper()
    name = f"{stack}-{logical}"[: kind.longest - len(mark) - 1] + f"-{mark}"
    return name.lower() if kind.lower else name


def fitted(shape: Any, value: Any, where: str) -> Any:
    """A value of a template as a call takes it: names in any case, and text for numbers and booleans.

    Raises Unfit where the call has no such member.
    """
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        names = {name.lower(): name for name in shape.members}
        found = {}
        for key, part in value.items():
            if key.lower() not in names:
                raise Unfit(f"{where}.{key}")
            name = names[key.lower()]
            found[name] = fitted(shape.members[name], part, f"{where}.{key}")
        return found
    if kind == "list" and isinstance(value, list):
        return [fitted(shape.member, one, where) for one in value]
    if kind == "map" and isinstance(value, dict):
        return {key: fitted(shape.value, one, f"{where}.{key}") for key, one in value.items()}
    if kind in ("integer", "long") and isinstance(value, str):
        with suppress(ValueError):
            return int(value)
    if kind in ("float", "double") and isinstance(value, str):
        with suppress(ValueError):
            return float(value)
    if kind == "boolean" and isinstance(value, str):
        return BOOLEANS.get(value.lower(), value)
    if kind == "string" and isinstance(value, bool):
        return str(value).lower()
    if kind == "string" and isinstance(value, int | float):
        return str(value)
    return value


def ask(calls: Calls, service: str, operation: str, **given: Any) -> dict[str, Any]:
    """One call, its arguments fitted to it."""
    client = calls.client(service)
    shape = client.meta.service_model.operation_model(operation).input_shape
    answer = getattr(client, botocore.xform_name(operation))(**fitted(shape, given, operation))
    answer.pop("ResponseMetadata", None)
    return answer  # type: ignore[no-any-return]


def remover(service: str, operation: str, member: str) -> Callable[[Calls, Made, Properties], Any]:
    """A removal by one call that has one argument."""
    return lambda calls, made, given: ask(calls, service, operation, **{member: made.physical})


def as_dict(tags: list[dict[str, str]] | None) -> dict[str, str]:
    """Tags of a template as a call takes them that has a map."""
    return {tag["Key"]: str(tag["Value"]) for tag in tags or ()}


def without(given: Properties, *names: str) -> Properties:
    """The properties, some left out."""
    return {name: value for name, value in given.items() if name not in names}


def as_text(document: Any) -> str:
    """A policy, or another document, as the text that calls take."""
    return document if isinstance(document, str) else json.dumps(document)
