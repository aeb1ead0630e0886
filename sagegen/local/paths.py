"""JSONPath and intrinsic functions, as the Amazon States Language has them."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from jsonpath_ng.exceptions import JSONPathError
from jsonpath_ng.ext.parser import parse

STEP = re.compile(r"\.([^.\[\]*?@()'\"\s]+)|\['([^']*)'\]|\[\"([^\"]*)\"\]|\[(-?\d+)\]")
TOKEN = re.compile(r"\s*(?:('(?:[^'\\]|\\.)*')|(-?\d+(?:\.\d+)?)|([(),])|((?:[^\s,()'\[]|\[[^\]]*\])+))")
HASHES = {"MD5", "SHA-1", "SHA-256", "SHA-384", "SHA-512"}


class NoValue(Exception):
    """A path that leads nowhere, or a function that cannot be computed."""


class Malformed(ValueError):
    """A path or function that cannot be read."""


def steps(path: str) -> list[str | int] | None:
    """The names and numbers of a path that leads to one value; None of any other."""
    found: list[str | int] = []
    at = 1
    while at < len(path):
        step = STEP.match(path, at)
        if not step:
            return None
        name = next((step[number] for number in (1, 2, 3) if step[number] is not None), None)
        found.append(int(step[4]) if name is None else name)
        at = step.end()
    return found


def check(path: Any, *, context: bool = True) -> None:
    """Refuse what is no path. Raises Malformed."""
    if not isinstance(path, str) or not path.startswith("$"):
        raise Malformed(f"{path!r} is no JSONPath")
    if path.startswith("$$") and not context:
        raise Malformed(f"{path!r} must not refer to the context")
    plain = path[1:] if path.startswith("$$") else path
    if steps(plain) is None:
        try:
            parse(plain)
        except (JSONPathError, Exception) as error:
            raise Malformed(f"{path!r} is no JSONPath: {error}") from None


def find(path: str, data: Any, context: Mapping[str, Any]) -> Any:
    """What a path leads to: one value, or a list where it may lead to several. Raises NoValue."""
    if path.startswith("$$"):
        path, data = path[1:], context
    way = steps(path)
    if way is None:
        found = [one.value for one in parse(path).find(data)]
        if not found and "*" not in path and ":" not in path and "?" not in path and ".." not in path:
            raise NoValue(f"The JSONPath '{path}' could not be found in the input '{json.dumps(data)}'")
        return found
    value: Any = data
    for step in way:
        try:
            if isinstance(value, list) != isinstance(step, int):
                raise KeyError(step)
            value = value[step]
        except (KeyError, IndexError, TypeError):
            raise NoValue(
                f"The JSONPath '{path}' could not be found in the input '{json.dumps(data)}'"
            ) from None
    return value


def put(path: str, data: Any, value: Any) -> Any:
    """The data with a value at a ResultPath. Raises NoValue."""
    way = steps(path)
    if not way:
        return value
    if not isinstance(data, dict):
        raise NoValue(f"The ResultPath '{path}' cannot be applied to the input '{json.dumps(data)}'")
    copied = json.loads(json.dumps(data))
    at: Any = copied
    for step in way[:-1]:
        if isinstance(at, dict):
            at = at.setdefault(step, {})
        elif isinstance(at, list) and isinstance(step, int) and step < len(at):
            at = at[step]
        else:
            raise NoValue(f"The ResultPath '{path}' cannot be applied to the input")
    last: Any = way[-1]
    if not isinstance(at, dict) and not (isinstance(at, list) and isinstance(last, int) and last < len(at)):
        raise NoValue(f"The ResultPath '{path}' cannot be applied to the input")
    at[last] = value
    return copied


def fill(template: Any, data: Any, context: Mapping[str, Any]) -> Any:
    """A payload template's value: names that end with .$ are paths or functions. Raises NoValue."""
    if isinstance(template, list):
        return [fill(one, data, context) for one in template]
    if not isinstance(template, dict):
        return template
    found = {}
    for name, value in template.items():
        if name.endswith(".$"):
            found[name[:-2]] = evaluated(value, data, context)
        else:
            found[name] = fill(value, data, context)
    return found


def check_template(template: Any) -> None:
    """Refuse templates with paths or functions that cannot be read. Raises Malformed."""
    if isinstance(template, list):
        for one in template:
            check_template(one)
    elif isinstance(template, dict):
        for name, value in template.items():
            if not name.endswith(".$"):
                check_template(value)
            elif not isinstance(value, str):
                raise Malformed(f"the value of {name!r} must be a path or an intrinsic function")
            elif value.startswith("$"):
                check(value)
            else:
                _parsed(value)


def evaluated(text: str, data: Any, context: Mapping[str, Any]) -> Any:
    """The value of a path or an intrinsic function. Raises NoValue."""
    if text.startswith("$"):
        return find(text, data, context)
    return _value(_parsed(text), data, context)


def _parsed(text: str) -> Any:
    """(name, arguments) of a function; each argument is such a pair, a path or a constant."""
    tokens = [next(group for group in found if group) for found in TOKEN.findall(text) if any(found)]
    found, left = _argument(tokens)
    if left or not isinstance(found, tuple):
        raise Malformed(f"{text!r} is no intrinsic function")
    return found


def _argument(tokens: list[str]) -> tuple[Any, list[str]]:
    if not tokens:
        raise Malformed("an intrinsic function ends too early")
    first, *left = tokens
    if first.startswith("'"):
        return {"value": re.sub(r"\\(.)", r"\1", first[1:-1])}, left
    if re.fullmatch(r"-?\d+(\.\d+)?", first) or first in ("true", "false", "null"):
        return {"value": json.loads(first)}, left
    if first.startswith("$"):
        check(first)
        return first, left
    if first not in FUNCTIONS or not left or left[0] != "(":
        raise Malformed(f"{first!r} is no intrinsic function")
    arguments: list[Any] = []
    left = left[1:]
    while left and left[0] != ")":
        argument, left = _argument(left)
        arguments.append(argument)
        if left and left[0] == ",":
            left = left[1:]
    if not left:
        raise Malformed(f"{first} is not closed")
    return (first, arguments), left[1:]


def _value(parsed: Any, data: Any, context: Mapping[str, Any]) -> Any:
    if isinstance(parsed, dict):
        return parsed["value"]
    if isinstance(parsed, str):
        return find(parsed, data, context)
    name, arguments = parsed
    given = [_value(one, data, context) for one in arguments]
    try:
        return FUNCTIONS[name](*given)
    except NoValue:
        raise
    except Exception as error:
        raise NoValue(f"{name} cannot be computed: {error}") from None


def _format(text: str, *values: Any) -> str:
    left = list(values)

    def shown(match: re.Match[str]) -> str:
        if match[0] != "{}":
            return match[0][1:]
        value = left.pop(0)
        return value if isinstance(value, str) else json.dumps(value)

    found = re.sub(r"\\.|\{\}", shown, text)
    if left:
        raise ValueError("it has more arguments than {}")
    return found


def _range(first: int, last: int, step: int) -> list[int]:
    found = list(range(first, last + (1 if step > 0 else -1), step))
    if len(found) > 1000:
        raise ValueError("it has more than 1000 elements")
    return found


def _hash(data: Any, name: str) -> str:
    if name not in HASHES:
        raise ValueError(f"unknown algorithm {name}")
    text = data if isinstance(data, str) else json.dumps(data)
    return hashlib.new(name.replace("SHA-", "SHA"), text.encode()).hexdigest()


def _unique(values: list[Any]) -> list[Any]:
    found: list[Any] = []
    for one in values:
        if one not in found:
            found.append(one)
    return found


def _merge(left: dict[str, Any], right: dict[str, Any], deep: bool) -> dict[str, Any]:
    if deep:
        raise ValueError("deep merges are not supported")
    return {**left, **right}


def _random(first: int, last: int, seed: int | None = None) -> int:
    return (random.Random(seed) if seed is not None else random).randrange(first, last)


def _split(text: str, marks: str) -> list[str]:
    return [one for one in re.split(f"[{re.escape(marks)}]", text) if one]


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "States.Format": _format,
    "States.StringToJson": json.loads,
    "States.JsonToString": lambda value: json.dumps(value, separators=(",", ":")),
    "States.Array": lambda *values: list(values),
    "States.ArrayPartition": lambda values, size: [
        values[at : at + size] for at in range(0, len(values), size)
    ],
    "States.ArrayContains": lambda values, one: one in values,
    "States.ArrayRange": _range,
    "States.ArrayGetItem": lambda values, number: values[number],
    "States.ArrayLength": len,
    "States.ArrayUnique": _unique,
    "States.Base64Encode": lambda text: base64.b64encode(text.encode()).decode(),
    "States.Base64Decode": lambda text: base64.b64decode(text).decode(),
    "States.Hash": _hash,
    "States.JsonMerge": _merge,
    "States.MathRandom": _random,
    "States.MathAdd": lambda left, right: left + right,
    "States.StringSplit": _split,
    "States.UUID": lambda: str(uuid.uuid4()),
}
