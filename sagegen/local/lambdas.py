"""Lambda: Python functions really run, in processes of their own that hold their role's credentials."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import queue
import re
import shutil
import sys
import tempfile
import threading
import time
import uuid
import zipfile
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from sagegen.local import rest
from sagegen.local.cloud import ACCOUNT, Cloud, now
from sagegen.local.codebuild import unpack
from sagegen.local.front import Request
from sagegen.local.identities import assume
from sagegen.local.logs import LogStream
from sagegen.local.processes import Process, Processes, base
from sagegen.local.wire import Answer, Fault, Handler, not_emulated

BOOTSTRAP = Path(__file__).with_name("bootstrap.py")
PAYLOAD, ZIPPED = 6 * 2**20, 50 * 2**20
#: A Python process that has imported boto3 takes this much before it does anything.
OWN_MEMORY = 256 * 2**20
CONCURRENCY = 16  # of the account; AWS gives 1000
#: Of asynchronous calls. AWS waits 1 and then 2 minutes between tries.
RETRIES, RETRY_SECONDS, QUEUED_SECONDS = 2, 1.0, 6 * 3600.0
INIT_SECONDS = 30.0  # AWS gives 10, on machines with less to do
NAME = re.compile(r"(?:arn:aws:lambda:[a-z0-9-]+:(\d{12}):function:)?([\w-]+)(?::([\w$-]+))?")
PYTHON = re.compile(r"python3\.\d+")
KNOWN = {"FunctionName", "Runtime", "Role", "Handler", "Code", "Description", "Timeout", "MemorySize",
         "Publish", "PackageType", "Environment", "Tags", "Architectures", "TracingConfig",
         "EphemeralStorage", "LoggingConfig", "SnapStart"}  # fmt: skip
SETTINGS = ("Runtime", "Role", "Handler", "Description", "Timeout", "MemorySize", "Environment")
TAIL = 4096


class Ended(Exception):
    """A process that ended in an invocation, in Lambda's words."""


class Worker:
    """One process of a function: it takes one event at a time."""

    def __init__(self, function: Function, cloud: Cloud, processes: Processes) -> None:
        settings, name = function.settings, function.name
        stream = f"{now():%Y/%m/%d}/[$LATEST]{uuid.uuid4().hex}"
        self.log = LogStream(cloud, f"/aws/lambda/{name}", stream, settings["Role"])
        self.lines: deque[str] = deque(maxlen=1000)
        self.function = function
        self._answers, theirs = os.pipe()
        home = function.folder / f"home-{uuid.uuid4().hex[:8]}"
        home.mkdir()
        environment = {
            **base(home),
            **cloud.environment,
            **cloud.session(settings["Role"]),
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(settings["MemorySize"]),
            "AWS_LAMBDA_LOG_GROUP_NAME": self.log.group,
            "AWS_LAMBDA_LOG_STREAM_NAME": stream,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{settings['Runtime']}",
            "LAMBDA_TASK_ROOT": str(function.code),
            "_HANDLER": settings["Handler"],
            "PYTHONDONTWRITEBYTECODE": "1",
            **settings.get("Environment", {}).get("Variables", {}),
        }
        command = [sys.executable, str(BOOTSTRAP), str(theirs), settings["Handler"]]
        memory = settings["MemorySize"] * 2**20 + OWN_MEMORY
        self._processes = processes
        try:
            self._process: Process = processes.start(command, function.code, environment, memory, theirs)
        finally:
            os.close(theirs)
        self._reader = os.fdopen(self._answers, errors="replace")
        self._seen: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True, name=f"lambda {name}").start()
        cloud.begin(self.log.send_often)
        self._answer(INIT_SECONDS)  # starting is not part of an invocation's time

    def _answer(self, seconds: float) -> str:
        """Its next line; "" where it ended, or was ended after so many seconds."""
        limit = threading.Timer(seconds, self._process.kill)
        limit.daemon = True
        limit.start()
        try:
            return self._reader.readline()
        finally:
            limit.cancel()

    def _read(self) -> None:
        for line in self._process.lines:
            self.log.add(line)
            self.lines.append(line)
            if line.startswith("END RequestId: "):
                self._seen.put(line.split()[-1])

    def run(self, event: Any, identity: str, seconds: float) -> tuple[dict[str, Any] | None, str]:
        """(failure or None, the result as JSON). Raises Ended where the process did."""
        begun, text = time.monotonic(), ""
        asked = {"id": identity, "event": event, "arn": self.function.arn, "end": time.time() + seconds}
        with suppress(OSError, ValueError):  # it has ended
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
            text = self._answer(seconds)
        took = 1000 * (time.monotonic() - begun)
        if text:
            try:
                while self._seen.get(timeout=1) != identity:
                    pass
            except queue.Empty:
                pass
        self._report(identity, took)
        if not text:
            if took >= 1000 * seconds:
                raise Ended(
                    f"{now():%Y-%m-%dT%H:%M:%S.000Z} {identity} Task timed out after {seconds:.2f} seconds"
                )
            code = self._process.popen.wait()
            why = f"signal: {-code}" if code < 0 else f"exit status {code}"
            raise Ended(f"RequestId: {identity} Error: Runtime exited with error: {why}")
        found = json.loads(text)
        if found.get("error"):
            return found["error"], ""
        result = json.dumps(found["result"])
        if len(result) > PAYLOAD:
            raise Ended(f"Response payload size exceeded maximum allowed payload size ({PAYLOAD} bytes).")
        return None, result

    def _report(self, identity: str, took: float) -> None:
        size = self.function.settings["MemorySize"]
        line = f"REPORT RequestId: {identity}\tDuration: {took:.2f} ms\tMemory Size: {size} MB"
        self.log.add(line)
        self.lines.append(line)

    def close(self) -> None:
        """End its process."""
        self._processes.end(self._process)
        self._reader.close()
        self.log.close()


class Places:
    """Where functions run: at most CONCURRENCY processes, of which those that wait give way."""

    def __init__(self) -> None:
        self.idle: deque[tuple[Function, Worker]] = deque()  # the longest idle first
        self.busy = 0
        self.lock = threading.Lock()

    def take(self, function: Function) -> tuple[Worker | None, Worker | None]:
        """(a process that waits for this function, one that must end first). Raises Fault."""
        with self.lock:
            reason = ""
            if self.busy >= CONCURRENCY:
                reason = "ConcurrentInvocationLimitExceeded"
            elif function.reserved is not None and function.busy >= function.reserved:
                reason = "ReservedFunctionConcurrentInvocationLimitExceeded"
            if reason:
                raise Fault("TooManyRequestsException", "Rate Exceeded.", 429, Reason=reason)
            self.busy += 1
            function.busy += 1
            for place in reversed(self.idle):
                if place[0] is function:
                    self.idle.remove(place)
                    return place[1], None
            full = self.busy + len(self.idle) > CONCURRENCY
            return None, self.idle.popleft()[1] if full else None

    def leave(self, function: Function) -> None:
        """An invocation has ended."""
        with self.lock:
            self.busy -= 1
            function.busy -= 1

    def clear(self, function: Function) -> list[Worker]:
        """Every process that waits for a function."""
        with self.lock:
            found = [place for place in self.idle if place[0] is function]
            for place in found:
                self.idle.remove(place)
        return [worker for _, worker in found]


class Function:
    """One function."""

    def __init__(
        self, cloud: Cloud, processes: Processes, places: Places, name: str, settings: dict[str, Any]
    ) -> None:
        self.cloud, self.processes, self.places, self.name = cloud, processes, places, name
        self.tags: dict[str, str] = dict(settings.pop("Tags", None) or {})
        self.settings = {"Timeout": 3, "MemorySize": 128, "Description": "", **settings}
        self.statements: dict[str, dict[str, Any]] = {}
        self.reserved: int | None = None
        self.busy = 0
        self.modified = now()
        self.revision = str(uuid.uuid4())
        self.content = b""
        self.folder = self.code = Path()

    @property
    def arn(self) -> str:
        """Its ARN."""
        return f"arn:aws:lambda:{self.cloud.region}:{ACCOUNT}:function:{self.name}"

    def load(self, content: bytes) -> None:
        """Take its code. Raises Fault."""
        if len(content) > ZIPPED:
            raise wrong(f"Unzipped size must be smaller than {ZIPPED} bytes")
        folder = Path(tempfile.mkdtemp(dir=self.processes.folder))
        code = folder / "task"
        code.mkdir()
        try:
            unpack(content, code)
        except (zipfile.BadZipFile, ValueError, OSError):
            raise wrong(
                "Could not unzip uploaded file. Please check your file, then try to upload again."
            ) from None
        old, self.content, self.folder, self.code = self.folder, content, folder, code
        self.renew()
        if old != Path():
            shutil.rmtree(old, ignore_errors=True)

    def renew(self) -> None:
        """What runs next runs anew."""
        self.modified, self.revision = now(), str(uuid.uuid4())
        for worker in self.places.clear(self):
            worker.close()

    def configuration(self) -> dict[str, Any]:
        """As GetFunctionConfiguration has it."""
        digest = base64.b64encode(hashlib.sha256(self.content).digest()).decode()
        environment = self.settings.get("Environment")
        return {
            "PackageType": "Zip",
            "Architectures": ["x86_64"],
            "EphemeralStorage": {"Size": 512},
            "TracingConfig": {"Mode": "PassThrough"},
            **{name: value for name, value in self.settings.items() if name != "Environment"},
            **({"Environment": environment} if environment and environment.get("Variables") else {}),
            "FunctionName": self.name,
            "FunctionArn": self.arn,
            "CodeSize": len(self.content),
            "CodeSha256": digest,
            "LastModified": f"{self.modified:%Y-%m-%dT%H:%M:%S.000+0000}",
            "RevisionId": self.revision,
            "Version": "$LATEST",
            "State": "Active",
            "LastUpdateStatus": "Successful",
            "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{self.name}"},
        }

    def invoke(self, event: Any, identity: str = "") -> tuple[str | None, bytes, list[str]]:
        """(FunctionError or None, payload, the log's end). A retry has its first call's identity."""
        identity = identity or str(uuid.uuid4())
        revision = self.revision
        worker, over = self.places.take(self)
        try:
            if over:
                over.close()
            try:
                worker = worker or Worker(self, self.cloud, self.processes)
            except OSError as error:
                raise Fault("ServiceException", f"the function cannot be started: {error}", 500) from None
            try:
                failure, result = worker.run(event, identity, float(self.settings["Timeout"]))
            except Ended as error:
                worker.close()
                timed = "timed out" in str(error)
                kind = "Sandbox.Timedout" if timed else "Runtime.ExitError"
                if "payload size" in str(error):
                    kind = "Function.ResponseSizeTooLarge"
                body = {"errorType": kind, "errorMessage": str(error)}
                return "Unhandled", json.dumps(body).encode(), list(worker.lines)
            lines = list(worker.lines)
            worker.lines.clear()
            with self.places.lock:
                if keep := revision == self.revision:
                    self.places.idle.append((self, worker))
            if not keep:
                worker.close()
        finally:
            self.places.leave(self)
        if failure:
            return "Unhandled", json.dumps(failure).encode(), lines
        return None, result.encode(), lines


class Lambda:
    """The operations on functions."""

    def __init__(self, cloud: Cloud, processes: Processes) -> None:
        self.cloud, self.processes = cloud, processes
        self.functions: dict[str, Function] = {}
        self._places = Places()
        self._lock = threading.Lock()
        self.handlers: dict[str, Handler] = {
            "CreateFunction": self.create,
            "GetFunction": self.get,
            "GetFunctionConfiguration": lambda given: self.find(given["FunctionName"]).configuration(),
            "UpdateFunctionCode": self.update_code,
            "UpdateFunctionConfiguration": self.update,
            "DeleteFunction": self.delete,
            "ListFunctions": lambda given: {
                "Functions": [self.functions[name].configuration() for name in sorted(self.functions)]
            },
            "Invoke": self.invoke,
            "AddPermission": self.permit,
            "RemovePermission": self.forbid,
            "GetPolicy": self.policy,
            "PutFunctionConcurrency": self.reserve,
            "GetFunctionConcurrency": lambda given: {
                "ReservedConcurrentExecutions": self.find(given["FunctionName"]).reserved
            },
            "DeleteFunctionConcurrency": self.unreserve,
            "ListTags": lambda given: {"Tags": self.find(given["Resource"]).tags},
        }

    def route(self, request: Request) -> Answer | None:
        """Lambda's paths."""
        if request.service != "lambda":
            return None
        return rest.call("lambda", self.handlers, request, "InvalidParameterValueException", 2 * ZIPPED)

    def find(self, name: str) -> Function:
        """One by its name or ARN. Raises Fault."""
        parts = NAME.fullmatch(name)
        if parts and parts[3] not in (None, "$LATEST"):
            raise not_emulated("versions and aliases of functions")
        if not parts or parts[2] not in self.functions or parts[1] not in (None, ACCOUNT):
            arn = f"arn:aws:lambda:{self.cloud.region}:{ACCOUNT}:function:{parts[2] if parts else name}"
            raise Fault("ResourceNotFoundException", f"Function not found: {arn}", 404, Type="User")
        return self.functions[parts[2]]

    def _judge(self, given: Mapping[str, Any]) -> None:
        if odd := given.keys() - KNOWN:
            raise not_emulated(f"{sorted(odd)[0]} of a function")
        if given.get("PackageType", "Zip") != "Zip":
            raise not_emulated("functions of images")
        if given.get("Publish"):
            raise not_emulated("Publish of a function")
        if "Runtime" in given and not PYTHON.fullmatch(given["Runtime"]):
            raise not_emulated(f"the runtime {given['Runtime']}")
        for name in (given.get("Environment") or {}).get("Variables", {}):
            if name.startswith("AWS_") or name in ("_HANDLER", "LAMBDA_TASK_ROOT"):
                raise wrong(
                    "Lambda was unable to configure your environment variables because the environment"
                    " variables you have provided contains reserved keys that are currently not supported for"
                    f" modification. Reserved keys used in this request: {name}"
                )
        if "Role" in given:
            try:
                assume(self.cloud, given["Role"], "lambda.amazonaws.com")
            except Fault:
                raise wrong("The role defined for the function cannot be assumed by Lambda.") from None

    def _content(self, code: Mapping[str, Any]) -> bytes:
        if "ZipFile" in code:
            try:
                return base64.b64decode(code["ZipFile"], validate=True)
            except (binascii.Error, ValueError):
                raise wrong(
                    "Could not unzip uploaded file. Please check your file, then try to upload again."
                ) from None
        if "S3Bucket" in code and not code.get("S3ObjectVersion"):
            try:
                found = self.cloud.client("s3").get_object(Bucket=code["S3Bucket"], Key=code["S3Key"])
                return bytes(found["Body"].read())
            except ClientError as error:
                told = error.response["Error"]
                raise wrong(
                    f"Error occurred while GetObject. S3 Error Code: {told['Code']}. S3 Error Message:"
                    f" {told['Message']}"
                ) from None
        raise not_emulated("code other than ZipFile, S3Bucket and S3Key")

    def create(self, given: dict[str, Any]) -> dict[str, Any]:
        """CreateFunction."""
        self._judge(given)
        for name in ("Runtime", "Handler"):
            if not given.get(name):
                raise wrong(
                    "Runtime and Handler are mandatory parameters for functions created with deployment"
                    " packages."
                )
        parts = NAME.fullmatch(given["FunctionName"])
        assert parts
        content = self._content(given["Code"])
        settings = {
            name: value for name, value in given.items() if name not in ("Code", "FunctionName", "Publish")
        }
        function = Function(self.cloud, self.processes, self._places, parts[2], settings)
        function.load(content)
        with self._lock:
            if parts[2] in self.functions:
                raise Fault(
                    "ResourceConflictException", f"Function already exist: {parts[2]}", 409, Type="User"
                )
            self.functions[parts[2]] = function
        return function.configuration()

    def get(self, given: dict[str, Any]) -> dict[str, Any]:
        """GetFunction; the code itself is not given out."""
        function = self.find(given["FunctionName"])
        found = {
            "Configuration": function.configuration(),
            "Code": {"RepositoryType": "S3"},
            "Tags": function.tags,
        }
        if function.reserved is not None:
            found["Concurrency"] = {"ReservedConcurrentExecutions": function.reserved}
        return found

    def update_code(self, given: dict[str, Any]) -> dict[str, Any]:
        """UpdateFunctionCode."""
        if given.get("Publish") or given.get("DryRun") or given.get("ImageUri"):
            raise not_emulated("Publish, DryRun and ImageUri of UpdateFunctionCode")
        function = self.find(given["FunctionName"])
        function.load(self._content(given))
        return function.configuration()

    def update(self, given: dict[str, Any]) -> dict[str, Any]:
        """UpdateFunctionConfiguration."""
        function = self.find(given["FunctionName"])
        self._judge(given)
        function.settings |= {name: given[name] for name in SETTINGS if name in given}
        function.renew()
        return function.configuration()

    def delete(self, given: dict[str, Any]) -> None:
        """DeleteFunction."""
        function = self.find(given["FunctionName"])
        with self._lock:
            self.functions.pop(function.name, None)
        function.renew()
        shutil.rmtree(function.folder, ignore_errors=True)

    def reserve(self, given: dict[str, Any]) -> dict[str, Any]:
        """PutFunctionConcurrency."""
        most = given["ReservedConcurrentExecutions"]
        self.find(given["FunctionName"]).reserved = most
        return {"ReservedConcurrentExecutions": most}

    def unreserve(self, given: dict[str, Any]) -> None:
        """DeleteFunctionConcurrency."""
        self.find(given["FunctionName"]).reserved = None

    def invoke(self, given: dict[str, Any]) -> dict[str, Any]:
        """Invoke."""
        function, kind = self.find(given["FunctionName"]), given.get("InvocationType", "RequestResponse")
        payload = given.get("Payload") or b"{}"
        if len(payload) > PAYLOAD:
            raise Fault(
                "RequestTooLargeException",
                f"Request must be smaller than {PAYLOAD} bytes for the InvokeFunction operation",
                413,
            )
        try:
            event = json.loads(payload)
        except ValueError as error:
            raise Fault(
                "InvalidRequestContentException", f"Could not parse request body into json: {error}"
            ) from None
        if kind == "DryRun":
            return {"StatusCode": 204}
        if kind == "Event":
            self.cloud.begin(self.later, function, event)
            return {"StatusCode": 202}
        failed, body, lines = function.invoke(event)
        found = {"StatusCode": 200, "Payload": body, "ExecutedVersion": "$LATEST"}
        if failed:
            found["FunctionError"] = failed
        if given.get("LogType") == "Tail":
            found["LogResult"] = base64.b64encode("\n".join(lines).encode()[-TAIL:]).decode()
        return found

    def later(self, function: Function, event: Any) -> None:
        """An asynchronous invocation: two retries after errors, and more for 6 h where it is throttled."""
        identity, errors, end = str(uuid.uuid4()), 0, time.monotonic() + QUEUED_SECONDS
        while self.functions.get(function.name) is function:
            try:
                if function.invoke(event, identity)[0] is None:
                    return
                errors += 1
            except Fault as fault:
                errors += fault.status != 429
            late = time.monotonic() > end
            if errors > RETRIES or late or self.cloud.pause(RETRY_SECONDS):
                return

    # --- who may call it --------------------------------------------------------------------------------

    def permit(self, given: dict[str, Any]) -> dict[str, Any]:
        """AddPermission."""
        function = self.find(given["FunctionName"])
        if given["StatementId"] in function.statements:
            text = f"The statement id ({given['StatementId']}) provided already exists."
            raise Fault("ResourceConflictException", text, 409, Type="User")
        principal = given["Principal"]
        condition: dict[str, Any] = {}
        if "SourceArn" in given:
            condition["ArnLike"] = {"AWS:SourceArn": given["SourceArn"]}
        if "SourceAccount" in given:
            condition["StringEquals"] = {"AWS:SourceAccount": given["SourceAccount"]}
        statement = {
            "Sid": given["StatementId"],
            "Effect": "Allow",
            "Principal": {"Service": principal}
            if principal.endswith(".amazonaws.com")
            else {"AWS": principal},
            "Action": given["Action"],
            "Resource": function.arn,
            **({"Condition": condition} if condition else {}),
        }
        function.statements[given["StatementId"]] = statement
        return {"Statement": json.dumps(statement)}

    def forbid(self, given: dict[str, Any]) -> None:
        """RemovePermission."""
        function = self.find(given["FunctionName"])
        if function.statements.pop(given["StatementId"], None) is None:
            text = f"Statement {given['StatementId']} is not found in resource policy."
            raise Fault("ResourceNotFoundException", text, 404, Type="User")

    def policy(self, given: dict[str, Any]) -> dict[str, Any]:
        """GetPolicy."""
        function = self.find(given["FunctionName"])
        if not function.statements:
            text = "The resource you requested does not exist."
            raise Fault("ResourceNotFoundException", text, 404, Type="User")
        document = {"Version": "2012-10-17", "Id": "default", "Statement": list(function.statements.values())}
        return {"Policy": json.dumps(document), "RevisionId": function.revision}


def wrong(text: str) -> Fault:
    """What Lambda says of a wrong request."""
    return Fault("InvalidParameterValueException", text, 400, Type="User")
