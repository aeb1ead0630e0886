"""Roles: whether a service may take one."""

from __future__ import annotations

import re
from typing import Any

from botocore.exceptions import ClientError

from sagegen.local.cloud import Cloud
from sagegen.local.wire import invalid

ROLE = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):role/(?:.*/)?([^/]+)")


def assume(cloud: Cloud, role: str, service: str = "sagemaker.amazonaws.com") -> None:
    """Refuse a role that is not there, or whose trust policy does not name the service."""
    refusal = invalid(
        f"Could not assume role {role}. Please ensure that the role exists and allows principal"
        f" '{service}' to assume the role."
    )
    if not (named := ROLE.fullmatch(role)):
        raise refusal
    try:
        found = cloud.client("iam").get_role(RoleName=named[2])["Role"]
    except ClientError:
        raise refusal from None
    statements = several(found["AssumeRolePolicyDocument"].get("Statement", []))
    if found["Arn"] != role or not any(_trusts(one, service) for one in statements):
        raise refusal


def _trusts(statement: dict[str, Any], service: str) -> bool:
    principal = statement.get("Principal", {})
    named = several(principal.get("Service", [])) if isinstance(principal, dict) else []
    return statement.get("Effect") == "Allow" and service in named


def several(value: Any) -> list[Any]:
    """A list, also where a policy has one value alone."""
    return value if isinstance(value, list) else [value]


def like(patterns: Any, value: str, *, fold: bool = False) -> bool:
    """Whether one of IAM's patterns, with * and ?, matches all of a value."""
    for pattern in several(patterns):
        rule = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
        if re.fullmatch(rule, value, re.DOTALL | (re.IGNORECASE if fold else 0)):
            return True
    return False
