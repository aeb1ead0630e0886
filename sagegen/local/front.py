"""The one endpoint: who calls, which service answers, and a record of every call."""

from __future__ import annotations

import io
import json
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import BaseWSGIServer, make_server

from sagegen.local import wire
from sagegen.local.cloud import Cloud
from sagegen.local.policies import Policies
from sagegen.local.wire import Answer, Fault, fault_answer, not_emulated

LOOPBACK = "127.0.0.1"
JSON_BYTES = 16 * 2**20
CALLS_KEPT = 300
SCOPE = re.compile(r"Credential=([^/,\s]+)/\d{8}/([^/]+)/([^/]+)/aws4_request")
#: Services of moto that do what they say. It has more, which answer without doing anything.
MOTO = {
    "s3", "sts", "iam", "logs", "monitoring", "sns", "sqs", "events", "kms", "ssm", "secretsmanager", "ecr",
    "ec2", "tagging", "dynamodb", "apigateway",
}  # fmt: skip
#: AWS's names of services in X-Amz-Target, and botocore's.
TARGETS = {
    "SageMaker": "sagemaker",
    "AmazonEC2ContainerRegistry_V20150921": "ecr",
    "CodeBuild_20161006": "codebuild",
    "AWSStepFunctions": "stepfunctions",
    "AnyScaleFrontendService": "application-autoscaling",
}
#: Services that answer in XML.
QUERY = {"sts", "iam", "sns", "sqs", "monitoring", "ec2", "cloudformation", "autoscaling"}


@dataclass
class Call:
    """One call as the log and the page show it."""

    at: float
    service: str
    operation: str
    status: int = 0
    milliseconds: float = 0.0
    error: str = ""


Route = Callable[["Request"], Answer | None]


@dataclass
class Request:
    """One HTTP request, and who signed it for which service."""

    environ: dict[str, Any]
    key: str | None
    service: str
    call: Call

    @property
    def method(self) -> str:
        """GET, POST and so on."""
        return str(self.environ["REQUEST_METHOD"])

    @property
    def path(self) -> str:
        """The path, without its query."""
        return str(self.environ["PATH_INFO"])

    @property
    def query(self) -> dict[str, str]:
        """The query, by name."""
        parts = parse_qs(self.environ.get("QUERY_STRING", ""), keep_blank_values=True)
        return {name: values[0] for name, values in parts.items()}

    @property
    def headers(self) -> dict[str, str]:
        """The headers, with names in lower case."""
        found = {
            name[5:].replace("_", "-").lower(): value
            for name, value in self.environ.items()
            if name.startswith("HTTP_")
        }
        if kind := self.environ.get("CONTENT_TYPE"):
            found["content-type"] = kind
        return found

    @property
    def length(self) -> int | None:
        """Bytes of the body; None where it comes in chunks."""
        if self.environ.get("wsgi.input_terminated"):
            return None
        return int(self.environ.get("CONTENT_LENGTH") or 0)

    @property
    def stream(self) -> Any:
        """The body, unread."""
        return self.environ["wsgi.input"]

    def body(self, limit: int = JSON_BYTES) -> bytes | None:
        """The whole body; None where it is longer than `limit` bytes."""
        size = self.length
        if size is not None and size > limit:
            return None
        data: bytes = self.stream.read(limit + 1 if size is None else size)
        return data if len(data) <= limit else None

    def reread(self) -> bytes:
        """A small body, which stays readable."""
        data = self.body() or b""
        self.replace(data)
        return data

    def replace(self, data: bytes) -> None:
        """Give the request another body."""
        self.environ["wsgi.input"] = io.BytesIO(data)
        self.environ["CONTENT_LENGTH"] = str(len(data))
        self.environ.pop("wsgi.input_terminated", None)
        self.environ.pop("HTTP_TRANSFER_ENCODING", None)


class Front:
    """A WSGI application: our services first, then those of moto that are true."""

    def __init__(self, cloud: Cloud, log: Callable[[Call], None]) -> None:
        self.cloud = cloud
        self.calls: deque[Call] = deque(maxlen=CALLS_KEPT)
        self._log = log
        self._moto: DomainDispatcherApplication | None = None
        self._lock, self._alone = threading.Lock(), threading.Lock()
        self.policies = Policies(cloud)
        #: {service: {operation: what answers it}}.
        self.services: dict[str, dict[str, wire.Handler]] = {}
        #: Asked in turn before a service is looked for: the page, the registry.
        self.open: list[Route] = []
        #: Asked in turn once the caller is known: paths of REST services.
        self.signed: list[Route] = [self.policies.route]

        #: Told of each call that moto has answered with success.
        self.after: list[Callable[[Request], None]] = []

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        scope = SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
        if not scope and "X-Amz-Credential" in environ.get("QUERY_STRING", ""):
            signed = parse_qs(environ["QUERY_STRING"])["X-Amz-Credential"][0]
            scope = SCOPE.search(f"Credential={signed}")
        call = Call(
            time.time(), scope[3] if scope else "", f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
        )
        request = Request(environ, scope[1] if scope else None, call.service, call)
        begun = time.perf_counter()
        try:
            answer = self._answer(request)
            if answer is None:
                return self._with_moto(request, start, begun)
        except Fault as fault:
            call.error = fault.message
            answer = self._refusal(request, fault)
        except Exception as error:
            call.error = f"a defect of sagegen local: {error!r}"
            sys.excepthook(*sys.exc_info())
            answer = self._refusal(request, Fault("InternalFailure", call.error, 500))
        self._done(call, answer.status, begun)
        headers = dict(answer.headers)
        if isinstance(answer.body, bytes):
            headers.setdefault("Content-Length", str(len(answer.body)))
        start(f"{answer.status} -", list(headers.items()))
        return [answer.body] if isinstance(answer.body, bytes) else answer.body

    def _done(self, call: Call, status: int, begun: float) -> None:
        call.status, call.milliseconds = status, round(1000 * (time.perf_counter() - begun), 1)
        if call.service:
            self.calls.append(call)
            self._log(call)

    def _answer(self, request: Request) -> Answer | None:
        """What one of ours says; None where moto is to be asked."""
        for route in self.open:
            if answer := route(request):
                return answer
        if request.key is None:
            raise Fault("MissingAuthenticationToken", "Missing Authentication Token", 403)
        if request.key not in self.cloud.keys:
            raise Fault(
                "UnrecognizedClientException", "The security token included in the request is invalid.", 403
            )
        target = request.environ.get("HTTP_X_AMZ_TARGET", "")
        prefix, _, operation = target.rpartition(".")
        service = TARGETS.get(prefix, request.service)
        if operation:
            request.call.service, request.call.operation = service, operation
        if role := self.cloud.keys[request.key]:
            if service in QUERY and request.method == "POST":
                operation = parse_qs(request.reread().decode(errors="replace")).get("Action", [""])[0]
            self.policies.check(role, request, operation)
        for route in self.signed:
            if answer := route(request):
                return answer
        ours = self.services.get(service, {})
        if operation in ours or (operation and ours and service not in MOTO):
            body = request.body()
            if body is None:
                raise Fault("RequestEntityTooLargeException", "the request is too long", 413)
            return wire.call(service, operation, ours, body)
        if service not in MOTO:
            raise not_emulated(f"{service} ({request.call.operation})")
        return None

    def _with_moto(self, request: Request, start: Callable[..., Any], begun: float) -> Iterable[bytes]:
        with self._lock:
            self._moto = self._moto or DomainDispatcherApplication(_backend)
        asked = ""
        if request.service in QUERY and request.method == "POST":
            text = parse_qs(request.reread().decode(errors="replace"))
            asked = text.get("Action", [""])[0]
            request.call.operation = asked or request.call.operation
            role = text.get("RoleArn", [""])[0]
        status = 0

        def started(line: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            nonlocal status
            status = int(line.split()[0])
            return start(line, headers, *more)

        # Of two calls at once that make one log group, moto would forget the first one's streams.
        alone = self._alone if request.service == "logs" else nullcontext()
        try:
            with alone:
                body = self._moto(request.environ, started)
        except NotImplementedError as error:
            raise not_emulated(f"{request.service} ({asked or request.call.operation})") from error
        if asked in ("AssumeRole", "GetSessionToken", "CreateAccessKey"):
            body = [b"".join(body)]
            for key in re.findall(rb"<AccessKeyId>([A-Z0-9]+)</AccessKeyId>", body[0]):
                self.cloud.keys[key.decode()] = {
                    "AssumeRole": role,
                    "GetSessionToken": self.cloud.keys[str(request.key)],
                    "CreateAccessKey": None,
                }[asked]
        self._done(request.call, status, begun)
        for told in self.after if status < 300 else ():
            told(request)
        return body  # type: ignore[no-any-return]

    def _refusal(self, request: Request, fault: Fault) -> Answer:
        """A fault in the form that the service's clients read."""
        if request.service == "s3" or (not request.service and "HTTP_X_AMZ_TARGET" not in request.environ):
            code = "InvalidAccessKeyId" if fault.code == "UnrecognizedClientException" else fault.code
            text = f"<Error><Code>{code}</Code><Message>{escape(fault.message)}</Message></Error>"
        elif request.service in QUERY:
            code = "InvalidClientTokenId" if fault.code == "UnrecognizedClientException" else fault.code
            text = f"<Type>Sender</Type><Code>{code}</Code><Message>{escape(fault.message)}</Message>"
            text = f"<ErrorResponse><Error>{text}</Error></ErrorResponse>"
        else:
            if fault.code == "AccessDenied":
                fault = Fault("AccessDeniedException", fault.message, 400)
            return fault_answer(fault)
        return Answer(fault.status, text.encode(), {"Content-Type": "text/xml"})


def _backend(service: Any) -> Any:
    """A service of moto that raises what it does not handle, where its server would answer 500 in HTML."""
    app = create_backend_app(service)
    app.config["PROPAGATE_EXCEPTIONS"] = True
    return app


class Quiet(MotoRequestHandler):
    """Without werkzeug's own log, and with each answer sent at once."""

    wbufsize = 2**16  # headers and body in one packet
    disable_nagle_algorithm = True

    def log(self, type: str, message: str, *arguments: Any) -> None:
        """Only what went wrong."""
        if type == "error" and arguments:
            print(f"sagegen: {message % arguments}", file=sys.stderr)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing: `Front` logs calls."""


def listen(front: Front, port: int) -> BaseWSGIServer:
    """A server on loopback, which a thread of its own runs. Raises OSError where the port is taken."""
    import socket

    # werkzeug itself ends the process where the port is taken.
    with socket.create_server((LOOPBACK, port), reuse_port=False, backlog=512) as listener:
        number = listener.getsockname()[1]
        server = make_server(
            LOOPBACK, number, front, threaded=True, request_handler=Quiet, fd=listener.fileno()
        )
    front.cloud.url = f"http://{LOOPBACK}:{number}"
    threading.Thread(target=server.serve_forever, daemon=True, name="front").start()
    return server


def as_json(call: Call) -> str:
    """A call as one line of JSON."""
    return json.dumps(asdict(call))


def as_text(call: Call) -> str:
    """A call as one line for people."""
    return (
        f"{call.status} {call.milliseconds:7.1f} ms  {call.service}:{call.operation}  {call.error}".rstrip()
    )


def named(headers: Mapping[str, str], *names: str) -> dict[str, str]:
    """Those of these headers that are there."""
    return {name: headers[name] for name in names if headers.get(name)}
