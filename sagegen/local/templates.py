"""CloudFormation templates: what they say once parameters, conditions and made resources are known."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

import yaml

from sagegen.local.wire import Fault, not_emulated

SECTIONS = {"AWSTemplateFormatVersion", "Description", "Metadata", "Parameters", "Mappings", "Conditions",
            "Resources", "Outputs"}  # fmt: skip
OF_RESOURCE = {"Type", "Properties", "DependsOn", "Condition", "Metadata", "DeletionPolicy",
               "UpdateReplacePolicy"}  # fmt: skip
OF_PARAMETER = {"Type", "Default", "Description", "AllowedPattern", "AllowedValues", "ConstraintDescription",
                "MaxLength", "MinLength", "MaxValue", "MinValue", "NoEcho"}  # fmt: skip
KEPT, FOLDED = "String", "CommaDelimitedList"
SUBSTITUTED = re.compile(r"\$\{(!?)([^}]*)\}")
#: What a property is that AWS::NoValue takes away.
NOTHING = object()


def wrong(text: str) -> Fault:
    """A template that CloudFormation does not take."""
    return Fault("ValidationError", text)


class _Loader(yaml.SafeLoader):
    """YAML as CloudFormation reads it: short forms of functions, and dates that stay text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if tag != "tag:yaml.org,2002:timestamp"]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _short(loader: _Loader, suffix: str, node: yaml.Node) -> Any:
    """!Name value as {"Fn::Name": value}."""
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)  # type: ignore[arg-type]
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short)


def parsed(text: str) -> dict[str, Any]:
    """A template's content, JSON or YAML. Raises Fault."""
    try:
        found = json.loads(text) if text.lstrip().startswith("{") else yaml.load(text, _Loader)
    except (ValueError, yaml.YAMLError) as error:
        line = str(error).replace("\n", " ")
        raise wrong(f"Template format error: the template cannot be read: {line}") from None
    if not isinstance(found, dict):
        raise wrong("Template format error: unsupported structure.")
    return found


@dataclass
class Scope:
    """What names stand for: parameters, pseudo parameters, and the resources that are made."""

    values: dict[str, Any]
    conditions: Mapping[str, Any] = field(default_factory=dict)
    mappings: Mapping[str, Any] = field(default_factory=dict)
    #: {logical name: what Ref gives}, and {(logical name, attribute): value} by a function.
    refs: dict[str, str] = field(default_factory=dict)
    attribute: Callable[[str, str], Any] = lambda name, attribute: wrong(f"{name}.{attribute}")

    def named(self, name: str) -> Any:
        """What Ref gives."""
        if name == "AWS::NoValue":
            return NOTHING
        if name in self.values:
            return self.values[name]
        if name in self.refs:
            return self.refs[name]
        raise wrong(
            f"Template format error: Unresolved resource dependencies [{name}] in the Resources block of the"
            " template"
        )

    def holds(self, condition: Any) -> bool:
        """Whether a condition, or a condition's name, is true."""
        if isinstance(condition, str):
            if condition not in self.conditions:
                raise wrong(f"Template format error: Unresolved condition dependency {condition}")
            return self.holds(self.conditions[condition])
        (name, value), *_ = condition.items()
        if name == "Condition":
            return self.holds(value)
        if name == "Fn::Equals":
            left, right = (_text(self.resolve(one)) for one in value)
            return left == right
        if name == "Fn::Not":
            return not self.holds(value[0])
        if name == "Fn::And":
            return all(self.holds(one) for one in value)
        if name == "Fn::Or":
            return any(self.holds(one) for one in value)
        raise wrong(f"Template format error: {name} is no condition")

    def resolve(self, value: Any) -> Any:
        """A value without functions."""
        if isinstance(value, list):
            return [found for one in value if (found := self.resolve(one)) is not NOTHING]
        if isinstance(value, str) and "{{resolve:" in value:
            raise not_emulated("dynamic references ({{resolve:…}}) in a template")
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name == "Ref":
                return self.named(argument)
            if name == "Condition" and isinstance(argument, str) and argument in self.conditions:
                return self.holds(argument)
            if name.startswith("Fn::"):
                return self._function(name, argument)
        return {key: found for key, one in value.items() if (found := self.resolve(one)) is not NOTHING}

    def _function(self, name: str, argument: Any) -> Any:
        if name == "Fn::GetAtt":
            logical, attribute = argument.split(".", 1) if isinstance(argument, str) else argument
            return self.attribute(logical, self.resolve(attribute))
        if name == "Fn::Sub":
            return self._substituted(argument)
        if name == "Fn::If":
            condition, then, otherwise = argument
            return self.resolve(then if self.holds(condition) else otherwise)
        if name in ("Fn::Equals", "Fn::Not", "Fn::And", "Fn::Or"):
            return self.holds({name: argument})
        given = self.resolve(argument)
        if name == "Fn::Join":
            return str(given[0]).join(_text(one) for one in given[1])
        if name == "Fn::Split":
            return str(given[1]).split(given[0])
        if name == "Fn::Select":
            return given[1][int(given[0])]
        if name == "Fn::Base64":
            return base64.b64encode(str(given).encode()).decode()
        if name == "Fn::GetAZs":
            return [f"{given or self.values['AWS::Region']}{letter}" for letter in "abc"]
        if name == "Fn::FindInMap":
            try:
                return self.mappings[given[0]][_text(given[1])][_text(given[2])]
            except KeyError:
                raise wrong(f"Template error: Unable to get mapping for {'::'.join(given)}") from None
        raise not_emulated(f"{name} in a template")

    def _substituted(self, argument: Any) -> str:
        text, more = argument if isinstance(argument, list) else (argument, {})
        extra = {key: self.resolve(value) for key, value in more.items()}

        def found(match: re.Match[str]) -> str:
            escaped, name = match[1], match[2].strip()
            if escaped:
                return f"${{{name}}}"
            if name in extra:
                return _text(extra[name])
            if "." in name:
                return _text(self.attribute(*name.split(".", 1)))
            return _text(self.named(name))

        return SUBSTITUTED.sub(found, text)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class Resource:
    """A resource of a template, with functions."""

    name: str
    type: str
    properties: Mapping[str, Any]
    retained: bool  # when it goes, or its stack
    replaced: bool  # kept where an update replaces it
    needs: frozenset[str]


class Template:
    """A template that was judged."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.found = parsed(text)
        for section in self.found.keys() - SECTIONS:
            if section in ("Transform", "Rules", "Hooks"):
                raise not_emulated(f"{section} of a template")
            raise wrong(f"Invalid template property or properties [{section}]")
        if not self.section("Resources"):
            raise wrong("Template format error: At least one Resources member must be defined.")
        for name, parameter in self.section("Parameters").items():
            if odd := parameter.keys() - OF_PARAMETER:
                raise wrong(f"Invalid template parameter property {sorted(odd)[0]} of {name}")
        for name, resource in self.section("Resources").items():
            if not isinstance(resource, dict) or not isinstance(resource.get("Type"), str):
                raise wrong(
                    f"Template format error: [/Resources/{name}] Every Resources object must contain a Type"
                    " member."
                )
            for odd in resource.keys() - OF_RESOURCE:
                raise not_emulated(f"{odd} of a resource ({name})")

    def section(self, name: str) -> dict[str, Any]:
        """One of the template's sections, empty where it has none."""
        return self.found.get(name) or {}

    def values(self, given: Mapping[str, str]) -> dict[str, Any]:
        """Parameters' values, judged. Raises Fault."""
        declared = self.section("Parameters")
        if odd := given.keys() - declared.keys():
            raise wrong(f"Parameters: [{', '.join(sorted(odd))}] do not exist in the template")
        missing = [name for name, one in declared.items() if name not in given and "Default" not in one]
        if missing:
            raise wrong(f"Parameters: [{', '.join(missing)}] must have values")
        return {
            name: _value(name, one, given.get(name, one.get("Default"))) for name, one in declared.items()
        }

    def resources(self, scope: Scope) -> list[Resource]:
        """The resources whose conditions hold, in the order in which they can be made. Raises Fault."""
        wanted = {
            name: one
            for name, one in self.section("Resources").items()
            if "Condition" not in one or scope.holds(one["Condition"])
        }
        every = self.section("Resources")
        known = {*scope.values, "AWS::NoValue"}
        found = {}
        for name, one in wanted.items():
            depends = one.get("DependsOn", [])
            named = {*([depends] if isinstance(depends, str) else depends)}
            named |= set(_references(one.get("Properties", {})))
            if odd := named - every.keys() - known:
                raise wrong(
                    f"Template format error: Unresolved resource dependencies [{', '.join(sorted(odd))}] in"
                    " the Resources block of the template"
                )
            found[name] = frozenset(named & wanted.keys())
        for name, output in self.section("Outputs").items():
            if "Value" not in output:
                raise wrong(
                    f"Template format error: Every Outputs member must contain a Value object ({name})"
                )
            if "Export" in output:
                raise not_emulated("Export of an output")
            if odd := set(_references(output["Value"])) - every.keys() - known:
                raise wrong(
                    f"Template format error: Unresolved resource dependencies [{', '.join(sorted(odd))}] in"
                    " the Outputs block of the template"
                )
        try:
            order = list(TopologicalSorter(found).static_order())
        except CycleError as error:
            raise wrong(f"Circular dependency between resources: [{', '.join(error.args[1][1:])}]") from None
        return [
            Resource(
                name,
                wanted[name]["Type"],
                wanted[name].get("Properties") or {},
                wanted[name].get("DeletionPolicy", "Delete") != "Delete",
                wanted[name].get("UpdateReplacePolicy", "Delete") != "Delete",
                found[name],
            )
            for name in order
        ]


def _references(value: Any) -> Iterator[str]:
    """The names that a value refers to."""
    if isinstance(value, list):
        for one in value:
            yield from _references(one)
    elif isinstance(value, dict):
        for name, argument in value.items():
            if name == "Ref" and isinstance(argument, str) and len(value) == 1:
                yield argument
            elif name == "Fn::GetAtt" and len(value) == 1:
                yield argument.split(".")[0] if isinstance(argument, str) else argument[0]
            elif name == "Fn::Sub" and len(value) == 1:
                text, more = argument if isinstance(argument, list) else (argument, {})
                for escaped, inner in SUBSTITUTED.findall(text):
                    if not escaped and inner.strip() not in more:
                        yield inner.strip().split(".")[0]
                yield from _references(more)
            else:
                yield from _references(argument)


def _value(name: str, declared: Mapping[str, Any], given: Any) -> Any:
    kind, text = declared.get("Type", "String"), _text(given)
    refused = wrong(
        f"Parameter {name} failed to satisfy constraint:"
        f" {declared.get('ConstraintDescription') or _rule(declared)}"
    )
    if kind == "Number":
        if not re.fullmatch(r"-?\d+(\.\d+)?", text):
            raise wrong(f"Parameter '{name}' must be a number.")
        low, high = float(declared.get("MinValue", text)), float(declared.get("MaxValue", text))
        if not low <= float(text) <= high:
            raise refused
    elif kind == "CommaDelimitedList":
        return [one.strip() for one in text.split(",")]
    elif kind != "String":
        raise not_emulated(f"parameters of type {kind}")
    allowed = declared.get("AllowedValues")
    if allowed is not None and text not in [_text(one) for one in allowed]:
        raise (
            wrong(f"Parameter '{name}' must be one of AllowedValues")
            if "ConstraintDescription" not in (declared)
            else refused
        )
    if (pattern := declared.get("AllowedPattern")) and not re.fullmatch(pattern, text):
        raise refused
    if not int(declared.get("MinLength", 0)) <= len(text) <= int(declared.get("MaxLength", 4096)):
        raise refused
    return text


def _rule(declared: Mapping[str, Any]) -> str:
    rules = {
        key: declared[key]
        for key in OF_PARAMETER - {"Type", "Default", "Description", "NoEcho"}
        if key in declared
    }
    return f"Member must satisfy {json.dumps(rules, sort_keys=True)}"
