"""What roles were granted and never used: each role's own statements, held against the calls that came."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sagegen.local.identities import like, several

#: Policies that AWS wrote grant more than anybody uses: they are not reported.
OF_AWS = "arn:aws:iam::aws:"
#: AWS asks for these where no call comes here: for images that are pulled or pushed, keys, networks, metrics.
UNJUDGED = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer",
            "ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:PutImage",
            "kms:*", "ec2:*", "xray:*", "cloudwatch:PutMetricData", "logs:*LogDeliver*"]  # fmt: skip
CHARACTERS = 400  # of the line at the end

Statement = Mapping[str, Any]
#: (policy, document) of one role.
Documents = Iterable[tuple[str, Mapping[str, Any]]]


@dataclass
class Used:
    """What calls needed of one statement: {pattern: actions}, and patterns of resources."""

    actions: dict[str, set[str]] = field(default_factory=dict)
    resources: set[str] = field(default_factory=set)


class Grants:
    """The statements that allowed a call."""

    def __init__(self) -> None:
        self._used: dict[tuple[str, str, str], Used] = {}
        self._seen: dict[str, dict[str, Mapping[str, Any]]] = {}
        self._lock = threading.Lock()

    def see(self, role: str, policy: str, document: Mapping[str, Any]) -> None:
        """Remember the policy of a role, which may be removed before the end."""
        with self._lock:
            self._seen.setdefault(role, {})[policy] = document

    def note(self, role: str, policy: str, statement: Statement, action: str, resource: str) -> None:
        """A statement has allowed a call; `resource` is empty where it was not judged."""
        with self._lock:
            used = self._used.setdefault((role, policy, _key(statement)), Used())
            for pattern in _patterns(statement, "Action"):
                if like(pattern, action, fold=True):
                    used.actions.setdefault(pattern, set()).add(action)
            used.resources |= {
                pattern
                for pattern in _patterns(statement, "Resource")
                if not resource or like(pattern, resource)
            }

    def report(self, roles: Mapping[str, Documents]) -> list[dict[str, Any]]:
        """Each statement of which a part was never used, also of roles that called and are gone."""
        with self._lock:
            gone = {role: list(kept.items()) for role, kept in self._seen.items() if role not in roles}
            return [
                one
                for role, documents in sorted({**roles, **gone}.items())
                for policy, document in documents
                if not policy.startswith(OF_AWS)
                for one in self._unused(role, policy, document)
            ]

    def _unused(self, role: str, policy: str, document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        for number, statement in enumerate(several(document.get("Statement", []))):
            if statement["Effect"] != "Allow":
                continue
            used = self._used.get((role, policy, _key(statement)), Used())
            actions = [
                pattern
                for pattern in _patterns(statement, "Action")
                if pattern not in used.actions and not like(UNJUDGED, pattern)
            ]
            resources = [one for one in _patterns(statement, "Resource") if one not in used.resources]
            wide = {
                pattern: sorted(found)
                for pattern, found in used.actions.items()
                if "*" in pattern or "?" in pattern
            }
            if actions or wide or (used.actions and resources):
                yield {
                    "role": role,
                    "policy": policy,
                    "statement": statement.get("Sid") or number,
                    "unused": actions,
                    "resources": resources if used.actions else [],
                    "wide": wide,
                }


def line(report: list[dict[str, Any]]) -> str:
    """The report for the end of a run; empty where every action was used."""
    actions: dict[str, list[str]] = {}
    for one in report:
        actions.setdefault(one["role"], []).extend(one["unused"])
    told = "; ".join(f"{role}: {', '.join(found)}" for role, found in actions.items() if found)
    if not told:
        return ""
    more = f"{told[:CHARACTERS]}… (--json tells all)" if len(told) > CHARACTERS else told
    return f"sagegen: granted and never used: {more}"


def _key(statement: Statement) -> str:
    return json.dumps(statement, sort_keys=True)


def _patterns(statement: Statement, name: str) -> list[str]:
    return [str(one) for one in several(statement.get(name, []))]
