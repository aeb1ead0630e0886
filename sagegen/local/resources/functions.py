"""Lambda functions of a stack, and the APIs in front of them."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile

from sagegen.local.resources.kinds import Calls, Kind, Made, Properties, as_dict, ask, remover, without
from sagegen.local.wire import not_emulated


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
    plain = without(given, "Code", "Tags", "ReservedConcurrentExecutions")
    tags = {"Tags": as_dict(given["Tags"])} if given.get("Tags") else {}
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
    plain = without(
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


def _make_api(calls: Calls, given: Properties) -> Made:
    tags = {"tags": as_dict(given["Tags"])} if given.get("Tags") else {}
    plain = {name[0].lower() + name[1:]: value for name, value in without(given, "Tags").items()}
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
        plain = without(integration, "IntegrationHttpMethod")
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
    tags = {"tags": as_dict(given["Tags"])} if given.get("Tags") else {}
    plain = {name[0].lower() + name[1:]: value for name, value in without(given, "Tags").items()}
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
