"""CloudFormation: stacks and change sets. Resources are made one by one, by the calls of their services."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from sagegen.local import query
from sagegen.local.cloud import ACCOUNT, Cloud, now
from sagegen.local.front import Request
from sagegen.local.identities import assume
from sagegen.local.resources import IDENTITIES, KINDS, Calls, Kind, Made, Unfit, invented
from sagegen.local.templates import Resource, Scope, Template, wrong
from sagegen.local.wire import Answer, Fault, Handler, not_emulated

#: A small stack is complete when the call that asks for it returns: clients look every 5 or 30 s.
PATIENCE = 2.0
NO_CHANGES = (
    "The submitted information didn't contain changes. Submit different information to create a change set."
)
NO_UPDATES = "No updates are to be performed."
STEADY = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")
#: What a call may not ask for, because it would have no effect here.
REFUSED = ("StackPolicyBody", "StackPolicyURL", "RollbackConfiguration", "ResourceTypes", "ResourcesToImport",
           "IncludeNestedStacks", "ImportExistingResources", "TimeoutInMinutes",
           "StackPolicyDuringUpdateBody", "StackPolicyDuringUpdateURL",
           "RetainExceptOnCreate", "DeploymentMode")  # fmt: skip
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
            secret = {n for n, one in plan.template.section("Parameters").items() if _true(one.get("NoEcho"))}
            told = {
                "Parameters": [
                    {
                        "ParameterKey": name,
                        "ParameterValue": "****" if name in secret else _joined(value),
                    }
                    for name, value in plan.values.items()
                ],
                "Tags": plan.tags,
                "Capabilities": plan.capabilities,
                "RoleARN": plan.role,
            }
        return {**self.record, **told, "Outputs": self.outputs}

    def _is(self, status: str, reason: str | None = None) -> None:
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
        self._is("CREATE_IN_PROGRESS", "User Initiated")
        try:
            self._make_all(plan)
            self.outputs = outputs(plan, self.scope(plan, self.made))
        except Exception as error:
            if on_failure == "DO_NOTHING":
                self._is("CREATE_FAILED", _why(error))
                return
            self._is("ROLLBACK_IN_PROGRESS", f"{_why(error)} Rollback requested by user.")
            left = self._remove_all(rolled_back=True)
            if left:
                text = f"The following resource(s) failed to delete: [{', '.join(left)}]. "
                self._is("ROLLBACK_FAILED", text)
            elif on_failure == "DELETE":
                self._is("DELETE_COMPLETE")
            else:
                self._is("ROLLBACK_COMPLETE")
            return
        self._is("CREATE_COMPLETE")

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
        self._is("UPDATE_IN_PROGRESS", "User Initiated")
        try:
            self._change_all(plan, undo, gone)
            found = outputs(plan, self.scope(plan, self.made))
        except Exception as error:
            if keep:
                self._is("UPDATE_FAILED", _why(error))
                return
            self._is("UPDATE_ROLLBACK_IN_PROGRESS", _why(error))
            failed = []
            for step in reversed(undo):
                try:
                    step()
                except TROUBLE as trouble:
                    failed.append(_message(trouble))
            if failed:
                self._is("UPDATE_ROLLBACK_FAILED", " ".join(failed))
                return
            self.made = before
            self._is("UPDATE_ROLLBACK_COMPLETE")
            return
        assert old
        self.plan, self.outputs = plan, found
        self._is("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
        names = {resource.name for resource in plan.template.resources(self.scope(plan, self.made))}
        gone += [kept for name, kept in reversed(self.made.items()) if name not in names]
        for kept in gone:
            retained = kept.resource.retained if kept.resource.name not in names else kept.resource.replaced
            if self.made.get(kept.resource.name) is kept:
                del self.made[kept.resource.name]
            if not retained:
                self._remove(self._calls(plan), kept)
        self._is("UPDATE_COMPLETE")

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
        self._is("DELETE_IN_PROGRESS", "User Initiated")
        if left := self._remove_all(retained=retained, plan=plan):
            self._is("DELETE_FAILED", f"The following resource(s) failed to delete: [{', '.join(left)}]. ")
            return
        self.record["DeletionTime"] = now()
        self._is("DELETE_COMPLETE")

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


def _true(value: Any) -> bool:
    return str(value).lower() == "true"


def _joined(value: Any) -> str:
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
            "OutputValue": _joined(scope.resolve(one["Value"])),
            "Description": one.get("Description"),
        }
        for name, one in plan.template.section("Outputs").items()
        if "Condition" not in one or scope.holds(one["Condition"])
    ]


class Stacks:
    """The operations of CloudFormation."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.stacks: list[Stack] = []
        self._lock = threading.Lock()
        self._asking = threading.local()
        self.handlers: dict[str, Handler] = {
            "CreateStack": self.create,
            "UpdateStack": self.update,
            "DeleteStack": self.delete,
            "CreateChangeSet": self.create_set,
            "DescribeChangeSet": self.describe_set,
            "ExecuteChangeSet": self.execute_set,
            "DeleteChangeSet": self.delete_set,
            "ListChangeSets": self.list_sets,
            "DescribeStacks": self.describe,
            "DescribeStackEvents": self.describe_events,
            "DescribeStackResource": self.describe_resource,
            "DescribeStackResources": self.describe_resources,
            "ListStackResources": self.list_resources,
            "ListStacks": self.list,
            "GetTemplate": self.template,
            "GetTemplateSummary": self.summary,
            "ValidateTemplate": self.validate,
            "UpdateTerminationProtection": self.protect,
        }

    def route(self, request: Request) -> Answer | None:
        """CloudFormation's calls."""
        if request.service != "cloudformation":
            return None
        body = request.reread()
        request.call.operation = parse_qs(body.decode(errors="replace")).get("Action", [""])[0]
        self._asking.role = self.cloud.keys[str(request.key)]
        return query.call("cloudformation", self.handlers, body)

    # --- stacks -----------------------------------------------------------------------------------------

    def _find(self, name: str) -> Stack:
        """A stack by its name, or by its ID. Raises Fault."""
        for stack in reversed(self.stacks):
            if name == stack.id or (name == stack.name and stack.status != "DELETE_COMPLETE"):
                return stack
        raise wrong(f"Stack with id {name} does not exist")

    def _known(self, name: str) -> Stack | None:
        try:
            return self._find(name)
        except Fault:
            return None

    def _template(self, given: Mapping[str, Any], stack: Stack | None) -> Template:
        if given.get("UsePreviousTemplate"):
            if not stack or not stack.plan:
                raise wrong("There is no previous template")
            return stack.plan.template
        if url := given.get("TemplateURL"):
            return Template(self._fetched(url))
        if "TemplateBody" not in given:
            raise wrong("Either Template URL or Template Body must be specified.")
        return Template(given["TemplateBody"])

    def _fetched(self, url: str) -> str:
        """A template in S3, by the path or by the host."""
        parts = urlsplit(url)
        host, path = parts.hostname or "", unquote(parts.path).lstrip("/")
        if not (host.endswith(".amazonaws.com") or parts.netloc == self.cloud.host):
            raise wrong("TemplateURL must be a supported URL.")
        bucket, _, key = path.partition("/")
        if ".s3" in host:
            bucket, key = host.split(".s3")[0], path
        try:
            found = self.cloud.client("s3", self._asking.role).get_object(Bucket=bucket, Key=key)
            return str(found["Body"].read().decode())
        except ClientError as error:
            raise wrong(f"S3 error: {error.response['Error']['Message']}") from None

    def _plan(self, given: Mapping[str, Any], stack: Stack | None) -> Plan:
        """What a call asks for, judged. Raises Fault."""
        for name in REFUSED:
            if given.get(name):
                raise not_emulated(f"{name} of CloudFormation")
        template = self._template(given, stack)
        parameters: dict[str, str] = {}
        old = stack.plan if stack else None
        for one in given.get("Parameters", ()):
            name = one["ParameterKey"]
            if one.get("UsePreviousValue"):
                if old is None or name not in old.given:
                    if old and name in old.values:
                        continue  # its default was used
                    raise wrong(
                        f"Invalid input for parameter key {name}. Cannot specify usePreviousValue as true"
                        " for a parameter key not in the previous template"
                    )
                parameters[name] = old.given[name]
            else:
                parameters[name] = one.get("ParameterValue", "")
        role = given.get("RoleARN") or (old.role if old else None)
        if given.get("RoleARN"):
            assume(self.cloud, given["RoleARN"], "cloudformation.amazonaws.com")
        tags = given.get("Tags")
        plan = Plan(
            template,
            parameters,
            template.values(parameters),
            tags if tags is not None else old.tags if old else [],
            given.get("Capabilities", []),
            role,
            self._asking.role,
        )
        name = stack.name if stack else given.get("StackName", "stack")
        made = stack.made if stack else {}
        self._judge(plan, pseudo(self.cloud, plan, name, "", made))
        return plan

    def _judge(self, plan: Plan, scope: Scope) -> None:
        """Refuse unknown types and properties, and identities without a capability."""
        for resource in plan.template.resources(scope):
            if resource.type not in KINDS:
                raise not_emulated(f"{resource.type} in a stack ({resource.name})")
            if odd := resource.properties.keys() - KINDS[resource.type].properties:
                raise not_emulated(f"the property {sorted(odd)[0]} of {resource.type} ({resource.name})")
            if resource.type in IDENTITIES:
                named = IDENTITIES[resource.type] in resource.properties
                wanted = "CAPABILITY_NAMED_IAM" if named else "CAPABILITY_IAM"
                if not {wanted, "CAPABILITY_NAMED_IAM"} & set(plan.capabilities):
                    text = f"Requires capabilities : [{wanted}]"
                    raise Fault("InsufficientCapabilitiesException", text)

    def _begin(self, work: Callable[..., None], *arguments: Any) -> None:
        """Let it go on, and wait a little for it."""
        done = threading.Event()

        def run() -> None:
            try:
                work(*arguments)
            finally:
                done.set()

        self.cloud.begin(run)
        done.wait(PATIENCE)

    def create(self, given: dict[str, Any]) -> dict[str, Any]:
        """CreateStack."""
        plan = self._plan(given, None)
        action = given.get("OnFailure") or ("DO_NOTHING" if given.get("DisableRollback") else "ROLLBACK")
        with self._lock:
            if self._known(given["StackName"]):
                raise Fault("AlreadyExistsException", f"Stack [{given['StackName']}] already exists")
            stack = Stack(self.cloud, given["StackName"], plan.template.found.get("Description", ""))
            stack.record["DisableRollback"] = action == "DO_NOTHING"
            stack.record["EnableTerminationProtection"] = given.get("EnableTerminationProtection", False)
            self.stacks.append(stack)
            stack.record["StackStatus"] = "CREATE_IN_PROGRESS"
        self._begin(stack.create, plan, action)
        return {"StackId": stack.id}

    def update(self, given: dict[str, Any]) -> dict[str, Any]:
        """UpdateStack."""
        stack = self._find(given["StackName"])
        with self._lock:
            plan = self._updatable(stack, given)
            if not stack.differs(plan):
                raise wrong(NO_UPDATES)
            stack.record["StackStatus"] = "UPDATE_IN_PROGRESS"
        self._begin(stack.update, plan, bool(given.get("DisableRollback")))
        return {"StackId": stack.id}

    def _updatable(self, stack: Stack, given: Mapping[str, Any]) -> Plan:
        if stack.status not in STEADY:
            raise wrong(f"Stack:{stack.id} is in {stack.status} state and can not be updated.")
        return self._plan(given, stack)

    def delete(self, given: dict[str, Any]) -> None:
        """DeleteStack: of one that is not there it succeeds."""
        if not (stack := self._known(given["StackName"])) or stack.status == "DELETE_COMPLETE":
            return
        if stack.record.get("EnableTerminationProtection"):
            raise wrong(f"Stack [{stack.name}] cannot be deleted while TerminationProtection is enabled")
        if given.get("DeletionMode", "STANDARD") != "STANDARD":
            raise not_emulated("DeletionMode of DeleteStack")
        with self._lock:
            if stack.status.endswith("_IN_PROGRESS") and stack.status != "REVIEW_IN_PROGRESS":
                raise wrong(f"Stack [{stack.name}] cannot be deleted while in status {stack.status}")
            stack.record["StackStatus"] = "DELETE_IN_PROGRESS"
        if plan := stack.plan:
            plan = replace(plan, role=given.get("RoleARN") or plan.role, caller=self._asking.role)
            self._begin(stack.delete, plan, given.get("RetainResources", []))
        else:
            stack.record.update(StackStatus="DELETE_COMPLETE", DeletionTime=now())

    def protect(self, given: dict[str, Any]) -> dict[str, Any]:
        """UpdateTerminationProtection."""
        stack = self._find(given["StackName"])
        stack.record["EnableTerminationProtection"] = given["EnableTerminationProtection"]
        return {"StackId": stack.id}

    # --- change sets ------------------------------------------------------------------------------------

    def create_set(self, given: dict[str, Any]) -> dict[str, Any]:
        """CreateChangeSet, for a new stack or an update."""
        kind, name = given.get("ChangeSetType", "UPDATE"), given["ChangeSetName"]
        if kind not in ("CREATE", "UPDATE"):
            raise not_emulated(f"change sets of type {kind}")
        stack = self._known(given["StackName"])
        if kind == "CREATE":
            if stack and stack.status != "REVIEW_IN_PROGRESS":
                raise Fault(
                    "AlreadyExistsException",
                    f"Stack [{stack.name}] already exists and cannot be created again with the changeSet"
                    f" [{name}].",
                )
            plan = self._plan(given, None)
            if not stack:
                stack = Stack(self.cloud, given["StackName"], plan.template.found.get("Description", ""))
                stack._is("REVIEW_IN_PROGRESS", "User Initiated")
                self.stacks.append(stack)
        else:
            stack = self._find(given["StackName"])
            plan = self._updatable(stack, given)
        if name in stack.sets:
            raise Fault("AlreadyExistsException", f"ChangeSet {name} already exists")
        changes = stack.changes(plan)
        empty = kind == "UPDATE" and not stack.differs(plan)
        identity = f"arn:aws:cloudformation:{self.cloud.region}:{ACCOUNT}:changeSet/{name}/{uuid.uuid4()}"
        stack.sets[name] = {
            "ChangeSetName": name,
            "ChangeSetId": identity,
            "StackId": stack.id,
            "StackName": stack.name,
            "Description": given.get("Description"),
            "Parameters": [
                {"ParameterKey": key, "ParameterValue": value} for key, value in plan.given.items()
            ],
            "CreationTime": now(),
            "ExecutionStatus": "UNAVAILABLE" if empty else "AVAILABLE",
            "Status": "FAILED" if empty else "CREATE_COMPLETE",
            "StatusReason": NO_CHANGES if empty else None,
            "Capabilities": plan.capabilities,
            "Tags": plan.tags,
            "Changes": [] if empty else changes,
            "OnStackFailure": given.get("OnStackFailure"),
            "plan": plan,
            "kind": kind,
        }
        return {"Id": identity, "StackId": stack.id}

    def _set(self, given: Mapping[str, Any]) -> tuple[Stack, dict[str, Any]]:
        name = given["ChangeSetName"]
        for stack in self.stacks:
            if given.get("StackName") in (None, stack.name, stack.id):
                for one in stack.sets.values():
                    if name == one["ChangeSetId"] or (
                        name == one["ChangeSetName"] and given.get("StackName")
                    ):
                        return stack, one
        raise Fault("ChangeSetNotFound", f"ChangeSet [{name}] does not exist", 404)

    def describe_set(self, given: dict[str, Any]) -> dict[str, Any]:
        """DescribeChangeSet."""
        return self._set(given)[1]

    def list_sets(self, given: dict[str, Any]) -> dict[str, Any]:
        """ListChangeSets."""
        return {"Summaries": list(self._find(given["StackName"]).sets.values())}

    def delete_set(self, given: dict[str, Any]) -> dict[str, Any]:
        """DeleteChangeSet."""
        stack, one = self._set(given)
        del stack.sets[one["ChangeSetName"]]
        return {}

    def execute_set(self, given: dict[str, Any]) -> dict[str, Any]:
        """ExecuteChangeSet."""
        stack, one = self._set(given)
        with self._lock:
            if one["ExecutionStatus"] != "AVAILABLE":
                raise Fault(
                    "InvalidChangeSetStatus",
                    f"ChangeSet [{one['ChangeSetId']}] cannot be executed in its current status of"
                    f" [{one['Status']}]",
                )
            creates = one["kind"] == "CREATE"
            if stack.status != "REVIEW_IN_PROGRESS" if creates else stack.status not in STEADY:
                raise wrong(f"Stack:{stack.id} is in {stack.status} state and can not be updated.")
            one["ExecutionStatus"] = "EXECUTE_COMPLETE"
            stack.record["ChangeSetId"] = one["ChangeSetId"]
            stack.sets = {one["ChangeSetName"]: one}  # the others are of a stack that is no more
            keep = bool(given.get("DisableRollback"))
            stack.record["StackStatus"] = "CREATE_IN_PROGRESS" if creates else "UPDATE_IN_PROGRESS"
        if creates:
            self._begin(
                stack.create, one["plan"], "DO_NOTHING" if keep else one["OnStackFailure"] or "ROLLBACK"
            )
        else:
            self._begin(stack.update, one["plan"], keep)
        return {}

    # --- reading ----------------------------------------------------------------------------------------

    def describe(self, given: dict[str, Any]) -> dict[str, Any]:
        """DescribeStacks."""
        if name := given.get("StackName"):
            return {"Stacks": [self._find(name).described()]}
        return {"Stacks": [stack.described() for stack in self.stacks if stack.status != "DELETE_COMPLETE"]}

    def list(self, given: dict[str, Any]) -> dict[str, Any]:
        """ListStacks."""
        wanted = given.get("StackStatusFilter")
        return {
            "StackSummaries": [stack.record for stack in self.stacks if not wanted or stack.status in wanted]
        }

    def describe_events(self, given: dict[str, Any]) -> dict[str, Any]:
        """DescribeStackEvents, newest first."""
        return {"StackEvents": list(reversed(self._find(given["StackName"]).events))}

    def _resource(self, stack: Stack, kept: Kept) -> dict[str, Any]:
        return {
            "StackName": stack.name,
            "StackId": stack.id,
            "LogicalResourceId": kept.resource.name,
            "PhysicalResourceId": kept.made.physical,
            "ResourceType": kept.resource.type,
            "Timestamp": kept.at,
            "LastUpdatedTimestamp": kept.at,
            "ResourceStatus": kept.status,
            "ResourceStatusReason": kept.reason or None,
        }

    def describe_resource(self, given: dict[str, Any]) -> dict[str, Any]:
        """DescribeStackResource."""
        stack, name = self._find(given["StackName"]), given["LogicalResourceId"]
        if name not in stack.made:
            raise wrong(f"Resource {name} does not exist for stack {stack.name}")
        return {"StackResourceDetail": self._resource(stack, stack.made[name])}

    def describe_resources(self, given: dict[str, Any]) -> dict[str, Any]:
        """DescribeStackResources."""
        if "StackName" not in given:
            raise not_emulated("DescribeStackResources by PhysicalResourceId")
        stack, name = self._find(given["StackName"]), given.get("LogicalResourceId")
        found = [self._resource(stack, kept) for kept in stack.made.values()]
        return {"StackResources": [one for one in found if name in (None, one["LogicalResourceId"])]}

    def list_resources(self, given: dict[str, Any]) -> dict[str, Any]:
        """ListStackResources."""
        stack = self._find(given["StackName"])
        return {"StackResourceSummaries": [self._resource(stack, kept) for kept in stack.made.values()]}

    def template(self, given: dict[str, Any]) -> dict[str, Any]:
        """GetTemplate, as it was given."""
        if "ChangeSetName" in given:
            return {"TemplateBody": self._set(given)[1]["plan"].template.text}
        stack = self._find(given["StackName"])
        return {"TemplateBody": stack.plan.template.text if stack.plan else ""}

    def summary(self, given: dict[str, Any]) -> dict[str, Any]:
        """GetTemplateSummary: the parameters, and what the template asks for."""
        stack = self._find(given["StackName"]) if "StackName" in given else None
        template = stack.plan.template if stack and stack.plan else self._template(given, None)
        kinds = [one["Type"] for one in template.section("Resources").values()]
        return {
            "Parameters": [
                {
                    "ParameterKey": name,
                    "DefaultValue": None if "Default" not in one else _joined(one["Default"]),
                    "ParameterType": one.get("Type"),
                    "NoEcho": _true(one.get("NoEcho")),
                    "Description": one.get("Description"),
                }
                for name, one in template.section("Parameters").items()
            ],
            "Description": template.found.get("Description"),
            "ResourceTypes": sorted(set(kinds)),
            "Version": template.found.get("AWSTemplateFormatVersion"),
            **_capabilities(template),
        }

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        """ValidateTemplate: as far as it is possible without parameters."""
        template = self._template(given, None)
        found = self.summary({**given, "TemplateBody": template.text})
        return {
            "Parameters": found["Parameters"],
            "Description": found["Description"],
            **_capabilities(template),
        }


def _capabilities(template: Template) -> dict[str, Any]:
    found = {
        "CAPABILITY_NAMED_IAM" if IDENTITIES[one["Type"]] in one.get("Properties", {}) else "CAPABILITY_IAM"
        for one in template.section("Resources").values()
        if one["Type"] in IDENTITIES
    }
    if not found:
        return {}
    reason = "The following resource(s) require capabilities"
    return {"Capabilities": [max(found, key=len)], "CapabilitiesReason": reason}
