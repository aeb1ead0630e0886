"""API Gateway: deployed REST APIs answer, through their Lambda functions. moto keeps the APIs' records."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote

from botocore.exceptions import ClientError, ParamValidationError

from sagegen.local import rest
from sagegen.local.cloud import ACCOUNT, Cloud
from sagegen.local.front import Request
from sagegen.local.identities import like
from sagegen.local.lambdas import Lambda
from sagegen.local.policies import Need, Policies
from sagegen.local.wire import Answer, Fault, identity, not_emulated
from sagegen.platform import limits

#: What moto would answer without doing it, and what would have no effect here.
PRETENDED = re.compile(
    r"/(domainnames|vpclinks|clientcertificates|apikeys|usageplans|account|sdktypes)(/.*)?"
    r"|/restapis/[^/]+/(authorizers|models|requestvalidators|gatewayresponses|documentation)(/.*)?"
)
TESTED = re.compile(r"/restapis/[^/]+/resources/[^/]+/methods/[^/]+")
BY_PATH = re.compile(r"/_aws/execute-api/([a-z0-9]+)(/.*)?")
BY_HOST = re.compile(r"([a-z0-9]+)\.execute-api\.")
URI = re.compile(
    r"arn:aws:apigateway:[^:]+:lambda:path/2015-03-31/functions/(arn:aws:lambda:[^/]+)/invocations"
)


class Gateway:
    """The paths of deployed APIs."""

    def __init__(self, cloud: Cloud, functions: Lambda, policies: Policies) -> None:
        self.cloud, self.functions, self.policies = cloud, functions, policies

    def records(self, request: Request) -> Answer | None:
        """Refuse what moto would only pretend."""
        if request.service != "apigateway":
            return None
        if PRETENDED.fullmatch(request.path) and request.method != "GET":
            raise not_emulated(f"apigateway: {request.method} {request.path}")
        if TESTED.fullmatch(request.path) and request.method == "POST":
            raise not_emulated("apigateway:TestInvokeMethod")
        if request.path == "/restapis" and request.method == "POST":
            return self._create(request)
        return None

    def _create(self, request: Request) -> Answer | None:
        """CreateRestApi: moto forgets binaryMediaTypes, unless they come in an update."""
        given = json.loads(request.reread() or b"{}")
        for name in ("policy", "disableExecuteApiEndpoint", "cloneFrom"):
            if given.get(name):
                raise not_emulated(f"{name} of CreateRestApi")
        if not (kinds := given.pop("binaryMediaTypes", None)):
            return None
        apis = self.cloud.client("apigateway")
        try:
            made = apis.create_rest_api(**given)
            added = [
                {"op": "add", "path": f"/binaryMediaTypes/{kind.replace('/', '~1')}", "value": kind}
                for kind in kinds
            ]
            found = {**made, **apis.update_rest_api(restApiId=made["id"], patchOperations=added)}
        except (ClientError, ParamValidationError) as error:
            raise Fault("BadRequestException", str(error)) from None
        return rest.written("apigateway", "CreateRestApi", found)

    def route(self, request: Request) -> Answer | None:
        """/_aws/execute-api/API/STAGE/… and API.execute-api.…, signed or not."""
        path, host = request.path, request.headers.get("host", "")
        if named := BY_HOST.match(host):
            api = named[1]
        elif parts := BY_PATH.fullmatch(path):
            api, path = parts[1], parts[2] or "/"
        else:
            return None
        request.call.service, request.call.operation = "execute-api", f"{request.method} {path}"
        try:
            return self._answer(request, api, path)
        except Fault as fault:
            request.call.error = fault.message
            return _json(fault.status, {"message": fault.message}, fault.code)

    def _answer(self, request: Request, api: str, path: str) -> Answer:
        stage, _, left = path.lstrip("/").partition("/")
        apis = self.cloud.client("apigateway")
        try:
            deployed = apis.get_stage(restApiId=api, stageName=stage)
            found = apis.get_resources(restApiId=api, limit=500, embed=["methods"])["items"]
        except ClientError:
            raise Fault("ForbiddenException", "Forbidden", 403) from None
        resource, words = _resource(found, "/" + left)
        methods = (resource or {}).get("resourceMethods", {})
        method = methods.get(request.method) or methods.get("ANY")
        if not resource or not method:
            raise Fault("MissingAuthenticationTokenException", "Missing Authentication Token", 403)
        self._authorize(request, method, f"{api}/{stage}/{request.method}/{left}")
        integration = method.get("methodIntegration") or {}
        if integration.get("type") != "AWS_PROXY" or not (target := URI.fullmatch(integration["uri"])):
            raise not_emulated("integrations other than AWS_PROXY with a Lambda function")
        body = request.body(limits.API_BYTES)
        if body is None:
            raise Fault("RequestTooLargeException", "Request Too Long", 413)
        event = self._event(request, body, api, stage, "/" + left, resource["path"], words, deployed)
        place = f"{api}/{stage}/{request.method}{resource['path']}"
        source = f"arn:aws:execute-api:{self.cloud.region}:{ACCOUNT}:{place}"
        return self._through(target[1], source, event)

    def _authorize(self, request: Request, method: Mapping[str, Any], place: str) -> None:
        if method.get("apiKeyRequired"):
            raise not_emulated("API keys")
        kind = method.get("authorizationType", "NONE")
        if kind == "NONE":
            return
        if kind != "AWS_IAM":
            raise not_emulated(f"authorization by {kind}")
        if request.key is None:
            raise Fault("MissingAuthenticationTokenException", "Missing Authentication Token", 403)
        if request.key not in self.cloud.keys:
            text = "The security token included in the request is invalid."
            raise Fault("UnrecognizedClientException", text, 403)
        if role := self.cloud.keys[request.key]:
            arn = f"arn:aws:execute-api:{self.cloud.region}:{ACCOUNT}:{place}"
            if not self.policies.allows(role, Need("execute-api:Invoke", arn)):
                text = f"User: {role} is not authorized to perform: execute-api:Invoke on resource: {arn}"
                raise Fault("AccessDeniedException", text, 403)

    def _event(
        self, request: Request, body: bytes, api: str, stage: str, path: str, template: str,
        words: Mapping[str, str], deployed: Mapping[str, Any],
    ) -> dict[str, Any]:  # fmt: skip
        """What a function of a proxy integration is given."""
        headers = {name.title(): value for name, value in request.headers.items()}
        query = parse_qs(request.environ.get("QUERY_STRING", ""), keep_blank_values=True)
        binary = self.cloud.client("apigateway").get_rest_api(restApiId=api).get("binaryMediaTypes") or []
        kind = request.headers.get("content-type", "").split(";")[0]
        encoded = bool(body) and any(like(one.replace("~1", "/"), kind) for one in binary)
        text = base64.b64encode(body).decode() if encoded else body.decode(errors="replace")
        return {
            "resource": template,
            "path": path,
            "httpMethod": request.method,
            "headers": headers or None,
            "multiValueHeaders": {name: [value] for name, value in headers.items()} or None,
            "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
            "multiValueQueryStringParameters": query or None,
            "pathParameters": dict(words) or None,
            "stageVariables": deployed.get("variables") or None,
            "requestContext": {
                "accountId": ACCOUNT,
                "apiId": api,
                "httpMethod": request.method,
                "path": f"/{stage}{path}",
                "protocol": "HTTP/1.1",
                "requestId": identity(),
                "requestTimeEpoch": int(time.time() * 1000),
                "resourcePath": template,
                "stage": stage,
                "identity": {"sourceIp": "127.0.0.1", "userAgent": request.headers.get("user-agent")},
            },
            "body": text or None,
            "isBase64Encoded": encoded,
        }

    def _through(self, arn: str, source: str, event: Mapping[str, Any]) -> Answer:
        broken = Fault("InternalServerErrorException", "Internal server error", 500)
        try:
            function = self.functions.find(arn)
        except Fault:
            raise broken from None
        if not any(_permits(one, source) for one in function.statements.values()):
            raise broken
        answer: list[Any] = []

        def ask() -> None:
            try:
                answer.append(function.invoke(event))
            except Fault as fault:
                answer.append(fault)

        asking = threading.Thread(target=ask, daemon=True, name="execute-api")
        asking.start()
        asking.join(limits.API)
        if not answer:
            raise Fault("IntegrationTimeoutException", "Endpoint request timed out", 504)
        if isinstance(answer[0], Fault):
            raise broken
        failed, payload, _ = answer[0]
        malformed = Fault("InternalServerErrorException", "Internal server error", 502)
        try:
            found = json.loads(payload)
            if failed or not isinstance(found, dict) or "statusCode" not in found:
                raise malformed
            body = found.get("body") or ""
            if not isinstance(body, str):
                raise malformed
            data = base64.b64decode(body) if found.get("isBase64Encoded") else body.encode()
            headers = {str(name): str(value) for name, value in (found.get("headers") or {}).items()}
            status = int(found["statusCode"])
        except (ValueError, AttributeError, TypeError):
            raise malformed from None
        if not any(name.lower() == "content-type" for name in headers):
            headers["Content-Type"] = "application/json"
        return Answer(status, data, {**headers, "x-amzn-RequestId": identity()})


def _permits(statement: Mapping[str, Any], source: str) -> bool:
    """Whether API Gateway may call a function for one of its methods."""
    if statement["Principal"] != {"Service": "apigateway.amazonaws.com"}:
        return False
    if not like(statement["Action"], "lambda:InvokeFunction", fold=True):
        return False
    condition = statement.get("Condition", {})
    arn = condition.get("ArnLike", {}).get("AWS:SourceArn", "*")
    account = condition.get("StringEquals", {}).get("AWS:SourceAccount", ACCOUNT)
    return like(arn, source) and account == ACCOUNT


def _resource(found: list[dict[str, Any]], path: str) -> tuple[dict[str, Any] | None, dict[str, str]]:
    """The resource that a path means: literal ones before those with words in braces."""
    wanted = path.rstrip("/") or "/"
    for one in sorted(found, key=lambda one: (one["path"].count("{"), "+" in one["path"])):
        rule = rest.rule(one["path"])
        if words := re.fullmatch(rule, wanted):
            return one, {name: unquote(value) for name, value in words.groupdict().items()}
    return None, {}


def _json(status: int, body: Any, code: str) -> Answer:
    headers = {"Content-Type": "application/json", "x-amzn-ErrorType": code, "x-amzn-RequestId": identity()}
    return Answer(status, json.dumps(body).encode(), headers)
