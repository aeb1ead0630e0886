"""Patterns of EventBridge: which events a rule is for, and what its targets are given."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Mapping
from typing import Any

from sagegen.local.paths import NoValue, find

NUMBERS = {"=": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
FILTERS = {"prefix", "suffix", "anything-but", "exists", "numeric", "equals-ignore-case", "wildcard"}
NOTHING = object()
PLACEHOLDER = re.compile(r"<([\w.-]+)>")


def check(pattern: Any, where: str = "") -> None:
    """Refuse a pattern that EventBridge, or this emulator, does not read. Raises ValueError."""
    if not isinstance(pattern, dict) or not pattern:
        raise ValueError(f"{where or 'the pattern'} must be an object that is not empty")
    for name, part in pattern.items():
        if name == "$or":
            for one in part:
                check(one, where)
        elif isinstance(part, list) and part:
            for one in part:
                if isinstance(one, dict) and not _known(one):
                    raise ValueError(f"{name} has a filter that is not emulated: {json.dumps(one)}")
        elif isinstance(part, dict):
            check(part, name)
        else:
            raise ValueError(f"{name} must be an object or an array that is not empty")


def _known(filter_: Mapping[str, Any]) -> bool:
    """Whether a filter is read here."""
    if len(filter_) != 1 or not filter_.keys() <= FILTERS:
        return False
    ((kind, rule),) = filter_.items()
    if kind == "numeric":
        return isinstance(rule, list) and len(rule) in (2, 4) and set(rule[::2]) <= NUMBERS.keys()
    if kind == "anything-but" and isinstance(rule, dict):
        return _known(rule)
    if kind in ("prefix", "suffix") and isinstance(rule, dict):
        return rule.keys() == {"equals-ignore-case"}
    return kind in ("anything-but", "exists") or isinstance(rule, str)


def matches(pattern: Mapping[str, Any], event: Any) -> bool:
    """Whether an event has every member of a pattern, with one of its values."""
    for name, wanted in pattern.items():
        if name == "$or":
            if not any(matches(one, event) for one in wanted):
                return False
            continue
        value = event.get(name, NOTHING) if isinstance(event, dict) else NOTHING
        if isinstance(wanted, dict):
            if not matches(wanted, {} if value is NOTHING else value):
                return False
        elif not any(_fits(one, value) for one in wanted):
            return False
    return True


def _fits(wanted: Any, value: Any) -> bool:
    if isinstance(wanted, dict) and "exists" in wanted:
        return bool(wanted["exists"]) == (value is not NOTHING)
    values = value if isinstance(value, list) else [value]
    return value is not NOTHING and any(_same(wanted, one) for one in values)


def _same(wanted: Any, value: Any) -> bool:
    if not isinstance(wanted, dict):
        return type(wanted) is type(value) and bool(wanted == value)
    ((kind, rule),) = wanted.items()
    if kind == "anything-but":
        inner = rule if isinstance(rule, list) else [rule]
        return not any(_same(one, value) for one in inner)
    if kind == "numeric":
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return all(NUMBERS[sign](value, than) for sign, than in zip(rule[::2], rule[1::2], strict=True))
    if not isinstance(value, str):
        return False
    text: str = value
    if kind in ("prefix", "suffix") and isinstance(rule, dict):
        rule, text = str(rule["equals-ignore-case"]).lower(), value.lower()
    if kind == "prefix":
        return text.startswith(rule)
    if kind == "suffix":
        return text.endswith(rule)
    if kind == "equals-ignore-case":
        return value.lower() == str(rule).lower()
    return re.fullmatch(re.escape(rule).replace(r"\*", ".*"), value, re.DOTALL) is not None


def given(target: Mapping[str, Any], event: Mapping[str, Any]) -> str:
    """What a target gets of an event, as JSON: all of it, a part, a text, or a template that is filled."""
    if "Input" in target:
        return str(target["Input"])
    if path := target.get("InputPath"):
        return json.dumps(_found(path, event))
    if not (transformer := target.get("InputTransformer")):
        return json.dumps(event)
    values = {name: _found(path, event) for name, path in transformer.get("InputPathsMap", {}).items()}
    template = transformer["InputTemplate"]

    def fill(match: re.Match[str]) -> str:
        value = values.get(match[1], match[0])
        quoted = template[: match.start()].count('"') % 2
        text = value if isinstance(value, str) else json.dumps(value)
        return json.dumps(text)[1:-1] if quoted else json.dumps(value)

    return PLACEHOLDER.sub(fill, template)


def _found(path: str, event: Mapping[str, Any]) -> Any:
    try:
        return find(path, event, {})
    except NoValue:
        return None
