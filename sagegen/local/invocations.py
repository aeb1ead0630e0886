"""Invocations: a request goes to a server of an endpoint, and its answer back, whole or as a stream."""

from __future__ import annotations

import http.client
import json
import struct
import time
import zlib
from collections.abc import Callable, Iterator

from sagegen.local.capture import capture, wanted
from sagegen.local.cloud import ACCOUNT
from sagegen.local.front import Request, named
from sagegen.local.hosting import Endpoint, Hosting
from sagegen.local.servers import Server, TimedOut, whole
from sagegen.local.wire import Answer, Fault, identity, not_emulated
from sagegen.platform import limits

#: Of the request, what the container is told (S-25).
PASSED = ("content-type", "accept", "x-amzn-sagemaker-custom-attributes", "x-amzn-sagemaker-inference-id",
          "x-amzn-sagemaker-target-variant", "x-amzn-sagemaker-target-model",
          "x-amzn-sagemaker-session-id")  # fmt: skip


class Invocations:
    """The operations of the runtime that wait for the answer."""

    def __init__(self, hosting: Hosting) -> None:
        self.hosting = hosting

    def route(self, request: Request) -> Answer | None:
        """InvokeEndpoint and its kin, by their paths."""
        parts = request.path.split("/")
        if request.service != "sagemaker" or len(parts) != 4 or parts[1] != "endpoints":
            return None
        ways: dict[str, tuple[str, Callable[[str, Request], Answer]]] = {
            "invocations": ("InvokeEndpoint", self.invoke),
            "invocations-response-stream": ("InvokeEndpointWithResponseStream", self.stream),
        }
        if parts[3] not in ways:
            raise not_emulated(f"sagemaker-runtime ({parts[3]})")
        request.call.operation, way = ways[parts[3]]
        return way(parts[2], request)

    def _prepare(self, name: str, request: Request) -> tuple[Endpoint, bytes, dict[str, str]]:
        endpoint = self.hosting.known(name)
        if endpoint.config.get("AsyncInferenceConfig"):
            text = f"Endpoint {name} of account {ACCOUNT} takes asynchronous invocations alone (A-01)"
            raise Fault("ValidationError", text)
        serverless = bool(endpoint.variants and endpoint.variants[0].serverless)
        limit = limits.SERVERLESS_BYTES if serverless else limits.INVOCATION_BYTES
        given = request.headers
        for header in (
            "target-container-hostname",
            "enable-explanations",
            "inference-component",
        ):
            if given.get(f"x-amzn-sagemaker-{header}"):
                raise not_emulated(f"X-Amzn-SageMaker-{header.title()}")
        body = request.body(limit)
        if body is None:
            raise Fault("ValidationError", f"The request's body is longer than {limit} bytes (S-23)", 413)
        passed = named(given, *PASSED)
        for header, value in passed.items():
            if len(value) > limits.HEADER_CHARACTERS:
                text = f"'{header}' must have length less than or equal to {limits.HEADER_CHARACTERS}"
                raise Fault("ValidationError", f"1 validation error detected: {text}")
        passed.setdefault("content-type", "application/octet-stream")
        return endpoint, body, passed

    def invoke(self, name: str, request: Request) -> Answer:
        """InvokeEndpoint: 60 s, and a ModelError where the container does not answer 2xx (S-22, S-28)."""
        endpoint, body, headers = self._prepare(name, request)
        target = headers.get("x-amzn-sagemaker-target-model")
        with endpoint.server(headers.get("x-amzn-sagemaker-target-variant")) as (variant, server):
            if bool(target) != bool(server.shelf):
                wrong = "needs" if server.shelf else "takes no"
                text = f"Endpoint {name} of account {ACCOUNT} {wrong} TargetModel: "
                raise Fault("ValidationError", f"{text}its model's Mode decides")
            try:
                if server.shelf and target:
                    status, got, content = server.shelf.invoke(target, body, headers)
                else:
                    status, got, content = server.ask("POST", "/invocations", body, headers)
            except TimedOut:
                raise timed_out(endpoint, server) from None
            except (OSError, http.client.HTTPException) as error:
                raise broke_off(endpoint, server, error) from error
        if not 200 <= status < 300:
            who = got.get("container", "primary")
            raise model_error(endpoint, server, status, content.decode(errors="replace"), who)
        if len(content) > limits.INVOCATION_BYTES:
            text = f"the response is longer than {limits.INVOCATION_BYTES} bytes"
            raise model_error(endpoint, server, status, text)
        kind = got.get("content-type", "application/octet-stream")
        if config := wanted(endpoint):
            sides = {"Input": (headers["content-type"], body), "Output": (kind, content)}
            endpoint.cloud.begin(capture, endpoint, variant.name, config, headers, sides)
        answer = {
            "Content-Type": kind,
            "x-Amzn-Invoked-Production-Variant": variant.name,
            "x-amzn-RequestId": identity(),
        }
        for header in ("Custom-Attributes", "New-Session-Id", "Closed-Session-Id"):
            if value := got.get(f"x-amzn-sagemaker-{header}".lower()):
                answer[f"X-Amzn-SageMaker-{header}"] = value
        return Answer(200, content, answer)

    def stream(self, name: str, request: Request) -> Answer:
        """InvokeEndpointWithResponseStream: the container's chunks as events, 8 minutes at most (S-22)."""
        endpoint, body, headers = self._prepare(name, request)
        if endpoint.config.get("DataCaptureConfig", {}).get("EnableCapture"):
            raise not_emulated("data capture of a response stream")
        headers["accept"] = request.headers.get("x-amzn-sagemaker-accept", "*/*")
        place = endpoint.server(headers.get("x-amzn-sagemaker-target-variant"))
        variant, server = place.__enter__()
        try:
            if server.shelf or len(server.containers) > 1:
                raise not_emulated("response streams of pipelines and multi-model endpoints")
            got = server.open(body, headers, limits.STREAM)
            if not 200 <= got.status < 300:
                raise model_error(endpoint, server, got.status, got.read().decode(errors="replace"))
        except TimeoutError:
            place.__exit__(None, None, None)
            raise timed_out(endpoint, server) from None
        except (OSError, http.client.HTTPException) as error:
            place.__exit__(None, None, None)
            raise broke_off(endpoint, server, error) from error
        except Fault:
            place.__exit__(None, None, None)
            raise

        def events() -> Iterator[bytes]:
            deadline = time.monotonic() + limits.STREAM
            try:
                size = 0
                while chunk := got.read1(2**16):
                    if time.monotonic() > deadline:
                        raise TimeoutError
                    size += len(chunk)
                    yield event("PayloadPart", chunk)
                whole(got, size)
            except TimeoutError:
                text = f"the stream took more than {limits.STREAM:g} s"
                yield stream_error("ModelInvocationTimeExceeded", text)
            except (OSError, http.client.HTTPException) as error:
                yield stream_error("StreamBroken", f"the container broke off: {error}")
            finally:
                got.close()
                place.__exit__(None, None, None)

        told = {
            "Content-Type": "application/vnd.amazon.eventstream",
            "X-Amzn-SageMaker-Content-Type": got.getheader("Content-Type") or "application/octet-stream",
            "x-Amzn-Invoked-Production-Variant": variant.name,
        }
        return Answer(200, events(), told)


def model_error(
    endpoint: Endpoint, server: Server, status: int, text: str, container: str = "primary"
) -> Fault:
    """The container's own error, as the client sees it (S-28)."""
    region = endpoint.cloud.region
    link = f"https://{region}.console.aws.amazon.com/cloudwatch/home#logEventViewer:group={endpoint.group}"
    side = "client" if 400 <= status < 500 else "server"
    message = (
        f'Received {side} error ({status}) from {container} with message "{text}". '
        f"See {link} in account {ACCOUNT} for more information."
    )
    return Fault(
        "ModelError",
        message,
        424,
        OriginalStatusCode=status,
        OriginalMessage=text[: limits.ERROR_BYTES],
        LogStreamArn=server.log.arn,
    )


def broke_off(endpoint: Endpoint, server: Server, error: Exception) -> Fault:
    """A request whose server did not answer."""
    endpoint.look()
    return model_error(endpoint, server, 500, f"the container broke off: {error!r}")


def timed_out(endpoint: Endpoint, server: Server) -> Fault:
    """No answer in time."""
    text = (
        "Your invocation timed out while waiting for a response from container primary. Review the latency"
        " metrics for each container in Amazon CloudWatch, resolve the issue, and try again."
    )
    return model_error(endpoint, server, 0, text)


def stream_error(code: str, text: str) -> bytes:
    """The end of a stream that went wrong."""
    body = json.dumps({"Message": text, "ErrorCode": code}).encode()
    return event("ModelStreamError", body, kind="exception")


def event(name: str, payload: bytes, kind: str = "event") -> bytes:
    """One message of application/vnd.amazon.eventstream."""
    headers = {f":{kind}-type": name, ":content-type": "application/octet-stream", ":message-type": kind}
    written = b"".join(
        bytes([len(key)]) + key.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for key, value in headers.items()
    )
    prelude = struct.pack(">II", 16 + len(written) + len(payload), len(written))
    data = prelude + struct.pack(">I", zlib.crc32(prelude)) + written + payload
    return data + struct.pack(">I", zlib.crc32(data))
