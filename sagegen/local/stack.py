"""One stack: its resources are made, changed and removed one by one, by the calls of their services."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from sagegen.local.cloud import ACCOUNT, Cloud, now
from sagegen.local.resources import KINDS
from sagegen.local.resources.kinds import Calls, Kind, Made, Unfit, invented
from sagegen.local.templates import Resource, Scope, Template, wrong
from sagegen.local.wire import Fault, not_emulated

TROUBLE = (Fault, ClientError, BotoCoreError, KeyError, TypeError, ValueError, AttributeError)


@dataclass
class Kept:
    """A resource of a stack as it was made last."""

    resource: Resource
    properties: dict[str, Any]
    made: Made
    status: str = "CREATE_COMPLETE"
    reason: str = ""
    at: Any = field(default_factory=now)


@dataclass
class Plan:
    """A template with its parameters: what a stack is to be."""

    template: Template
    given: dict[str, str]
    values: dict[str, Any]
    tags: list[dict[str, str]]
    capabilities: list[str]
    role: str | None
    caller: str | None


class Stack:
    """One stack."""

    def __init__(self, cloud: Cloud, name: str, description: str) -> None:
        self.cloud, self.name = cloud, name
        self.id = f"arn:aws:cloudformation:{cloud.region}:{ACCOUNT}:stack/{name}/{uuid.uuid4()}"
        self.record: dict[str, Any] = {
            "StackId": self.id,
            "StackName": name,
            "Description": description or None,
            "CreationTime": now(),
            "StackStatus": "REVIEW_IN_PROGRESS",
            "DisableRollback": False,
        }
        self.plan: Plan | None = None
        self.made: dict[str, Kept] = {}
        self.events: list[dict[str, Any]] = []
        self.outputs: list[dict[str, Any]] = []
        self.sets: dict[str, dict[str, Any]] = {}
        self._generation = 0

    @property
    def status(self) -> str:
        """StackStatus."""
        return str(self.record["StackStatus"])

    def described(self) -> dict[str, Any]:
        """As DescribeStacks has it."""
        plan = self.plan
        told = {}
        if plan:
            secret = {n for n, one in plan.template.section("Parameters").items() if truth(one.get("NoEcho"))}
            told = {
                "Parameters": [
                    {
                        "ParameterKey": name,
                        "ParameterValue": "****" if name in secret else joined(value),
                    }
                    for name, value in plan.values.items()
                ],
                "Tags": plan.tags,
                "Capabilities": plan.capabilities,
                "RoleARN": plan.role,
            }
        return {**self.record, **told, "Outputs": self.outputs}

    def become(self, status: str, reason: str | None = None) -> None:
        """Take a status, with its event."""
        self.record.update(StackStatus=status, StackStatusReason=reason)
        self._event(self.name, "AWS::CloudFormation::Stack", self.id, status, reason or "")

    def _event(self, logical: str, kind: str, physical: str, status: str, reason: str = "") -> None:
        self.events.append(
            {
                "StackId": self.id,
                "StackName": self.name,
                "EventId": str(uuid.uuid4()),
                "LogicalResourceId": logical,
                "PhysicalResourceId": physical,
                "ResourceType": kind,
                "ResourceStatus": status,
                "ResourceStatusReason": reason or None,
                "Timestamp": now(),
            }
        )

    # --- what the template says now ---------------------------------------------------------------------

    def scope(self, plan: Plan, made: Mapping[str, Kept]) -> Scope:
        """What names stand for."""
        return pseudo(self.cloud, plan, self.name, self.id, made)

    def _calls(self, plan: Plan) -> Calls:
        who = plan.role or plan.caller
        return Calls(lambda service: self.cloud.client(service, who), self.cloud.region, self.cloud.pause)

    def changes(self, plan: Plan) -> list[dict[str, Any]]:
        """What an update would do, as DescribeChangeSet has it."""
        found: dict[str, dict[str, Any]] = {}
        replaced: set[str] = set()
        scope = self.scope(plan, self.made)
        for resource in plan.template.resources(scope):
            old, kind = self.made.get(resource.name), KINDS[resource.type]
            if old is None:
                found[resource.name] = {"Action": "Add", "ResourceType": resource.type}
                continue
            depends = resource.needs & (replaced | {n for n, one in found.items() if one["Action"] == "Add"})
            given = None if depends else self._given(scope, resource, old)
            if given == old.properties and resource.type == old.resource.type:
                continue
            anew = given is not None and _replaces(kind, old, resource, given)
            if anew:
                replaced.add(resource.name)
            found[resource.name] = {
                "Action": "Modify",
                "ResourceType": resource.type,
                "PhysicalResourceId": old.made.physical,
                "Replacement": "Conditional" if given is None else str(anew),
            }
        names = {resource.name for resource in plan.template.resources(scope)}
        for name, kept in self.made.items():
            if name not in names:
                found[name] = {
                    "Action": "Remove",
                    "ResourceType": kept.resource.type,
                    "PhysicalResourceId": kept.made.physical,
                }
        return [
            {"Type": "Resource", "ResourceChange": {"LogicalResourceId": name, **one}}
            for name, one in found.items()
        ]

    def differs(self, plan: Plan) -> bool:
        """Whether an update would do anything."""
        old = self.plan
        if old is None or self.changes(plan):
            return True
        scopes = self.scope(old, self.made), self.scope(plan, self.made)
        before, after = (outputs(one, scope) for one, scope in zip((old, plan), scopes, strict=True))
        return before != after or plan.tags != old.tags

    def _given(self, scope: Scope, resource: Resource, old: Kept | None) -> dict[str, Any]:
        """A resource's properties without functions, and with a name."""
        kind = KINDS[resource.type]
        given: dict[str, Any] = scope.resolve(dict(resource.properties))
        if odd := given.keys() - kind.properties:
            raise not_emulated(f"the property {sorted(odd)[0]} of {resource.type}")
        if kind.name and not given.get(kind.name):
            if old and old.resource.type == resource.type and kind.name not in old.resource.properties:
                given[kind.name] = old.properties[kind.name]
            else:
                given[kind.name] = invented(kind, self.name, resource.name, self._generation)
        return given

    # --- changes ----------------------------------------------------------------------------------------

    def create(self, plan: Plan, on_failure: str = "ROLLBACK") -> None:
        """Make every resource; where one fails, remove them again."""
        self.plan = plan
        self.become("CREATE_IN_PROGRESS", "User Initiated")
        try:
            self._make_all(plan)
            self.outputs = outputs(plan, self.scope(plan, self.made))
        except Exception as error:
            if on_failure == "DO_NOTHING":
                self.become("CREATE_FAILED", _why(error))
                return
            self.become("ROLLBACK_IN_PROGRESS", f"{_why(error)} Rollback requested by user.")
            left = self._remove_all(rolled_back=True)
            if left:
                text = f"The following resource(s) failed to delete: [{', '.join(left)}]. "
                self.become("ROLLBACK_FAILED", text)
            elif on_failure == "DELETE":
                self.become("DELETE_COMPLETE")
            else:
                self.become("ROLLBACK_COMPLETE")
            return
        self.become("CREATE_COMPLETE")

    def _make_all(self, plan: Plan) -> None:
        calls = self._calls(plan)
        for resource in plan.template.resources(self.scope(plan, self.made)):
            self._step(resource, "CREATE", "", partial(self._make, calls, plan, resource))

    def _make(self, calls: Calls, plan: Plan, resource: Resource) -> Made:
        return self._made(calls, resource, self._given(self.scope(plan, self.made), resource, None))

    def _made(self, calls: Calls, resource: Resource, given: dict[str, Any]) -> Made:
        kind = KINDS[resource.type]
        made = kind.make(calls, given)
        # From here on a failure removes it.
        self.made[resource.name] = Kept(resource, given, made)
        if kind.settle:
            kind.settle(calls, made, {}, given)
        return made

    def _step(self, resource: Resource, verb: str, physical: str, work: Callable[[], Made]) -> Made:
        """One resource's change, with its events. Raises Failed."""
        if self.cloud.closed:
            raise Failed("Resource creation cancelled")
        self._event(resource.name, resource.type, physical, f"{verb}_IN_PROGRESS")
        try:
            made = work()
        except TROUBLE as error:
            reason = _message(error)
            self._event(resource.name, resource.type, physical, f"{verb}_FAILED", reason)
            if resource.name in self.made:
                kept = self.made[resource.name]
                kept.status, kept.reason, kept.at = f"{verb}_FAILED", reason, now()
            raise Failed(f"The following resource(s) failed to {verb.lower()}: [{resource.name}].") from error
        if resource.name in self.made:
            kept = self.made[resource.name]
            kept.status, kept.reason, kept.at = f"{verb}_COMPLETE", "", now()
        self._event(resource.name, resource.type, made.physical, f"{verb}_COMPLETE")
        return made

    def update(self, plan: Plan, keep: bool = False) -> None:
        """Change what differs; where that fails, change it back."""
        old, self._generation = self.plan, self._generation + 1
        before = dict(self.made)
        undo: list[Callable[[], None]] = []
        gone: list[Kept] = []
        self.record["LastUpdatedTime"] = now()
        self.become("UPDATE_IN_PROGRESS", "User Initiated")
        try:
            self._change_all(plan, undo, gone)
            found = outputs(plan, self.scope(plan, self.made))
        except Exception as error:
            if keep:
                self.become("UPDATE_FAILED", _why(error))
                return
            self.become("UPDATE_ROLLBACK_IN_PROGRESS", _why(error))
            failed = []
            for step in reversed(undo):
                try:
                    step()
                except TROUBLE as trouble:
                    failed.append(_message(trouble))
            if failed:
                self.become("UPDATE_ROLLBACK_FAILED", " ".join(failed))
                return
            self.made = before
            self.become("UPDATE_ROLLBACK_COMPLETE")
            return
        assert old
        self.plan, self.outputs = plan, found
        self.become("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
        names = {resource.name for resource in plan.template.resources(self.scope(plan, self.made))}
        gone += [kept for name, kept in reversed(self.made.items()) if name not in names]
        for kept in gone:
            retained = kept.resource.retained if kept.resource.name not in names else kept.resource.replaced
            if self.made.get(kept.resource.name) is kept:
                del self.made[kept.resource.name]
            if not retained:
                self._remove(self._calls(plan), kept)
        self.become("UPDATE_COMPLETE")

    def _change_all(self, plan: Plan, undo: list[Callable[[], None]], gone: list[Kept]) -> None:
        calls = self._calls(plan)
        for resource in plan.template.resources(self.scope(plan, self.made)):
            old = self.made.get(resource.name)
            if old is None:
                undo.append(partial(self._unmake, calls, resource.name, None))
                self._step(resource, "CREATE", "", partial(self._make, calls, plan, resource))
                continue
            kind, physical = KINDS[resource.type], old.made.physical
            try:
                given = self._given(self.scope(plan, self.made), resource, old)
            except TROUBLE as error:
                raise Failed(f"{resource.name}: {_message(error)}") from error
            if given == old.properties and resource.type == old.resource.type:
                self.made[resource.name] = Kept(resource, given, old.made, old.status, old.reason, old.at)
            elif _replaces(kind, old, resource, given):
                undo.append(partial(self._unmake, calls, resource.name, old))
                self._step(
                    resource,
                    "UPDATE",
                    physical,
                    partial(self._replace, calls, plan, resource, old),
                )
                gone.append(old)
            else:
                # A change that fails may have happened in part: it is changed back, too.
                undo.append(partial(_back, calls, kind, old, given))
                self._step(
                    resource,
                    "UPDATE",
                    physical,
                    partial(self._change, calls, resource, kind, old, given),
                )

    def _replace(self, calls: Calls, plan: Plan, resource: Resource, old: Kept) -> Made:
        kind = KINDS[resource.type]
        given = self._given(self.scope(plan, self.made), resource, old)
        if kind.name and kind.name not in resource.properties:
            given[kind.name] = invented(kind, self.name, resource.name, self._generation)
        elif kind.name and given[kind.name] == old.properties.get(kind.name):
            raise wrong(
                "CloudFormation cannot update a stack when a custom-named resource requires replacing. Rename"
                f" {given[kind.name]} and update the stack again."
            )
        return self._made(calls, resource, given)

    def _change(self, calls: Calls, resource: Resource, kind: Kind, old: Kept, given: dict[str, Any]) -> Made:
        assert kind.change
        made = kind.change(calls, old.made, old.properties, given)
        self.made[resource.name] = Kept(resource, given, made)
        return made

    def _unmake(self, calls: Calls, name: str, old: Kept | None) -> None:
        """Remove what an update made in the place of the old one."""
        kept = self.made.get(name)
        if kept is None or kept is old:
            return
        KINDS[kept.resource.type].remove(calls, kept.made, kept.properties)
        self._event(name, kept.resource.type, kept.made.physical, "DELETE_COMPLETE")

    # --- removal ----------------------------------------------------------------------------------------

    def delete(self, plan: Plan, retained: list[str]) -> None:
        """Remove every resource; those that cannot be removed stay, and say why."""
        self.become("DELETE_IN_PROGRESS", "User Initiated")
        if left := self._remove_all(retained=retained, plan=plan):
            self.become("DELETE_FAILED", f"The following resource(s) failed to delete: [{', '.join(left)}]. ")
            return
        self.record["DeletionTime"] = now()
        self.become("DELETE_COMPLETE")

    def _remove_all(
        self, *, rolled_back: bool = False, retained: list[str] | None = None, plan: Plan | None = None
    ) -> list[str]:
        """Remove the resources, last made first; those that did not go."""
        if not (plan := plan or self.plan):
            return []
        calls, left = self._calls(plan), []
        needed: set[str] = set()
        for name, kept in list(reversed(self.made.items())):
            if name in needed:
                left.append(name)
                needed |= kept.resource.needs
                continue
            # What a failed creation made goes, whatever its DeletionPolicy says of later.
            keep = (kept.resource.retained and not rolled_back) or name in (retained or ())
            if keep or self._remove(calls, kept):
                del self.made[name]
                if keep:
                    self._event(name, kept.resource.type, kept.made.physical, "DELETE_SKIPPED")
            else:
                left.append(name)
                needed |= kept.resource.needs
        return left

    def _remove(self, calls: Calls, kept: Kept) -> bool:
        resource, physical = kept.resource, kept.made.physical
        self._event(resource.name, resource.type, physical, "DELETE_IN_PROGRESS")
        try:
            KINDS[resource.type].remove(calls, kept.made, kept.properties)
        except TROUBLE as error:
            if not _is_gone(error):
                kept.status, kept.reason, kept.at = "DELETE_FAILED", _message(error), now()
                self._event(resource.name, resource.type, physical, "DELETE_FAILED", _message(error))
                return False
        self._event(resource.name, resource.type, physical, "DELETE_COMPLETE")
        return True


class Failed(Exception):
    """A change of a stack that came to an end."""


def _back(calls: Calls, kind: Kind, old: Kept, given: dict[str, Any]) -> None:
    """Undo a change in place."""
    assert kind.change
    kind.change(calls, old.made, given, old.properties)


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, Failed) else _message(error)


def _message(error: Exception) -> str:
    """A failure as an event has it."""
    if isinstance(error, ClientError):
        told, service = error.response["Error"], error.operation_name
        return f'Resource handler returned message: "{told["Message"]}" ({service}: {told["Code"]})'
    if isinstance(error, Fault):
        return error.message
    if isinstance(error, Unfit):
        return f"Properties validation failed: {error} is not known"
    if isinstance(error, KeyError):
        return f"Property validation failure: the property {error} is missing"
    return f"Properties validation failed: {error}"


GONE = ("NotFound", "NoSuch", "ResourceNotFoundException", "NonExistent", "Could not find", "not found")


def _is_gone(error: Exception) -> bool:
    """Whether a resource was not there any more."""
    if not isinstance(error, ClientError):
        return False
    told = error.response["Error"]
    return any(word in told["Code"] or word in told["Message"] for word in GONE)


def _replaces(kind: Kind, old: Kept, resource: Resource, given: Mapping[str, Any]) -> bool:
    if kind.change is None or old.resource.type != resource.type:
        return True
    return any(given.get(name) != old.properties.get(name) for name in kind.fixed)


def truth(value: Any) -> bool:
    """A boolean of a template, which may be text."""
    return str(value).lower() == "true"


def joined(value: Any) -> str:
    """A value as parameters and outputs show it."""
    return ",".join(value) if isinstance(value, list) else str(value)


def pseudo(cloud: Cloud, plan: Plan, name: str, identity: str, made: Mapping[str, Kept]) -> Scope:
    """What names stand for in a stack."""
    values = {
        **plan.values,
        "AWS::AccountId": ACCOUNT,
        "AWS::Region": cloud.region,
        "AWS::Partition": "aws",
        "AWS::URLSuffix": "amazonaws.com",
        "AWS::StackName": name,
        "AWS::StackId": identity,
        "AWS::NotificationARNs": [],
    }

    def attribute(logical: str, name: str) -> Any:
        if logical not in made:
            raise wrong(f"Template error: instance of Fn::GetAtt references undefined resource {logical}")
        found = made[logical]
        if name not in found.made.attributes:
            raise not_emulated(f"the attribute {name} of {found.resource.type}")
        return found.made.attributes[name]

    return Scope(
        values,
        plan.template.section("Conditions"),
        plan.template.section("Mappings"),
        {logical: kept.made.physical for logical, kept in made.items()},
        attribute,
    )


def outputs(plan: Plan, scope: Scope) -> list[dict[str, Any]]:
    """The stack's outputs, as DescribeStacks has them."""
    return [
        {
            "OutputKey": name,
            "OutputValue": joined(scope.resolve(one["Value"])),
            "Description": one.get("Description"),
        }
        for name, one in plan.template.section("Outputs").items()
        if "Condition" not in one or scope.holds(one["Condition"])
    ]
