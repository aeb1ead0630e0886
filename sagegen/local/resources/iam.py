"""Roles and policies of a stack."""

from __future__ import annotations

from sagegen.local.resources.kinds import Calls, Kind, Made, Properties, as_text, ask, without
from sagegen.local.wire import not_emulated


def _make_role(calls: Calls, given: Properties) -> Made:
    plain = without(given, "Policies", "ManagedPolicyArns", "AssumeRolePolicyDocument")
    trust = as_text(given["AssumeRolePolicyDocument"])
    found = ask(calls, "iam", "CreateRole", AssumeRolePolicyDocument=trust, **plain)["Role"]
    return Made(found["RoleName"], {"Arn": found["Arn"], "RoleId": found["RoleId"]})


def _change_role(calls: Calls, made: Made, old: Properties, given: Properties) -> Made:
    role = made.physical
    if old and old["AssumeRolePolicyDocument"] != given["AssumeRolePolicyDocument"]:
        text = as_text(given["AssumeRolePolicyDocument"])
        ask(calls, "iam", "UpdateAssumeRolePolicy", RoleName=role, PolicyDocument=text)
    for name in ("Description", "MaxSessionDuration"):
        if old and given.get(name) != old.get(name):
            ask(
                calls,
                "iam",
                "UpdateRole",
                RoleName=role,
                **{name: given.get(name) or {"Description": ""}.get(name, 3600)},
            )
    wanted = {policy["PolicyName"]: policy["PolicyDocument"] for policy in given.get("Policies", ())}
    for policy in old.get("Policies", ()):
        if policy["PolicyName"] not in wanted:
            ask(calls, "iam", "DeleteRolePolicy", RoleName=role, PolicyName=policy["PolicyName"])
    for name, document in wanted.items():
        ask(calls, "iam", "PutRolePolicy", RoleName=role, PolicyName=name, PolicyDocument=as_text(document))
    attached = set(given.get("ManagedPolicyArns", ()))
    before = set(old.get("ManagedPolicyArns", ()))
    for arn in sorted(before - attached):
        ask(calls, "iam", "DetachRolePolicy", RoleName=role, PolicyArn=arn)
    for arn in sorted(attached - before):
        ask(calls, "iam", "AttachRolePolicy", RoleName=role, PolicyArn=arn)
    return made


def _remove_role(calls: Calls, made: Made, given: Properties) -> None:
    role, iam = made.physical, calls.client("iam")
    own = {policy["PolicyName"] for policy in given.get("Policies", ())}
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        if name in own:
            iam.delete_role_policy(RoleName=role, PolicyName=name)
    for one in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        if one["PolicyArn"] in given.get("ManagedPolicyArns", ()):
            iam.detach_role_policy(RoleName=role, PolicyArn=one["PolicyArn"])
    iam.delete_role(RoleName=role)


ROLE = Kind(
    _make_role,
    _remove_role,
    frozenset(("RoleName", "AssumeRolePolicyDocument", "Policies", "ManagedPolicyArns", "Path", "Description",
               "MaxSessionDuration", "PermissionsBoundary", "Tags")),
    _change_role,
    frozenset(("RoleName", "Path", "PermissionsBoundary", "Tags")),
    "RoleName",
    _change_role,
    64,
)  # fmt: skip


def _policy(calls: Calls, made: Made, old: Properties, given: Properties) -> Made:
    if "Users" in given or "Groups" in given:
        raise not_emulated("Users and Groups of a policy")
    for role in set(old.get("Roles", ())) - set(given.get("Roles", ())):
        ask(calls, "iam", "DeleteRolePolicy", RoleName=role, PolicyName=given["PolicyName"])
    for role in given.get("Roles", ()):
        text = as_text(given["PolicyDocument"])
        ask(calls, "iam", "PutRolePolicy", RoleName=role, PolicyName=given["PolicyName"], PolicyDocument=text)
    return made


def _remove_policy(calls: Calls, made: Made, given: Properties) -> None:
    for role in given.get("Roles", ()):
        ask(calls, "iam", "DeleteRolePolicy", RoleName=role, PolicyName=given["PolicyName"])


POLICY = Kind(
    lambda calls, given: _policy(calls, Made(given["PolicyName"]), {}, given),
    _remove_policy,
    frozenset(("PolicyName", "PolicyDocument", "Roles", "Users", "Groups")),
    _policy,
    frozenset(("PolicyName",)),
)


def _make_managed(calls: Calls, given: Properties) -> Made:
    plain = {"PolicyName": given["ManagedPolicyName"], "PolicyDocument": as_text(given["PolicyDocument"])}
    for name in ("Path", "Description"):
        if name in given:
            plain[name] = given[name]
    made = Made(ask(calls, "iam", "CreatePolicy", **plain)["Policy"]["Arn"])
    for role in given.get("Roles", ()):
        ask(calls, "iam", "AttachRolePolicy", RoleName=role, PolicyArn=made.physical)
    return made


def _remove_managed(calls: Calls, made: Made, given: Properties) -> None:
    for role in given.get("Roles", ()):
        ask(calls, "iam", "DetachRolePolicy", RoleName=role, PolicyArn=made.physical)
    ask(calls, "iam", "DeletePolicy", PolicyArn=made.physical)


MANAGED_POLICY = Kind(
    _make_managed,
    _remove_managed,
    frozenset(("ManagedPolicyName", "PolicyDocument", "Roles", "Path", "Description")),
    name="ManagedPolicyName",
    longest=128,
)
