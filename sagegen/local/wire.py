"""AWS's JSON protocols as botocore's models have them: judge a request, and write an answer or a fault."""

from __future__ import annotations

import datetime
import functools
import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import botocore.session
from botocore.model import ServiceModel, Shape

Handler = Callable[[dict[str, Any]], Mapping[str, Any] | None]
#: What services call a wrong request, where that is not ValidationException.
INVALID = {"codebuild": "InvalidInputException"}
NUMBERS = ("integer", "long", "float", "double")


class Fault(Exception):
    """A refusal as AWS words it. `members` are more fields of its body."""

    def __init__(self, code: str, message: str, status: int = 400, **members: Any) -> None:
        super().__init__(message)
        self.code, self.message, self.status, self.members = code, message, status, members


def invalid(message: str) -> Fault:
    """What most refusals are."""
    return Fault("ValidationException", message)


def not_emulated(what: str) -> Fault:
    """AWS has it, and this emulator does not: never a made-up success."""
    return Fault("NotEmulated", f"not emulated: {what}", 501)


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes | Iterable[bytes] = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def json_answer(status: int, body: Any, **headers: str) -> Answer:
    """An answer of the JSON protocols; an underscore in a header's name becomes a dash."""
    data = json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(
        status, data, {"Content-Type": "application/x-amz-json-1.1", "x-amzn-RequestId": identity(), **named}
    )


def identity() -> str:
    """A request's ID."""
    return str(uuid.uuid4())


def fault_answer(fault: Fault) -> Answer:
    """A refusal, in the JSON protocols."""
    body = {"__type": fault.code, "message": fault.message, "Message": fault.message, **fault.members}
    return json_answer(fault.status, body, x_amzn_ErrorType=fault.code)


@functools.cache
def model(service: str) -> ServiceModel:
    """botocore's model of a service."""
    return botocore.session.get_session().get_service_model(service)


def call(service: str, operation: str, handlers: Mapping[str, Handler], body: bytes) -> Answer:
    """Judge one call of AWS's JSON 1.1 protocol, let its handler answer, and write that."""
    described = model(service)
    if operation not in described.operation_names:
        raise Fault("UnknownOperationException", f"{service} has no operation {operation}")
    shapes = described.operation_model(operation)
    if operation not in handlers:
        raise not_emulated(f"{service}:{operation}")
    try:
        given = json.loads(body or b"{}")
    except ValueError:
        raise Fault("SerializationException", "the body is not JSON") from None
    try:
        judge(shapes.input_shape, given)
    except Fault as fault:
        raise Fault(INVALID.get(service, fault.code), fault.message) from fault
    found = handlers[operation](given) or {}
    return json_answer(200, told(shapes.output_shape, found) if shapes.output_shape else {})


def judge(shape: Shape | None, given: Any) -> None:
    """Refuse what does not fit the model, in AWS's words."""
    problems = list(_problems(shape, given, ())) if shape else []
    if problems:
        many = "s" if len(problems) > 1 else ""
        raise invalid(f"{len(problems)} validation error{many} detected: {'; '.join(problems)}")


def _problems(shape: Any, value: Any, path: tuple[str, ...]) -> Iterator[str]:
    """What AWS refuses, also where botocore lets it through: whole-match patterns, maxima, enumerations."""
    kind, where = shape.type_name, ".".join(path)

    def failed(what: str) -> str:
        shown = value if isinstance(value, str | int | float) else json.dumps(value, default=str)[:200]
        return f"Value '{shown}' at '{where}' failed to satisfy constraint: Member must {what}"

    if kind == "structure":
        if not isinstance(value, dict):
            yield failed("be a structure")
            return
        for name in shape.required_members:
            if value.get(name) is None:
                missing = ".".join((*path, _low(name)))
                yield f"Value null at '{missing}' failed to satisfy constraint: Member must not be null"
        for name, part in value.items():
            if name not in shape.members:
                yield f"Unknown member '{name}' at '{where}'"
            elif part is not None:
                yield from _problems(shape.members[name], part, (*path, _low(name)))
        return
    if kind == "list":
        if not isinstance(value, list):
            yield failed("be a list")
            return
        for number, part in enumerate(value, 1):
            yield from _problems(shape.member, part, (*path, str(number), "member"))
    elif kind == "map":
        if not isinstance(value, dict):
            yield failed("be a map")
            return
        for key, part in value.items():
            for inner, which in ((shape.key, "keys"), (shape.value, "value")):
                for problem in _problems(inner, key if which == "keys" else part, path):
                    yield (
                        problem.replace("constraint: ", f"constraint: Map {which} must satisfy constraint: [")
                        + "]"
                    )
    elif kind == "string":
        if not isinstance(value, str):
            yield failed("be a string")
            return
        if shape.enum and value not in shape.enum:
            yield failed(f"satisfy enum value set: [{', '.join(shape.enum)}]")
        rule = shape.metadata.get("pattern")
        if rule and (compiled := _pattern(rule)) and not compiled.fullmatch(value):
            yield failed(f"satisfy regular expression pattern: {rule}")
    elif kind in NUMBERS:
        if isinstance(value, bool) or not isinstance(value, int | float):
            yield failed("be a number")
            return
    elif kind == "boolean":
        if not isinstance(value, bool):
            yield failed("be a boolean")
        return
    else:
        return
    size, word = (value, "value") if kind in NUMBERS else (len(value), "length")
    if (least := shape.metadata.get("min")) is not None and size < least:
        yield failed(f"have {word} greater than or equal to {least}")
    if (most := shape.metadata.get("max")) is not None and size > most:
        yield failed(f"have {word} less than or equal to {most}")


def _low(name: str) -> str:
    return name[:1].lower() + name[1:]


@functools.cache
def _pattern(rule: str) -> re.Pattern[str] | None:
    """None where the rule is written in a dialect that Python does not read."""
    try:
        return re.compile(rule)
    except re.error:
        return None


def told(shape: Any, value: Any) -> Any:
    """The members of a value that the model's output has, in the types that the wire has."""
    if isinstance(value, datetime.datetime):
        return value.timestamp()
    if shape.type_name == "structure":
        return {
            name: told(part, value[name])
            for name, part in shape.members.items()
            if value.get(name) is not None
        }
    if shape.type_name == "list":
        return [told(shape.member, part) for part in value]
    if shape.type_name == "map":
        return {key: told(shape.value, part) for key, part in value.items()}
    return value
