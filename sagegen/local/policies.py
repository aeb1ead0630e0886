"""What a role may do: every call by a role is held against its own policies."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, unquote
from xml.sax.saxutils import escape

from botocore.exceptions import ClientError

from sagegen.local import rest
from sagegen.local.cloud import ACCOUNT, Cloud
from sagegen.local.grants import Grants
from sagegen.local.identities import ROLE, like, several
from sagegen.local.wire import Answer, Fault, not_emulated

if TYPE_CHECKING:
    from sagegen.local.front import Request

#: A resource of a service whose requests are not read here: the action alone is judged.
ANY = ""
S3_OBJECT = {
    "GET": "GetObject",
    "HEAD": "GetObject",
    "PUT": "PutObject",
    "POST": "PutObject",
    "DELETE": "DeleteObject",
}
S3_BUCKET = {"GET": "ListBucket", "HEAD": "ListBucket", "PUT": "CreateBucket", "DELETE": "DeleteBucket"}
#: Of a bucket's or an object's own settings, in the query of their URL.
S3_SETTINGS = ("acl", "cors", "encryption", "lifecycle", "location", "logging", "notification", "policy",
               "tagging", "versioning", "website")  # fmt: skip
#: {member of a request: the kind of resource}; what a call makes or changes comes first.
SAGEMAKER = {
    "HyperParameterTuningJobName": "hyper-parameter-tuning-job",
    "TrainingJobName": "training-job",
    "TransformJobName": "transform-job",
    "EndpointName": "endpoint",
    "EndpointConfigName": "endpoint-config",
    "ModelName": "model",
}
RUNTIME = {"async-invocations": "InvokeEndpointAsync", "invocations": "InvokeEndpoint",
           "invocations-response-stream": "InvokeEndpointWithResponseStream"}  # fmt: skip
ALLOWED = "allowed"
SIMULATE = "SimulatePrincipalPolicy"
#: What such a call may give: of the other members, each could change the verdict.
SIMULATED = {"Action", "Version", "PolicySourceArn", "ActionNames", "ResourceArns", "MaxItems"}
#: botocore's names of services, where IAM has others.
PREFIXES = {"monitoring": "cloudwatch", "stepfunctions": "states"}


@dataclass(frozen=True)
class Need:
    """What a call must be allowed: an action, the resource, and what conditions may ask."""

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)


class Policies:
    """The policies of the account's roles."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.grants = Grants()
        self._identities = False  # whether there can be a role

    def check(self, role: str, request: Request, operation: str) -> None:
        """Refuse a call that the role's policies do not allow."""
        for need in needs(self.cloud, request, operation):
            self.require(role, need)

    def require(self, role: str, need: Need) -> None:
        """Refuse what the role's policies do not allow."""
        if not self.allows(role, need):
            who = f"arn:aws:sts::{ACCOUNT}:assumed-role/{role.rpartition('/')[2]}/session"
            text = (
                f"User: {who} is not authorized to perform: {need.action} on resource: {need.resource or '*'}"
                f" because no identity-based policy allows the {need.action} action"
            )
            raise Fault("AccessDenied", text, 403)

    def allows(self, role: str, need: Need) -> bool:
        """Whether a statement allows a call and none denies it; the statements that do count as used."""
        decision, allowing = self._judge(role, need)
        for policy, statement in allowing if decision == ALLOWED else ():
            self.grants.note(_name(role), policy, statement, need.action, need.resource)
        return decision == ALLOWED

    def decision(self, role: str, need: Need) -> str:
        """What IAM calls it: a statement allows it, one denies it, or none speaks of it."""
        return self._judge(role, need)[0]

    def _judge(self, role: str, need: Need) -> tuple[str, list[tuple[str, dict[str, Any]]]]:
        """The decision, and (policy, statement) of what allows it."""
        allowing = []
        for policy, document in self._documents(role):
            for statement in several(document.get("Statement", [])):
                if _matches(statement, need):
                    if statement["Effect"] == "Deny":
                        return "explicitDeny", []
                    allowing.append((policy, statement))
        return (ALLOWED if allowing else "implicitDeny"), allowing

    def unused(self) -> list[dict[str, Any]]:
        """What roles were granted and never used, statement by statement."""
        if not self._identities:
            return []  # and moto's IAM need not be loaded
        pages = self.cloud.client("iam").get_paginator("list_roles").paginate()
        names = [role["RoleName"] for page in pages for role in page["Roles"]]
        return self.grants.report({name: list(self._documents(name)) for name in names})

    def route(self, request: Request) -> Answer | None:
        """Answer iam:SimulatePrincipalPolicy, which moto does not have and SDK v3 asks before each job."""
        if request.service != "iam" or request.method != "POST":
            return None
        self._identities = True
        form = dict(parse_qsl(request.reread().decode(errors="replace")))
        if form.get("Action") != SIMULATE:
            return None
        request.call.operation = SIMULATE
        if other := {name.partition(".")[0] for name in form} - SIMULATED:
            raise not_emulated(f"{SIMULATE} with {', '.join(sorted(other))}")
        role = form.get("PolicySourceArn", "")
        try:
            self.cloud.client("iam").get_role(RoleName=_name(role))
        except ClientError:
            raise Fault("NoSuchEntity", f"Role {role} does not exist or is not attachable.", 404) from None
        actions, resources = (
            [value for name, value in form.items() if name.startswith(f"{kind}.member.")]
            for kind in ("ActionNames", "ResourceArns")
        )
        found = [
            f"<member><EvalActionName>{escape(action)}</EvalActionName>"
            f"<EvalResourceName>{escape(resource)}</EvalResourceName>"
            f"<EvalDecision>{self.decision(role, Need(action, resource))}</EvalDecision></member>"
            for action in actions
            for resource in resources or ["*"]
        ]
        results = f"<EvaluationResults>{''.join(found)}</EvaluationResults><IsTruncated>false</IsTruncated>"
        text = f"<{SIMULATE}Response><{SIMULATE}Result>{results}</{SIMULATE}Result></{SIMULATE}Response>"
        return Answer(200, text.encode(), {"Content-Type": "text/xml"})

    def _documents(self, role: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """(name, document) of each policy: of one that is attached, its ARN is the name."""
        iam, name = self.cloud.client("iam"), _name(role)
        try:
            for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
                document = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
                self.grants.see(name, policy, document)
                yield policy, document
            for one in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
                arn = one["PolicyArn"]
                version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
                found = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]
                self.grants.see(name, arn, found["Document"])
                yield arn, found["Document"]
        except ClientError:
            return  # the role is gone, and allows nothing


def _name(role: str) -> str:
    """A role's name, also of its ARN."""
    named = ROLE.fullmatch(role)
    return named[2] if named else role


def _matches(statement: Mapping[str, Any], need: Need) -> bool:
    if "Action" in statement and not like(statement["Action"], need.action, fold=True):
        return False
    if "NotAction" in statement and like(statement["NotAction"], need.action, fold=True):
        return False
    if need.resource != ANY:
        if "Resource" in statement and not like(statement["Resource"], need.resource):
            return False
        if "NotResource" in statement and like(statement["NotResource"], need.resource):
            return False
    conditions = [
        (operator, key, wanted)
        for operator, pairs in statement.get("Condition", {}).items()
        for key, wanted in pairs.items()
    ]
    deny = statement["Effect"] == "Deny"
    return all(_holds(operator, need.context.get(key), wanted, deny) for operator, key, wanted in conditions)


def _holds(operator: str, value: str | None, wanted: Any, unknown: bool) -> bool:
    """Whether a condition holds; one that is not understood denies."""
    if operator in ("StringEquals", "ArnEquals", "StringLike", "ArnLike"):
        exact = operator == "StringEquals"
        return value is not None and (value in several(wanted) if exact else like(wanted, value))
    if operator in ("StringNotEquals", "StringNotLike", "ArnNotEquals", "ArnNotLike"):
        return value is None or not like(wanted, value)
    return unknown


def needs(cloud: Cloud, request: Request, operation: str) -> Iterator[Need]:
    """What a call must be allowed."""
    service = request.call.service
    if (service, operation) == ("sts", "GetCallerIdentity"):
        return  # everybody may ask who they are
    if service == "s3":
        yield from _s3(request)
    elif service == "sagemaker" and not operation:
        _, _, name, way = [*request.path.split("/"), "", "", ""][:4]
        yield Need(f"sagemaker:{RUNTIME.get(way, way)}", cloud.arn("endpoint", name.lower()))
    elif service == "sagemaker":
        yield from _sagemaker(cloud, operation, json.loads(request.reread() or b"{}"))
    elif service in ("ecr", "logs"):
        given = json.loads(request.reread() or b"{}")
        names = [given.get("repositoryName"), *given.get("repositoryNames", ()), given.get("logGroupName")]
        name = next((one for one in names if one), "*")
        kind = f"repository/{name}" if service == "ecr" else f"log-group:{name}"
        resource = f"arn:aws:{service}:{cloud.region}:{ACCOUNT}:{kind}"
        yield Need(f"{service}:{operation}", "*" if operation == "GetAuthorizationToken" else resource)
    elif service in ("codebuild", "stepfunctions"):
        yield from _named(cloud, service, operation, json.loads(request.reread() or b"{}"))
    elif service == "lambda":
        yield from _lambda(cloud, request)
    elif service == "apigateway":
        resource = f"arn:aws:apigateway:{cloud.region}::{request.path}"
        yield Need(f"apigateway:{request.method}", resource)
    elif service == "cloudformation":
        given = parse_qs(request.reread().decode(errors="replace"))
        name = given.get("StackName", ["*"])[0]
        arn = f"arn:aws:cloudformation:{cloud.region}:{ACCOUNT}:stack/{name}/*"
        yield Need(f"cloudformation:{operation}", name if name.startswith("arn:") else arn)
        for role in given.get("RoleARN", ()):
            yield Need("iam:PassRole", role, {"iam:PassedToService": "cloudformation.amazonaws.com"})
    else:
        yield Need(f"{PREFIXES.get(service, service)}:{operation or request.call.operation}", ANY)


def _named(cloud: Cloud, service: str, operation: str, given: Mapping[str, Any]) -> Iterator[Need]:
    """CodeBuild's and Step Functions' calls."""
    if service == "codebuild":
        names = [given.get("projectName"), given.get("name"), given.get("id"), *given.get("names", ()),
                 *given.get("ids", ())]  # fmt: skip
        name = next((one.split(":build/")[-1].split(":")[0] for one in names if one), "*")
        arn = f"arn:aws:codebuild:{cloud.region}:{ACCOUNT}:project/{name.rpartition('/')[2]}"
    else:
        arn = f"arn:aws:states:{cloud.region}:{ACCOUNT}:stateMachine:{given.get('name', '*')}"
        arn = given.get("executionArn") or given.get("stateMachineArn") or given.get("resourceArn") or arn
    prefix = PREFIXES.get(service, service)
    yield Need(f"{prefix}:{operation}", "*" if operation.startswith("List") else arn)
    for role in (given.get("serviceRole"), given.get("serviceRoleOverride"), given.get("roleArn")):
        if role:
            yield Need("iam:PassRole", role, {"iam:PassedToService": f"{prefix}.amazonaws.com"})


def _lambda(cloud: Cloud, request: Request) -> Iterator[Need]:
    operation, words = rest.operation("lambda", request.method, unquote(request.path))
    name = words.get("FunctionName") or words.get("Resource") or ""
    given: dict[str, Any] = {}
    if operation in ("CreateFunction", "UpdateFunctionConfiguration"):
        given = json.loads(request.reread() or b"{}")
        name = name or given.get("FunctionName", "")
    short = name.split(":function:")[-1].split(":")[0]
    arn = f"arn:aws:lambda:{cloud.region}:{ACCOUNT}:function:{short}" if short else "*"
    yield Need(f"lambda:{'InvokeFunction' if operation == 'Invoke' else operation}", arn)
    if role := given.get("Role"):
        yield Need("iam:PassRole", role, {"iam:PassedToService": "lambda.amazonaws.com"})


def _sagemaker(cloud: Cloud, operation: str, given: Mapping[str, Any]) -> Iterator[Need]:
    kinds = SAGEMAKER
    if operation in ("CreateModel", "CreateEndpointConfig"):
        kinds = {
            f"{operation.removeprefix('Create')}Name": SAGEMAKER[f"{operation.removeprefix('Create')}Name"]
        }
    name = next((one for one in kinds if isinstance(given.get(one), str)), None)
    resource = given.get("ResourceArn") or (cloud.arn(kinds[name], given[name].lower()) if name else "*")
    yield Need(f"sagemaker:{operation}", resource)
    if given.get("Tags") and operation.startswith("Create"):
        yield Need("sagemaker:AddTags", resource)
    definition = given.get("TrainingJobDefinition") or {}
    for role in (given.get("RoleArn"), given.get("ExecutionRoleArn"), definition.get("RoleArn")):
        if role:
            yield Need("iam:PassRole", role, {"iam:PassedToService": "sagemaker.amazonaws.com"})


def _s3(request: Request) -> Iterator[Need]:
    bucket, _, key = unquote(request.path).lstrip("/").partition("/")
    method, query = request.method, request.query
    verb = "Get" if method in ("GET", "HEAD") else "Put" if method in ("PUT", "POST") else "Delete"
    setting = next((one for one in S3_SETTINGS if one in query), None)
    if not bucket:
        yield Need("s3:ListAllMyBuckets", "*")
    elif not key and setting:
        yield Need(f"s3:{verb}Bucket{setting.title()}", f"arn:aws:s3:::{bucket}")
    elif not key and method == "POST" and "delete" in query:
        yield Need("s3:DeleteObject", f"arn:aws:s3:::{bucket}/*")
    elif not key:
        context = {"s3:prefix": query.get("prefix", "")}
        yield Need(f"s3:{S3_BUCKET.get(method, 'PutBucket')}", f"arn:aws:s3:::{bucket}", context)
    elif setting:
        yield Need(f"s3:{verb}Object{setting.title()}", f"arn:aws:s3:::{bucket}/{key}")
    else:
        yield Need(f"s3:{S3_OBJECT[method]}", f"arn:aws:s3:::{bucket}/{key}")
        if source := request.headers.get("x-amz-copy-source"):
            yield Need("s3:GetObject", f"arn:aws:s3:::{unquote(source).lstrip('/')}")
