"""CloudFormation's operations: stacks and change sets."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from botocore.exceptions import ClientError

from sagegen.local import query
from sagegen.local.cloud import ACCOUNT, Cloud, now
from sagegen.local.front import Request
from sagegen.local.identities import assume
from sagegen.local.resources import IDENTITIES, KINDS
from sagegen.local.stack import Kept, Plan, Stack, joined, pseudo, truth
from sagegen.local.templates import Scope, Template, wrong
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
                stack.become("REVIEW_IN_PROGRESS", "User Initiated")
                self.stacks.append(stack)
        else:
            stack = self._find(given["StackName"])
            plan = self._updatable(stack, given)
        # The CLI names a set by the second, and here a stack may be deployed twice in one.
        if stack.sets.get(name, {}).get("ExecutionStatus", "EXECUTE_COMPLETE") != "EXECUTE_COMPLETE":
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
                    "DefaultValue": None if "Default" not in one else joined(one["Default"]),
                    "ParameterType": one.get("Type"),
                    "NoEcho": truth(one.get("NoEcho")),
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
