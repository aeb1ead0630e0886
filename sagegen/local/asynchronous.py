"""Asynchronous invocations: from an object in S3 to another one, and a message about it."""

from __future__ import annotations

import datetime
import http.client
import json
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from sagegen.local.cloud import ACCOUNT, now, place
from sagegen.local.front import Request
from sagegen.local.hosting import Endpoint, Hosting
from sagegen.local.servers import TimedOut
from sagegen.local.wire import Answer, Fault, json_answer
from sagegen.platform import limits

INLINE_BYTES = 128_000
TIMEOUT, MOST_TIMEOUT, LIFE = 900, 3600, 21600
CONCURRENT = 4  # per instance, where the request does not say; what AWS takes is not documented


class Asynchronous:
    """InvokeEndpointAsync: a queue for each endpoint."""

    def __init__(self, hosting: Hosting) -> None:
        self.hosting, self.cloud = hosting, hosting.cloud
        self._queues: dict[str, ThreadPoolExecutor] = {}
        self._lock = threading.Lock()

    def route(self, request: Request) -> Answer | None:
        """The operation, by its path."""
        parts = request.path.split("/")
        if (
            request.service != "sagemaker"
            or parts[1:2] != ["endpoints"]
            or parts[3:] != ["async-invocations"]
        ):
            return None
        request.call.operation = "InvokeEndpointAsync"
        endpoint = self.hosting.known(parts[2])
        if not endpoint.config.get("AsyncInferenceConfig"):
            text = f"Endpoint {endpoint.name} of account {ACCOUNT} does not take asynchronous invocations"
            raise Fault("ValidationError", text)
        given = {
            name.removeprefix("x-amzn-sagemaker-"): value
            for name, value in request.headers.items()
            if name.startswith("x-amzn-sagemaker-")
        }
        body = request.body(INLINE_BYTES)
        where = given.get("inputlocation", "")
        if body is None:
            raise Fault(
                "ValidationError", f"Body must have length less than or equal to {INLINE_BYTES} (A-02)"
            )
        if bool(body) == bool(where):
            raise Fault("ValidationError", "Exactly one of Body and InputLocation must be given (A-02)")
        if where and not self.cloud.storage(endpoint.role).exists(where):
            raise Fault("ValidationError", f"InputLocation {where}: there is no such object")
        seconds = _number(given, "invocationtimeoutseconds", TIMEOUT, 1, MOST_TIMEOUT)
        life = _number(given, "requestttlseconds", LIFE, 60, LIFE)
        identity = given.get("inference-id") or str(uuid.uuid4())
        output = endpoint.config["AsyncInferenceConfig"]["OutputConfig"]
        name = str(uuid.uuid4())
        result = f"{output['S3OutputPath'].rstrip('/')}/{name}.out"
        failure = (
            f"{output['S3FailurePath'].rstrip('/')}/{name}-error.out" if "S3FailurePath" in output else ""
        )
        task = _Task(
            self, endpoint, given, identity, where, body, result, failure, seconds, time.monotonic() + life
        )
        endpoint.waits(1)
        self._queue(endpoint).submit(task.run)
        told = {"X-Amzn-SageMaker-OutputLocation": result}
        if failure:
            told["X-Amzn-SageMaker-FailureLocation"] = failure
        answer = json_answer(202, {"InferenceId": identity})
        return Answer(202, answer.body, {**answer.headers, "Content-Type": "application/json", **told})

    def _queue(self, endpoint: Endpoint) -> ThreadPoolExecutor:
        with self._lock:
            if endpoint.name not in self._queues:
                client = endpoint.config["AsyncInferenceConfig"].get("ClientConfig", {})
                wide = client.get("MaxConcurrentInvocationsPerInstance", CONCURRENT)
                servers = sum(max(1, variant.count) for variant in endpoint.variants)
                self._queues[endpoint.name] = ThreadPoolExecutor(wide * servers)
            return self._queues[endpoint.name]


class _Task:
    """One invocation in the queue."""

    def __init__(
        self,
        service: Asynchronous,
        endpoint: Endpoint,
        given: dict[str, str],
        identity: str,
        where: str,
        body: bytes,
        result: str,
        failure: str,
        seconds: int,
        end: float,
    ) -> None:
        self.cloud, self.endpoint, self.given, self.identity = service.cloud, endpoint, given, identity
        self.where, self.body, self.result, self.failure = where, body, result, failure
        self.seconds, self.end = seconds, end
        self.received = now()

    def run(self) -> None:
        """Ask the container, write what it says, and send the message."""
        try:
            self._run()
        finally:
            self.endpoint.waits(-1)

    def _run(self) -> None:
        try:
            status, kind, content = self._ask()
            good = 200 <= status < 300
        except (Fault, ClientError, OSError, http.client.HTTPException) as error:
            good, kind, content = False, "text/plain", str(error).encode()
        except TimedOut:
            good, kind = False, "text/plain"
            content = f"no answer within {self.seconds} s (InvocationTimeoutSeconds)".encode()
        uri = self.result if good else self.failure
        try:
            if uri:
                self.cloud.storage(self.endpoint.role).put(uri, content, ContentType=kind)
        except (Fault, BotoCoreError) as error:
            good, content = False, str(error).encode()
        self._tell(good, kind, content)

    def _ask(self) -> tuple[int, str, bytes]:
        body = self.body
        if self.where:
            stream = self.cloud.storage(self.endpoint.role).read(*place(self.where))
            if stream.content_length > limits.ASYNC_BYTES:  # type: ignore[attr-defined]
                raise Fault("ValidationError", f"the object is longer than {limits.ASYNC_BYTES} bytes (A-02)")
            body = stream.read()
        names = {"content-type": "Content-Type", "accept": "Accept"}
        headers = {names[name]: self.given[name] for name in names if name in self.given}
        headers.setdefault("Content-Type", "application/octet-stream")
        headers["X-Amzn-SageMaker-Inference-Id"] = self.identity
        if attributes := self.given.get("custom-attributes"):
            headers["X-Amzn-SageMaker-Custom-Attributes"] = attributes
        while not any(variant.servers for variant in self.endpoint.variants):  # scaled to zero
            if time.monotonic() > self.end:
                raise Fault("ValidationError", "the request is older than RequestTTLSeconds")
            if self.cloud.pause(0.2):
                raise Fault("InternalFailure", "the emulator was ended")
        with self.endpoint.server(None) as (_, server):
            status, got, content = server.ask("POST", "/invocations", body, headers, self.seconds)
        return status, got.get("content-type", "application/octet-stream"), content

    def _tell(self, good: bool, kind: str, content: bytes) -> None:
        topics = self.endpoint.config["AsyncInferenceConfig"]["OutputConfig"].get("NotificationConfig", {})
        if not (topic := topics.get("SuccessTopic" if good else "ErrorTopic")):
            return
        stamp = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        message: dict[str, Any] = {
            "awsRegion": self.cloud.region,
            "eventTime": stamp,
            "receivedTime": self.received.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "invocationStatus": "Completed" if good else "Failed",
            "requestParameters": {"endpointName": self.endpoint.name, "inputLocation": self.where},
            "inferenceId": self.identity,
            "eventVersion": "1.0",
            "eventSource": "aws:sagemaker",
            "eventName": "InferenceResult",
        }
        if good:
            message["responseParameters"] = {"contentType": kind, "outputLocation": self.result}
        else:
            message["failureReason"] = content.decode(errors="replace")[: limits.FAILURE_CHARACTERS]
        try:
            self.cloud.client("sns", self.endpoint.role).publish(TopicArn=topic, Message=json.dumps(message))
        except ClientError as error:
            print(f"sagegen: no message to {topic}: {error}", file=sys.stderr)


def _number(given: dict[str, str], name: str, usual: int, least: int, most: int) -> int:
    text = given.get(name, str(usual))
    if not text.isdecimal() or not least <= int(text) <= most:
        raise Fault("ValidationError", f"{name} must be a number from {least} to {most} (A-03)")
    return int(text)
