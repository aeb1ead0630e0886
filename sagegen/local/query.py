"""AWS's Query protocol, for clients of CloudFormation: a form in, XML out, by botocore's models."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from sagegen.local.wire import Answer, Fault, Handler, identity, judge, model, not_emulated


def call(service: str, handlers: Mapping[str, Handler], body: bytes) -> Answer:
    """Judge one call, let its handler answer, and write that."""
    form = dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
    action, described = form.pop("Action", ""), model(service)
    if action not in described.operation_names:
        raise Fault("InvalidAction", f"Could not find operation {action}")
    if action not in handlers:
        raise not_emulated(f"{service}:{action}")
    shapes = described.operation_model(action)
    form.pop("Version", None)
    given = read(shapes.input_shape, form)
    try:
        judge(shapes.input_shape, given)
        found = handlers[action](given) or {}
    except Fault as fault:
        if fault.code == "ValidationException":  # the Query protocol's name of it
            raise Fault("ValidationError", fault.message) from fault
        raise
    inner = ""
    if shapes.output_shape:
        wrapper = shapes.output_shape.serialization["resultWrapper"]
        inner = f"<{wrapper}>{written(shapes.output_shape, found)}</{wrapper}>"
    uri = described.metadata["xmlNamespace"]
    about = f"<ResponseMetadata><RequestId>{identity()}</RequestId></ResponseMetadata>"
    text = f'<{action}Response xmlns="{uri}">{inner}{about}</{action}Response>'
    return Answer(200, text.encode(), {"Content-Type": "text/xml"})


def read(shape: Any, form: Mapping[str, str]) -> Any:
    """A value of this shape from the fields of a form; a name that the shape has not stays, to be refused."""
    kind = shape.type_name
    if kind == "structure":
        found = {}
        for name, fields in _parts(form):
            member = shape.members.get(name)
            found[name] = read(member, fields) if member else fields.get("", "")
        return found
    if kind == "list":
        below = [fields for name, fields in _parts(form) if name == "member"]
        numbered = {int(name): part for fields in below for name, part in _parts(fields) if name.isdigit()}
        return [read(shape.member, numbered[number]) for number in sorted(numbered)]
    value = form.get("", "")
    if kind == "boolean":
        return {"true": True, "false": False}.get(value.lower(), value)
    if kind in ("integer", "long") and re.fullmatch(r"-?\d+", value):
        return int(value)
    return value


def _parts(form: Mapping[str, str]) -> Iterator[tuple[str, dict[str, str]]]:
    """The fields by the first word of their names."""
    found: dict[str, dict[str, str]] = {}
    for name, value in form.items():
        head, _, rest = name.partition(".")
        if head:
            found.setdefault(head, {})[rest] = value
    yield from found.items()


def written(shape: Any, value: Any) -> str:
    """The members of a value that the shape has, as XML."""
    kind = shape.type_name
    if kind == "structure":
        return "".join(
            f"<{name}>{written(member, value[name])}</{name}>"
            for name, member in shape.members.items()
            if value.get(name) is not None
        )
    if kind == "list":
        return "".join(f"<member>{written(shape.member, one)}</member>" for one in value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime.datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return escape(str(value))
