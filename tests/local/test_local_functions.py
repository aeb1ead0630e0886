"""Lambda functions that run, and the APIs in front of them."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from emulators import ACCOUNT, CODE, Emulator, role, wait, zipped

from sagegen.local.lambdas import Lambda
from sagegen.local.wire import Fault

ROLE = f"arn:aws:iam::{ACCOUNT}:role/function"


@pytest.fixture(scope="module")
def functions(local: Emulator) -> Iterator[Any]:
    role(local, "function", "lambda.amazonaws.com", "logs:*", "sagemaker:InvokeEndpoint")
    found = local.client("lambda")
    for name, handler in (("f", "handler"), ("proxy", "proxy")):
        found.create_function(
            FunctionName=name, Runtime="python3.13", Handler=f"index.{handler}", Role=ROLE, Timeout=5,
            Code={"ZipFile": zipped(CODE)}, Environment={"Variables": {"WORD": "hello"}},
        )  # fmt: skip
    yield found
    for name in ("f", "proxy"):
        found.delete_function(FunctionName=name)


def call(functions: Any, **event: Any) -> tuple[Any, Any]:
    """(the kind of error, the answer)."""
    answer = functions.invoke(FunctionName="f", Payload=json.dumps(event))
    return answer.get("FunctionError"), json.loads(answer["Payload"].read())


def test_a_function_runs_with_its_own_variables_and_logs(local: Emulator, functions: Any) -> None:
    first, second = call(functions)[1], call(functions, what="print")[1]
    assert (first["word"], second["count"] - first["count"]) == ("hello", 1)  # the process stays warm
    assert 0 < second["left"] <= 5000
    assert not {"SAGEGEN_BASE_IMAGE", "AWS_PROFILE", "USER"} & set(second["keys"])
    tail = functions.invoke(FunctionName="f", LogType="Tail", Payload=b"{}")
    assert "LogResult" in tail
    lines = wait(lambda: [] if "seen print" not in (found := local.logged("/aws/lambda/f")) else found)
    assert any(line.startswith("REPORT RequestId: ") for line in lines)


def test_an_asynchronous_call_that_fails_is_tried_three_times(local: Emulator, functions: Any) -> None:
    event = json.dumps({"what": "fail twice"})
    answer = functions.invoke(FunctionName="f", InvocationType="Event", Payload=event)
    assert answer["StatusCode"] == 202
    wait(lambda: "seen fail twice" in local.logged("/aws/lambda/f"))
    lines = local.logged("/aws/lambda/f")
    assert [line for line in lines if line.startswith("try ")] == ["try 1", "try 2", "try 3"]


class Failing:
    """A function whose answers are given."""

    name = "f"

    def __init__(self, *answers: Any) -> None:
        self.answers = iter(answers)

    def invoke(self, event: Any, identity: str) -> Any:
        answer = next(self.answers)
        if isinstance(answer, Fault):
            raise answer
        return answer, b"", []


@pytest.mark.parametrize(
    "answers, closed",
    [
        (["Unhandled"] * 3, False),
        ([Fault("TooManyRequestsException", "Rate Exceeded.", 429)] * 5 + [None], False),
        (["Unhandled"], True),
    ],
)
def test_tries_of_an_asynchronous_call_end(answers: list[Any], closed: bool) -> None:
    function, found = Failing(*answers), Lambda(SimpleNamespace(pause=lambda _: closed), None)  # type: ignore[arg-type]
    found.functions["f"] = function  # type: ignore[assignment]
    found.later(function, {})  # type: ignore[arg-type]
    assert next(function.answers, "none left") == "none left"


def test_errors_of_a_function_are_told_and_not_hidden(functions: Any) -> None:
    kind, told = call(functions, what="fail")
    assert (kind, told["errorType"], told["errorMessage"]) == ("Unhandled", "ValueError", "it is wrong")
    assert call(functions, what="exit")[1]["errorType"] == "Runtime.ExitError"
    kind, told = call(functions, what="buckets")
    assert told["errorType"] == "AccessDenied" and "s3:ListAllMyBuckets" in told["errorMessage"]
    functions.update_function_configuration(
        FunctionName="f", Timeout=1, Environment={"Variables": {"WORD": "new"}}
    )
    kind, told = call(functions, what="sleep", seconds=20)
    assert "Task timed out after 1.00 seconds" in told["errorMessage"]
    assert call(functions)[1]["word"] == "new"
    functions.update_function_code(FunctionName="f", ZipFile=zipped("import nothing_of_this_name"))
    assert call(functions)[1]["errorType"] == "Runtime.ImportModuleError"
    functions.update_function_code(FunctionName="f", ZipFile=zipped(CODE))
    assert call(functions)[1]["count"] == 1


@pytest.mark.parametrize(
    "given, words",
    [
        ({"Runtime": "nodejs22.x"}, "not emulated: the runtime nodejs22.x"),
        ({"Role": f"arn:aws:iam::{ACCOUNT}:role/sagemaker"}, "cannot be assumed by Lambda"),
        ({"Code": {"ZipFile": b"no zip"}}, "Could not unzip"),
        ({"Environment": {"Variables": {"AWS_REGION": "x"}}}, "reserved keys"),
        ({"FunctionName": "f"}, "Function already exist: f"),
        ({"Layers": ["arn:aws:lambda:us-east-1:123456789012:layer:x:1"]}, "not emulated: Layers"),
    ],
)
def test_functions_that_lambda_does_not_take_are_refused(
    functions: Any, given: dict[str, Any], words: str
) -> None:
    whole = {"FunctionName": "g", "Runtime": "python3.13", "Handler": "index.handler", "Role": ROLE,
             "Code": {"ZipFile": zipped(CODE)}}  # fmt: skip
    with pytest.raises(ClientError, match=words):
        functions.create_function(**{**whole, **given})
    with pytest.raises(ClientError, match="Function not found"):
        functions.get_function(FunctionName="g")


@pytest.fixture(scope="module")
def api(local: Emulator, functions: Any) -> str:
    """A deployed API: POST /things/{name} is signed, GET /open is not."""
    apis = local.client("apigateway")
    made = apis.create_rest_api(name="api", binaryMediaTypes=["application/x-npy"])
    things = apis.create_resource(restApiId=made["id"], parentId=made["rootResourceId"], pathPart="things")
    one = apis.create_resource(restApiId=made["id"], parentId=things["id"], pathPart="{name}")
    opened = apis.create_resource(restApiId=made["id"], parentId=made["rootResourceId"], pathPart="open")
    arn = functions.get_function(FunctionName="proxy")["Configuration"]["FunctionArn"]
    uri = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{arn}/invocations"
    for resource, verb, kind in ((one, "POST", "AWS_IAM"), (opened, "GET", "NONE")):
        where = {"restApiId": made["id"], "resourceId": resource["id"], "httpMethod": verb}
        apis.put_method(authorizationType=kind, **where)
        apis.put_integration(type="AWS_PROXY", integrationHttpMethod="POST", uri=uri, **where)
    apis.create_deployment(restApiId=made["id"], stageName="v1")
    functions.add_permission(
        FunctionName="proxy", StatementId="api", Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
        SourceArn=f"arn:aws:execute-api:us-east-1:{ACCOUNT}:{made['id']}/*/POST/things/*",
    )  # fmt: skip
    return f"{local.exports['AWS_ENDPOINT_URL']}/_aws/execute-api/{made['id']}/v1"


def ask(url: str, body: bytes | None, local: Emulator | None, kind: str = "text/csv") -> tuple[int, Any, Any]:
    """(status, headers, body) of a request, signed where an emulator is given."""
    headers = {"Content-Type": kind}
    if local:
        signed = AWSRequest("POST" if body else "GET", url, data=body, headers=headers)
        keys = Credentials(local.exports["AWS_ACCESS_KEY_ID"], local.exports["AWS_SECRET_ACCESS_KEY"])
        SigV4Auth(keys, "execute-api", "us-east-1").add_auth(signed)
        headers = dict(signed.headers)
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=40) as answer:
            return answer.status, answer.headers, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, error.headers, json.loads(error.read())


def test_an_api_leads_to_its_function(local: Emulator, api: str) -> None:
    status, headers, told = ask(f"{api}/things/a%20b?x=1", b"1,2", local)
    assert (status, headers["X-Mine"]) == (201, "yes")
    assert told == {
        "body": "1,2",
        "path": {"name": "a b"},
        "query": {"x": "1"},
        "kind": "text/csv",
        "binary": False,
    }
    assert ask(f"{api}/things/x", b"\x93NUMPY", local, "application/x-npy")[2]["binary"] is True


def test_an_api_refuses_as_api_gateway_does(local: Emulator, api: str) -> None:
    assert ask(f"{api}/things/x", b"1", None)[::2] == (403, {"message": "Missing Authentication Token"})
    assert ask(f"{api}/nothing", None, local)[0] == 403
    assert ask(f"{api[:-2]}v2/things/x", b"1", local)[::2] == (403, {"message": "Forbidden"})
    assert ask(f"{api}/things/odd", b"1", local)[::2] == (502, {"message": "Internal server error"})
    # Its permission names POST /things/* alone.
    assert ask(f"{api}/open", None, None)[::2] == (500, {"message": "Internal server error"})
