"""AWS's REST protocol with JSON, for clients of Lambda: paths, queries and headers by botocore's models."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from sagegen.local.wire import Answer, Fault, Handler, identity, judge, model, not_emulated, told

if TYPE_CHECKING:
    from sagegen.local.front import Request

WORD = re.compile(r"\\\{(\w+)(\\\+)?\\\}")


def rule(path: str) -> str:
    """The expression of a path with words in braces; one with + spans slashes."""
    return WORD.sub(lambda word: f"(?P<{word[1]}>{'.+' if word[2] else '[^/]+'})", re.escape(path))


@functools.cache
def _paths(service: str) -> list[tuple[str, re.Pattern[str], str]]:
    """(method, path, operation), the most literal paths first."""
    found = []
    for name in model(service).operation_names:
        http = model(service).operation_model(name).http
        path = http["requestUri"].split("?")[0].rstrip("/")
        found.append((http["method"], re.compile(rule(path) + "/?"), name))
    return sorted(found, key=lambda one: one[1].pattern.count("(?P<"))


def operation(service: str, method: str, path: str) -> tuple[str, dict[str, str]]:
    """What a request asks for, and the words of its path; ("", {}) where the service has no such path."""
    for verb, known, name in _paths(service):
        if verb == method and (words := known.fullmatch(path)):
            return name, {key: unquote(value) for key, value in words.groupdict().items()}
    return "", {}


def call(service: str, handlers: Mapping[str, Handler], request: Request, invalid: str, limit: int) -> Answer:
    """Judge one call, let its handler answer, and write that. `invalid` is the code of a wrong request."""
    path = unquote(request.environ.get("RAW_URI", request.path).split("?")[0])
    name, words = operation(service, request.method, path)
    if not name:
        raise not_emulated(f"{service}: {request.method} {request.path}")
    request.call.operation = name
    if name not in handlers:
        raise not_emulated(f"{service}:{name}")
    shapes = model(service).operation_model(name)
    given = _read(shapes.input_shape, request, words, limit) if shapes.input_shape else {}
    try:
        judge(shapes.input_shape, given)
    except Fault as fault:
        raise Fault(invalid, fault.message) from fault
    found = handlers[name](given) or {}
    return written(service, name, found)


def _read(shape: Any, request: Request, words: Mapping[str, str], limit: int) -> dict[str, Any]:
    body = request.body(limit)
    if body is None:
        raise Fault("RequestTooLargeException", f"Request must be smaller than {limit} bytes", 413)
    payload = shape.serialization.get("payload")
    given: dict[str, Any] = {}
    if payload:
        given[payload] = body
    elif body:
        try:
            given = json.loads(body)
        except ValueError:
            raise Fault("SerializationException", "the body is not JSON") from None
    headers, query = request.headers, request.query
    for name, member in shape.members.items():
        place, key = member.serialization.get("location"), member.serialization.get("name", name)
        text = {"uri": words.get(key), "querystring": query.get(key), "header": headers.get(key.lower())}.get(
            place or ""
        )
        if text is not None:
            given[name] = int(text) if member.type_name == "integer" and text.isdigit() else text
    return given


def written(service: str, name: str, found: Mapping[str, Any]) -> Answer:
    """The answer of an operation."""
    described = model(service).operation_model(name)
    shape, status = described.output_shape, described.http.get("responseCode", 200)
    headers = {"Content-Type": "application/json", "x-amzn-RequestId": identity()}
    if not shape:
        return Answer(status, b"", headers)
    body = {}
    for name, member in shape.members.items():
        value = found.get(name)
        if value is None:
            continue
        place = member.serialization.get("location")
        if place == "statusCode":
            status = value
        elif place == "header":
            headers[member.serialization["name"]] = str(value)
        elif name != shape.serialization.get("payload"):
            body[name] = told(member, value)
    if payload := shape.serialization.get("payload"):
        return Answer(status, found.get(payload) or b"", headers)
    return Answer(status, json.dumps(body).encode() if status != 204 else b"", headers)
