"""The types of resources that stacks have: each is made, changed and removed by its own service's calls."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import botocore
from botocore.exceptions import ClientError

from sagegen.local.cloud import ACCOUNT
from sagegen.local.wire import Fault, not_emulated

Properties = dict[str, Any]
BOOLEANS = {"true": True, "false": False}
ENDPOINT_PAUSE = 0.5


class Unfit(ValueError):
    """A member that a call does not have."""


@dataclass
class Made:
    """A resource as it is: what Ref gives, and what Fn::GetAtt gives."""

    physical: str
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Calls:
    """The services as the stack's caller may use them, and where it is."""

    client: Callable[[str], Any]
    region: str
    pause: Callable[[float], bool]

    def arn(self, service: str, resource: str) -> str:
        """An ARN in this account."""
        return f"arn:aws:{service}:{self.region}:{ACCOUNT}:{resource}"


@dataclass(frozen=True)
class Kind:
    """One type. `change` is None where every change replaces the resource."""

    make: Callable[[Calls, Properties], Made]
    remove: Callable[[Calls, Made, Properties], Any]
    properties: frozenset[str]
    change: Callable[[Calls, Made, Properties, Properties], Made] | None = None
    #: Changes of these replace it.
    fixed: frozenset[str] = frozenset()
    #: The property that names it, where a template may leave it out, and how long a name may be.
    name: str = ""
    #: What is still to be done once it is there: a failure then removes it.
    settle: Callable[[Calls, Made, Properties, Properties], Any] | None = None
    longest: int = 63
    lower: bool = False


def invented(kind: Kind, stack: str, logical: str, generation: int) -> str:
    """The name of a resource that the template does not name; the same in every run."""
    mark = hashlib.sha256(f"{stack}/{logical}/{generation}".encode()).hexdigest()[:12].upper()
    name = f"{stack}-{logical}"[: kind.longest - len(mark) - 1] + f"-{mark}"
    return name.lower() if kind.lower else name


def fitted(shape: Any, value: Any, where: str) -> Any:
    """A value of a template as a call takes it: names in any case, and text for numbers and booleans.

    Raises Unfit where the call has no such member.
    """
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        names = {name.lower(): name for name in shape.members}
        found = {}
        for key, part in value.items():
            if key.lower() not in names:
                raise Unfit(f"{where}.{key}")
            name = names[key.lower()]
            found[name] = fitted(shape.members[name], part, f"{where}.{key}")
        return found
    if kind == "list" and isinstance(value, list):
        return [fitted(shape.member, one, where) for one in value]
    if kind == "map" and isinstance(value, dict):
        return {key: fitted(shape.value, one, f"{where}.{key}") for key, one in value.items()}
    if kind in ("integer", "long") and isinstance(value, str):
        with suppress(ValueError):
            return int(value)
    if kind in ("float", "double") and isinstance(value, str):
        with suppress(ValueError):
            return float(value)
    if kind == "boolean" and isinstance(value, str):
        return BOOLEANS.get(value.lower(), value)
    if kind == "string" and isinstance(value, bool):
        return str(value).lower()
    if kind == "string" and isinstance(value, int | float):
        return str(value)
    return value


def ask(calls: Calls, service: str, operation: str, **given: Any) -> dict[str, Any]:
    """One call, its arguments fitted to it."""
    client = calls.client(service)
    shape = client.meta.service_model.operation_model(operation).input_shape
    answer = getattr(client, botocore.xform_name(operation))(**fitted(shape, given, operation))
    answer.pop("ResponseMetadata", None)
    return answer  # type: ignore[no-any-return]


def remover(service: str, operation: str, member: str) -> Callable[[Calls, Made, Properties], Any]:
    """A removal by one call that has one argument."""
    return lambda calls, made, given: ask(calls, service, operation, **{member: made.physical})


def _dict(tags: list[dict[str, str]] | None) -> dict[str, str]:
    return {tag["Key"]: str(tag["Value"]) for tag in tags or ()}


def _without(given: Properties, *names: str) -> Properties:
    return {name: value for name, value in given.items() if name not in names}


def _text(document: Any) -> str:
    return document if isinstance(document, str) else json.dumps(document)


# --- S3 ----------------------------------------------------------------------------------------------------


def _make_bucket(calls: Calls, given: Properties) -> Made:
    name = given["BucketName"]
    place = {} if calls.region == "us-east-1" else {"LocationConstraint": calls.region}
    if not place:
        # us-east-1 alone answers success for a bucket that the caller has.
        with suppress(ClientError):
            ask(calls, "s3", "HeadBucket", Bucket=name)
            raise Fault("AlreadyExists", f"{name} already exists")
    ask(calls, "s3", "CreateBucket", Bucket=name, **({"CreateBucketConfiguration": place} if place else {}))
    host = f"{name}.s3.amazonaws.com"
    return Made(
        name,
        {
            "Arn": f"arn:aws:s3:::{name}",
            "DomainName": host,
            "RegionalDomainName": host.replace(".s3.", f".s3.{calls.region}."),
        },
    )


def _change_bucket(calls: Calls, made: Made, old: Properties, given: Properties) -> Made:
    bucket = made.physical
    if access := given.get("PublicAccessBlockConfiguration"):
        ask(calls, "s3", "PutPublicAccessBlock", Bucket=bucket, PublicAccessBlockConfiguration=access)
    if encryption := given.get("BucketEncryption"):
        rules = [
            {
                "ApplyServerSideEncryptionByDefault": rule["ServerSideEncryptionByDefault"],
                **_without(rule, "ServerSideEncryptionByDefault"),
            }
            for rule in encryption["ServerSideEncryptionConfiguration"]
        ]
        ask(
            calls,
            "s3",
            "PutBucketEncryption",
            Bucket=bucket,
            ServerSideEncryptionConfiguration={"Rules": rules},
        )
    if versioning := given.get("VersioningConfiguration"):
        ask(calls, "s3", "PutBucketVersioning", Bucket=bucket, VersioningConfiguration=versioning)
    if ownership := given.get("OwnershipControls"):
        ask(calls, "s3", "PutBucketOwnershipControls", Bucket=bucket, OwnershipControls=ownership)
    if lifecycle := given.get("LifecycleConfiguration"):
        rules = [_expiry(rule) for rule in lifecycle["Rules"]]
        configuration = {"Rules": rules}
        ask(
            calls,
            "s3",
            "PutBucketLifecycleConfiguration",
            Bucket=bucket,
            LifecycleConfiguration=configuration,
        )
    if notification := given.get("NotificationConfiguration"):
        if set(notification) - {"EventBridgeConfiguration"}:
            raise not_emulated("notifications of a bucket other than EventBridgeConfiguration")
        ask(
            calls,
            "s3",
            "PutBucketNotificationConfiguration",
            Bucket=bucket,
            NotificationConfiguration={"EventBridgeConfiguration": {}},
        )
    if tags := given.get("Tags"):
        ask(calls, "s3", "PutBucketTagging", Bucket=bucket, Tagging={"TagSet": tags})
    return made


def _expiry(rule: Properties) -> Properties:
    """A rule of a template as the API has it."""
    found = _without(rule, "Id", "Prefix", "ExpirationInDays", "NoncurrentVersionExpirationInDays")
    found["Filter"] = {"Prefix": rule.get("Prefix", "")}
    if "Id" in rule:
        found["ID"] = rule["Id"]
    if days := rule.get("ExpirationInDays"):
        found["Expiration"] = {"Days": days}
    if days := rule.get("NoncurrentVersionExpirationInDays"):
        found["NoncurrentVersionExpiration"] = {"NoncurrentDays": days}
    return found


BUCKET = Kind(
    _make_bucket,
    remover("s3", "DeleteBucket", "Bucket"),
    frozenset(("BucketName", "PublicAccessBlockConfiguration", "BucketEncryption", "VersioningConfiguration",
               "OwnershipControls", "LifecycleConfiguration", "NotificationConfiguration", "Tags")),
    _change_bucket,
    frozenset(("BucketName",)),
    "BucketName",
    _change_bucket,
    lower=True,
)  # fmt: skip


def _bucket_policy(calls: Calls, given: Properties) -> Made:
    ask(calls, "s3", "PutBucketPolicy", Bucket=given["Bucket"], Policy=_text(given["PolicyDocument"]))
    return Made(given["Bucket"])


BUCKET_POLICY = Kind(
    _bucket_policy,
    remover("s3", "DeleteBucketPolicy", "Bucket"),
    frozenset(("Bucket", "PolicyDocument")),
    lambda calls, made, old, given: _bucket_policy(calls, given),
    frozenset(("Bucket",)),
)


# --- ECR ---------------------------------------------------------------------------------------------------


def _make_repository(calls: Calls, given: Properties) -> Made:
    plain = _without(given, "LifecyclePolicy", "RepositoryPolicyText", "EmptyOnDelete")
    found = ask(calls, "ecr", "CreateRepository", **plain)["repository"]
    return Made(
        found["repositoryName"], {"Arn": found["repositoryArn"], "RepositoryUri": found["repositoryUri"]}
    )


def _change_repository(calls: Calls, made: Made, old: Properties, given: Properties) -> Made:
    name = made.physical
    if old:
        if (kind := given.get("ImageTagMutability", "MUTABLE")) != old.get("ImageTagMutability", "MUTABLE"):
            ask(calls, "ecr", "PutImageTagMutability", repositoryName=name, imageTagMutability=kind)
        if scan := given.get("ImageScanningConfiguration"):
            ask(
                calls,
                "ecr",
                "PutImageScanningConfiguration",
                repositoryName=name,
                imageScanningConfiguration=scan,
            )
    if policy := given.get("LifecyclePolicy"):
        text = policy["LifecyclePolicyText"]
        ask(calls, "ecr", "PutLifecyclePolicy", repositoryName=name, lifecyclePolicyText=text)
    elif "LifecyclePolicy" in old:
        ask(calls, "ecr", "DeleteLifecyclePolicy", repositoryName=name)
    if text := given.get("RepositoryPolicyText"):
        ask(calls, "ecr", "SetRepositoryPolicy", repositoryName=name, policyText=_text(text))
    elif "RepositoryPolicyText" in old:
        ask(calls, "ecr", "DeleteRepositoryPolicy", repositoryName=name)
    return made


def _remove_repository(calls: Calls, made: Made, given: Properties) -> None:
    force = str(given.get("EmptyOnDelete", "false")).lower() == "true"
    ask(calls, "ecr", "DeleteRepository", repositoryName=made.physical, force=force)


REPOSITORY = Kind(
    _make_repository,
    _remove_repository,
    frozenset(("RepositoryName", "ImageScanningConfiguration", "ImageTagMutability", "LifecyclePolicy",
               "RepositoryPolicyText", "EmptyOnDelete", "EncryptionConfiguration", "Tags")),
    _change_repository,
    frozenset(("RepositoryName", "EncryptionConfiguration")),
    "RepositoryName",
    _change_repository,
    256,
    lower=True,
)  # fmt: skip


# --- IAM ---------------------------------------------------------------------------------------------------


def _make_role(calls: Calls, given: Properties) -> Made:
    plain = _without(given, "Policies", "ManagedPolicyArns", "AssumeRolePolicyDocument")
    trust = _text(given["AssumeRolePolicyDocument"])
    found = ask(calls, "iam", "CreateRole", AssumeRolePolicyDocument=trust, **plain)["Role"]
    return Made(found["RoleName"], {"Arn": found["Arn"], "RoleId": found["RoleId"]})


def _change_role(calls: Calls, made: Made, old: Properties, given: Properties) -> Made:
    role = made.physical
    if old and old["AssumeRolePolicyDocument"] != given["AssumeRolePolicyDocument"]:
        text = _text(given["AssumeRolePolicyDocument"])
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
        ask(calls, "iam", "PutRolePolicy", RoleName=role, PolicyName=name, PolicyDocument=_text(document))
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
        text = _text(given["PolicyDocument"])
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
    plain = {"PolicyName": given["ManagedPolicyName"], "PolicyDocument": _text(given["PolicyDocument"])}
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


# --- SageMaker ---------------------------------------------------------------------------------------------


def _sagemaker(
    word: str,
) -> tuple[Callable[[Calls, Properties], Made], Callable[[Calls, Made, Properties], None]]:
    name = f"{word}Name"

    def make(calls: Calls, given: Properties) -> Made:
        answer = ask(calls, "sagemaker", f"Create{word}", **given)
        return Made(answer[f"{word}Arn"], {name: given[name]})

    def remove(calls: Calls, made: Made, given: Properties) -> None:
        ask(calls, "sagemaker", f"Delete{word}", **{name: made.attributes[name]})

    return make, remove


def _settled(calls: Calls, name: str) -> dict[str, Any]:
    """An endpoint that does not change any more."""
    sagemaker = calls.client("sagemaker")
    while (found := sagemaker.describe_endpoint(EndpointName=name))["EndpointStatus"] in (
        "Creating",
        "Updating",
        "SystemUpdating",
        "RollingBack",
        "Deleting",
    ):
        if calls.pause(ENDPOINT_PAUSE):
            raise Fault("Interrupted", "the emulator was ended")
    return found  # type: ignore[no-any-return]


def _await_endpoint(calls: Calls, made: Made, old: Properties, given: Properties) -> None:
    name = made.attributes["EndpointName"]
    if (found := _settled(calls, name))["EndpointStatus"] != "InService":
        text = f"Endpoint {name} is {found['EndpointStatus']}: {found.get('FailureReason')}"
        raise Fault("NotStabilized", text)


def _change_endpoint(calls: Calls, made: Made, old: Properties, given: Properties) -> Made:
    name, wanted = made.attributes["EndpointName"], given["EndpointConfigName"].rpartition("/")[2]
    ask(calls, "sagemaker", "UpdateEndpoint", **_without({**given, "EndpointName": name}, "Tags"))
    found = _settled(calls, name)
    if found["EndpointStatus"] != "InService" or found["EndpointConfigName"].lower() != wanted.lower():
        raise Fault("NotStabilized", f"Endpoint {name} was not updated: {found.get('FailureReason')}")
    return made


def _remove_endpoint(calls: Calls, made: Made, given: Properties) -> None:
    name = made.attributes["EndpointName"]
    _settled(calls, name)
    _ENDPOINT[1](calls, made, given)
    with suppress(ClientError):
        _settled(calls, name)


_ENDPOINT = _sagemaker("Endpoint")
MODEL = Kind(
    *_sagemaker("Model"),
    frozenset(("ModelName", "ExecutionRoleArn", "PrimaryContainer", "Containers", "EnableNetworkIsolation",
               "InferenceExecutionConfig", "VpcConfig", "Tags")),
    name="ModelName",
)  # fmt: skip
ENDPOINT_CONFIG = Kind(
    *_sagemaker("EndpointConfig"),
    frozenset(("EndpointConfigName", "ProductionVariants", "AsyncInferenceConfig", "DataCaptureConfig",
               "ExplainerConfig", "ShadowProductionVariants", "KmsKeyId", "Tags")),
    name="EndpointConfigName",
)  # fmt: skip
ENDPOINT = Kind(
    _ENDPOINT[0],
    _remove_endpoint,
    frozenset(("EndpointName", "EndpointConfigName", "DeploymentConfig", "RetainAllVariantProperties",
               "ExcludeRetainedVariantProperties", "RetainDeploymentConfig", "Tags")),
    _change_endpoint,
    frozenset(("EndpointName", "Tags")),
    "EndpointName",
    _await_endpoint,
)  # fmt: skip


# --- CodeBuild, Step Functions, Lambda ---------------------------------------------------------------------


def _make_project(calls: Calls, given: Properties) -> Made:
    found = ask(calls, "codebuild", "CreateProject", **given)["project"]
    return Made(found["name"], {"Arn": found["arn"]})


def _change_project(calls: Calls, made: Made, old: Properties, given: Properties) -> Made:
    ask(calls, "codebuild", "UpdateProject", **given)
    return made


PROJECT = Kind(
    _make_project,
    remover("codebuild", "DeleteProject", "name"),
    frozenset(("Name", "Description", "ServiceRole", "Source", "Artifacts", "Environment", "TimeoutInMinutes",
               "QueuedTimeoutInMinutes", "EncryptionKey", "LogsConfig", "Cache", "Tags")),
    _change_project,
    frozenset(("Name",)),
    "Name",
    longest=255,
)  # fmt: skip


def _machine(given: Properties) -> Properties:
    if "DefinitionString" in given:
        text = given["DefinitionString"]
    elif "Definition" in given:
        text = json.dumps(given["Definition"])
    else:
        raise not_emulated("a state machine without Definition or DefinitionString (DefinitionS3Location)")
    for key, value in given.get("DefinitionSubstitutions", {}).items():
        text = text.replace(f"${{{key}}}", str(value))
    return {"definition": text, "roleArn": given["RoleArn"]}


def _make_machine(calls: Calls, given: Properties) -> Made:
    more = {"name": given["StateMachineName"], "type": given.get("StateMachineType", "STANDARD")}
    more |= {
        name: given[name]
        for name in ("LoggingConfiguration", "TracingConfiguration", "Tags")
        if name in given
    }
    arn = ask(calls, "stepfunctions", "CreateStateMachine", **_machine(given), **more)["stateMachineArn"]
    return Made(arn, {"Arn": arn, "Name": given["StateMachineName"]})


def _change_machine(calls: Calls, made: Made, old: Properties, given: Properties) -> Made:
    ask(calls, "stepfunctions", "UpdateStateMachine", stateMachineArn=made.physical, **_machine(given))
    return made


MACHINE = Kind(
    _make_machine,
    remover("stepfunctions", "DeleteStateMachine", "stateMachineArn"),
    frozenset(("StateMachineName", "StateMachineType", "DefinitionString", "Definition", "RoleArn",
               "DefinitionSubstitutions", "LoggingConfiguration", "TracingConfiguration", "Tags")),
    _change_machine,
    frozenset(("StateMachineName", "StateMachineType", "LoggingConfiguration", "TracingConfiguration",
               "Tags")),
    "StateMachineName",
    longest=80,
)  # fmt: skip


def _code(given: Properties) -> Properties:
    code = given["Code"]
    if "ZipFile" not in code:
        return dict(code)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        entry = zipfile.ZipInfo("index.py")
        entry.external_attr = 0o644 << 16
        archive.writestr(entry, code["ZipFile"])
    return {"ZipFile": out.getvalue()}


def _make_function(calls: Calls, given: Properties) -> Made:
    plain = _without(given, "Code", "Tags", "ReservedConcurrentExecutions")
    tags = {"Tags": _dict(given["Tags"])} if given.get("Tags") else {}
    found = ask(calls, "lambda", "CreateFunction", Code=_code(given), **plain, **tags)
    return Made(found["FunctionName"], {"Arn": found["FunctionArn"]})


def _reserve(calls: Calls, made: Made, old: Properties, given: Properties) -> Made:
    if (most := given.get("ReservedConcurrentExecutions")) is not None:
        ask(
            calls,
            "lambda",
            "PutFunctionConcurrency",
            FunctionName=made.physical,
            ReservedConcurrentExecutions=most,
        )
    return made


def _change_function(calls: Calls, made: Made, old: Properties, given: Properties) -> Made:
    if old["Code"] != given["Code"]:
        ask(calls, "lambda", "UpdateFunctionCode", FunctionName=made.physical, **_code(given))
    plain = _without(
        given, "Code", "FunctionName", "Tags", "ReservedConcurrentExecutions", "Architectures", "PackageType"
    )
    plain.setdefault("Environment", {"Variables": {}})
    ask(calls, "lambda", "UpdateFunctionConfiguration", FunctionName=made.physical, **plain)
    return _reserve(calls, made, old, given)


FUNCTION = Kind(
    _make_function,
    remover("lambda", "DeleteFunction", "FunctionName"),
    frozenset(("FunctionName", "Runtime", "Handler", "Role", "Code", "Timeout", "MemorySize", "Environment",
               "Description", "Architectures", "PackageType", "ReservedConcurrentExecutions", "Tags",
               "TracingConfig", "EphemeralStorage", "LoggingConfig")),
    _change_function,
    frozenset(("FunctionName", "PackageType", "Architectures", "Tags")),
    "FunctionName",
    _reserve,
    64,
)  # fmt: skip


def _make_permission(calls: Calls, given: Properties) -> Made:
    mark = hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()[:16]
    ask(calls, "lambda", "AddPermission", StatementId=mark, **given)
    return Made(mark)


PERMISSION = Kind(
    _make_permission,
    lambda calls, made, given: ask(
        calls, "lambda", "RemovePermission", FunctionName=given["FunctionName"], StatementId=made.physical
    ),
    frozenset(("FunctionName", "Action", "Principal", "SourceArn", "SourceAccount")),
)


# --- API Gateway -------------------------------------------------------------------------------------------


def _make_api(calls: Calls, given: Properties) -> Made:
    tags = {"tags": _dict(given["Tags"])} if given.get("Tags") else {}
    plain = {name[0].lower() + name[1:]: value for name, value in _without(given, "Tags").items()}
    found = ask(calls, "apigateway", "CreateRestApi", **plain, **tags)
    return Made(found["id"], {"RootResourceId": found["rootResourceId"], "RestApiId": found["id"]})


API = Kind(
    _make_api,
    remover("apigateway", "DeleteRestApi", "restApiId"),
    frozenset(("Name", "Description", "EndpointConfiguration", "BinaryMediaTypes", "Tags")),
    name="Name",
    longest=255,
)  # fmt: skip


def _make_path(calls: Calls, given: Properties) -> Made:
    found = ask(
        calls,
        "apigateway",
        "CreateResource",
        restApiId=given["RestApiId"],
        parentId=given["ParentId"],
        pathPart=given["PathPart"],
    )
    return Made(found["id"], {"ResourceId": found["id"]})


PATH = Kind(
    _make_path,
    lambda calls, made, given: ask(
        calls, "apigateway", "DeleteResource", restApiId=given["RestApiId"], resourceId=made.physical
    ),
    frozenset(("RestApiId", "ParentId", "PathPart")),
)


def _make_method(calls: Calls, given: Properties) -> Made:
    where = {name[0].lower() + name[1:]: given[name] for name in ("RestApiId", "ResourceId", "HttpMethod")}
    more = {"authorizationType": given.get("AuthorizationType", "NONE")}
    for name in ("ApiKeyRequired", "RequestParameters", "OperationName"):
        if name in given:
            more[name] = given[name]
    ask(calls, "apigateway", "PutMethod", **where, **more)
    if integration := given.get("Integration"):
        if integration.get("Type") not in ("AWS_PROXY", "MOCK"):
            raise not_emulated(f"integrations of type {integration.get('Type')}")
        verb = (
            {"integrationHttpMethod": integration["IntegrationHttpMethod"]}
            if ("IntegrationHttpMethod" in integration)
            else {}
        )
        plain = _without(integration, "IntegrationHttpMethod")
        ask(calls, "apigateway", "PutIntegration", **where, **verb, **plain)
    return Made(f"{given['RestApiId']}|{given['ResourceId']}|{given['HttpMethod']}")


def _remove_method(calls: Calls, made: Made, given: Properties) -> None:
    api, path, verb = made.physical.split("|")
    ask(calls, "apigateway", "DeleteMethod", restApiId=api, resourceId=path, httpMethod=verb)


def _change_method(calls: Calls, made: Made, old: Properties, given: Properties) -> Made:
    _remove_method(calls, made, old)
    return _make_method(calls, given)


METHOD = Kind(
    _make_method,
    _remove_method,
    frozenset(("RestApiId", "ResourceId", "HttpMethod", "AuthorizationType", "ApiKeyRequired", "Integration",
               "RequestParameters", "OperationName")),
    _change_method,
    frozenset(("RestApiId", "ResourceId", "HttpMethod")),
)  # fmt: skip


def _make_deployment(calls: Calls, given: Properties) -> Made:
    plain = {name[0].lower() + name[1:]: value for name, value in given.items()}
    identity = ask(calls, "apigateway", "CreateDeployment", **plain)["id"]
    return Made(identity, {"DeploymentId": identity})


def _remove_deployment(calls: Calls, made: Made, given: Properties) -> None:
    where = {"restApiId": given["RestApiId"]}
    if stage := given.get("StageName"):
        if ask(calls, "apigateway", "GetStage", **where, stageName=stage)["deploymentId"] != made.physical:
            return  # it is its successor's; moto would not remove the deployment that made it
        ask(calls, "apigateway", "DeleteStage", **where, stageName=stage)
    ask(calls, "apigateway", "DeleteDeployment", **where, deploymentId=made.physical)


DEPLOYMENT = Kind(_make_deployment, _remove_deployment, frozenset(("RestApiId", "StageName", "Description")))


def _make_stage(calls: Calls, given: Properties) -> Made:
    tags = {"tags": _dict(given["Tags"])} if given.get("Tags") else {}
    plain = {name[0].lower() + name[1:]: value for name, value in _without(given, "Tags").items()}
    ask(calls, "apigateway", "CreateStage", **plain, **tags)
    return Made(given["StageName"])


def _change_stage(calls: Calls, made: Made, old: Properties, given: Properties) -> Made:
    _move_stage(calls, given["RestApiId"], made.physical, given["DeploymentId"])
    return made


def _move_stage(calls: Calls, api: str, stage: str, deployment: str) -> None:
    patch = [{"op": "replace", "path": "/deploymentId", "value": deployment}]
    ask(calls, "apigateway", "UpdateStage", restApiId=api, stageName=stage, patchOperations=patch)


STAGE = Kind(
    _make_stage,
    lambda calls, made, given: ask(
        calls, "apigateway", "DeleteStage", restApiId=given["RestApiId"], stageName=made.physical
    ),
    frozenset(
        ("RestApiId", "DeploymentId", "StageName", "Description", "Variables", "TracingEnabled", "Tags")
    ),
    _change_stage,
    frozenset(("RestApiId", "StageName", "Description", "Variables", "TracingEnabled", "Tags")),
)


# --- the rest ----------------------------------------------------------------------------------------------


def _make_target(calls: Calls, given: Properties) -> Made:
    ask(calls, "application-autoscaling", "RegisterScalableTarget", **given)
    key = f"{given['ResourceId']}|{given['ScalableDimension']}|{given['ServiceNamespace']}"
    return Made(key)


def _remove_target(calls: Calls, made: Made, given: Properties) -> None:
    resource, dimension, space = made.physical.split("|")
    ask(
        calls,
        "application-autoscaling",
        "DeregisterScalableTarget",
        ServiceNamespace=space,
        ResourceId=resource,
        ScalableDimension=dimension,
    )


SCALABLE_TARGET = Kind(
    _make_target,
    _remove_target,
    frozenset(
        ("ServiceNamespace", "ResourceId", "ScalableDimension", "MinCapacity", "MaxCapacity", "RoleARN")
    ),
    lambda calls, made, old, given: _make_target(calls, given),
    frozenset(("ServiceNamespace", "ResourceId", "ScalableDimension")),
)


def _make_scaling(calls: Calls, given: Properties) -> Made:
    plain = _without(given, "ScalingTargetId")
    if target := given.get("ScalingTargetId"):
        resource, dimension, space = target.split("|")
        plain |= {"ResourceId": resource, "ScalableDimension": dimension, "ServiceNamespace": space}
    arn = ask(calls, "application-autoscaling", "PutScalingPolicy", **plain)["PolicyARN"]
    return Made(
        arn,
        {
            "PolicyName": given["PolicyName"],
            "Arn": arn,
            **{name: plain[name] for name in ("ResourceId", "ScalableDimension", "ServiceNamespace")},
        },
    )


def _remove_scaling(calls: Calls, made: Made, given: Properties) -> None:
    ask(calls, "application-autoscaling", "DeleteScalingPolicy", **_without(made.attributes, "Arn"))


SCALING_POLICY = Kind(
    _make_scaling,
    _remove_scaling,
    frozenset(("PolicyName", "PolicyType", "ScalingTargetId", "ResourceId", "ScalableDimension",
               "ServiceNamespace", "TargetTrackingScalingPolicyConfiguration")),
    lambda calls, made, old, given: _make_scaling(calls, given),
    frozenset(("PolicyName", "ScalingTargetId", "ResourceId", "ScalableDimension", "ServiceNamespace")),
)  # fmt: skip


def _make_topic(calls: Calls, given: Properties) -> Made:
    settings = {name: given[name] for name in ("DisplayName", "KmsMasterKeyId") if name in given}
    tags = {"Tags": given["Tags"]} if given.get("Tags") else {}
    arn = ask(calls, "sns", "CreateTopic", Name=given["TopicName"], Attributes=settings, **tags)["TopicArn"]
    for one in given.get("Subscription", ()):
        ask(calls, "sns", "Subscribe", TopicArn=arn, **one)
    return Made(arn, {"TopicName": given["TopicName"], "TopicArn": arn})


TOPIC = Kind(
    _make_topic,
    remover("sns", "DeleteTopic", "TopicArn"),
    frozenset(("TopicName", "DisplayName", "KmsMasterKeyId", "Subscription", "Tags")),
    name="TopicName",
    longest=256,
)


def _make_subscription(calls: Calls, given: Properties) -> Made:
    found = ask(calls, "sns", "Subscribe", ReturnSubscriptionArn=True, **given)
    return Made(found["SubscriptionArn"])


SUBSCRIPTION = Kind(
    _make_subscription,
    remover("sns", "Unsubscribe", "SubscriptionArn"),
    frozenset(("TopicArn", "Protocol", "Endpoint")),
)


def _make_queue(calls: Calls, given: Properties) -> Made:
    settings = {name: _text(value) for name, value in _without(given, "QueueName", "Tags").items()}
    tags = {"tags": _dict(given["Tags"])} if given.get("Tags") else {}
    url = ask(calls, "sqs", "CreateQueue", QueueName=given["QueueName"], Attributes=settings, **tags)[
        "QueueUrl"
    ]
    return Made(
        url, {"Arn": calls.arn("sqs", given["QueueName"]), "QueueName": given["QueueName"], "QueueUrl": url}
    )


QUEUE = Kind(
    _make_queue,
    remover("sqs", "DeleteQueue", "QueueUrl"),
    frozenset(("QueueName", "VisibilityTimeout", "MessageRetentionPeriod", "DelaySeconds", "FifoQueue",
               "ReceiveMessageWaitTimeSeconds", "MaximumMessageSize", "Tags")),
    name="QueueName",
    longest=80,
)  # fmt: skip


def _make_log_group(calls: Calls, given: Properties) -> Made:
    name = given["LogGroupName"]
    tags = {"tags": _dict(given["Tags"])} if given.get("Tags") else {}
    ask(calls, "logs", "CreateLogGroup", logGroupName=name, **tags)
    return Made(name, {"Arn": calls.arn("logs", f"log-group:{name}:*")})


def _change_log_group(calls: Calls, made: Made, old: Properties, given: Properties) -> Made:
    if days := given.get("RetentionInDays"):
        ask(calls, "logs", "PutRetentionPolicy", logGroupName=made.physical, retentionInDays=days)
    elif "RetentionInDays" in old:
        ask(calls, "logs", "DeleteRetentionPolicy", logGroupName=made.physical)
    return made


LOG_GROUP = Kind(
    _make_log_group,
    remover("logs", "DeleteLogGroup", "logGroupName"),
    frozenset(("LogGroupName", "RetentionInDays", "Tags")),
    _change_log_group,
    frozenset(("LogGroupName", "Tags")),
    "LogGroupName",
    _change_log_group,
    512,
)


def _make_rule(calls: Calls, given: Properties) -> Made:
    plain = _without(given, "Targets", "EventPattern")
    if pattern := given.get("EventPattern"):
        plain["EventPattern"] = _text(pattern)
    arn = ask(calls, "events", "PutRule", **plain)["RuleArn"]
    if targets := given.get("Targets"):
        answer = ask(calls, "events", "PutTargets", Rule=given["Name"], Targets=targets)
        if answer.get("FailedEntryCount"):
            raise Fault("InternalFailure", f"targets were refused: {answer['FailedEntries']}")
    return Made(given["Name"], {"Arn": arn})


def _remove_rule(calls: Calls, made: Made, given: Properties) -> None:
    if targets := given.get("Targets"):
        ask(calls, "events", "RemoveTargets", Rule=made.physical, Ids=[one["Id"] for one in targets])
    ask(calls, "events", "DeleteRule", Name=made.physical)


def _change_rule(calls: Calls, made: Made, old: Properties, given: Properties) -> Made:
    _remove_rule(calls, made, old)
    return _make_rule(calls, given)


RULE = Kind(
    _make_rule,
    _remove_rule,
    frozenset(("Name", "Description", "EventPattern", "ScheduleExpression", "State", "Targets")),
    _change_rule,
    frozenset(("Name",)),
    "Name",
    longest=64,
)


def _make_alarm(calls: Calls, given: Properties) -> Made:
    ask(calls, "cloudwatch", "PutMetricAlarm", **given)
    return Made(given["AlarmName"], {"Arn": calls.arn("cloudwatch", f"alarm:{given['AlarmName']}")})


ALARM = Kind(
    _make_alarm,
    lambda calls, made, given: ask(calls, "cloudwatch", "DeleteAlarms", AlarmNames=[made.physical]),
    frozenset(("AlarmName", "AlarmDescription", "MetricName", "Namespace", "Statistic", "ExtendedStatistic",
               "Dimensions", "Period", "EvaluationPeriods", "DatapointsToAlarm", "Threshold", "Unit",
               "ComparisonOperator", "TreatMissingData", "AlarmActions", "OKActions", "ActionsEnabled",
               "InsufficientDataActions", "Metrics", "Tags")),
    lambda calls, made, old, given: _make_alarm(calls, given),
    frozenset(("AlarmName", "Tags")),
    "AlarmName",
    longest=255,
)  # fmt: skip


KINDS = {
    "AWS::S3::Bucket": BUCKET,
    "AWS::S3::BucketPolicy": BUCKET_POLICY,
    "AWS::ECR::Repository": REPOSITORY,
    "AWS::IAM::Role": ROLE,
    "AWS::IAM::Policy": POLICY,
    "AWS::IAM::ManagedPolicy": MANAGED_POLICY,
    "AWS::SageMaker::Model": MODEL,
    "AWS::SageMaker::EndpointConfig": ENDPOINT_CONFIG,
    "AWS::SageMaker::Endpoint": ENDPOINT,
    "AWS::CodeBuild::Project": PROJECT,
    "AWS::StepFunctions::StateMachine": MACHINE,
    "AWS::Lambda::Function": FUNCTION,
    "AWS::Lambda::Permission": PERMISSION,
    "AWS::ApiGateway::RestApi": API,
    "AWS::ApiGateway::Resource": PATH,
    "AWS::ApiGateway::Method": METHOD,
    "AWS::ApiGateway::Deployment": DEPLOYMENT,
    "AWS::ApiGateway::Stage": STAGE,
    "AWS::ApplicationAutoScaling::ScalableTarget": SCALABLE_TARGET,
    "AWS::ApplicationAutoScaling::ScalingPolicy": SCALING_POLICY,
    "AWS::SNS::Topic": TOPIC,
    "AWS::SNS::Subscription": SUBSCRIPTION,
    "AWS::SQS::Queue": QUEUE,
    "AWS::Logs::LogGroup": LOG_GROUP,
    "AWS::Events::Rule": RULE,
    "AWS::CloudWatch::Alarm": ALARM,
}
#: A stack with one of these must say CAPABILITY_IAM, or CAPABILITY_NAMED_IAM where it names it.
IDENTITIES = {
    "AWS::IAM::Role": "RoleName",
    "AWS::IAM::ManagedPolicy": "ManagedPolicyName",
    "AWS::IAM::Policy": "",
}
