"""Endpoints: configurations, their servers, and invocations."""

from __future__ import annotations

import http.client
import itertools
import json
import random
import struct
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from sagegen.engine import TROUBLE, Closed
from sagegen.local.cloud import ACCOUNT, Cloud, Records, listed, now
from sagegen.local.front import Request, named
from sagegen.local.models import Models, Server, TimedOut, Trouble, container, whole
from sagegen.local.wire import Answer, Fault, Handler, identity, invalid, not_emulated
from sagegen.platform import limits

PING_SECONDS = 5.0  # between pings of a healthy server; how often is not documented (S-18)
PINGS_MISSED = 3  # before it is replaced; not documented either
ASKED_KEPT = 100_000
STREAM_SECONDS = 480.0  # S-22
HEADER_CHARACTERS = 1024  # S-25
#: Of the request, what the container is told (S-25).
PASSED = ("content-type", "accept", "x-amzn-sagemaker-custom-attributes", "x-amzn-sagemaker-inference-id",
          "x-amzn-sagemaker-target-variant", "x-amzn-sagemaker-session-id")  # fmt: skip
CPU_SHARE = 1 / 1769  # of a serverless endpoint's CPUs per MB; not documented


class Variant:
    """One production variant: its servers, and its share of the requests."""

    def __init__(self, name: str, spec: Mapping[str, Any], model: Mapping[str, Any]) -> None:
        self.name, self.spec, self.model = name, spec, model
        self.weight = float(spec.get("InitialVariantWeight", 1.0))
        self.count = 1 if "ServerlessConfig" in spec else int(spec["InitialInstanceCount"])
        self.servers: list[Server] = []
        #: When the last requests came.
        self.asked: deque[float] = deque(maxlen=ASKED_KEPT)

    def asked_since(self, moment: float) -> int:
        """How many requests came after a moment of the monotonic clock."""
        return sum(at > moment for at in list(self.asked))

    @property
    def serverless(self) -> Mapping[str, Any] | None:
        """Its ServerlessConfig."""
        return self.spec.get("ServerlessConfig")

    def summary(self) -> dict[str, Any]:
        """As DescribeEndpoint has it."""
        image = self.servers[0].image if self.servers else None
        deployed = {"SpecifiedImage": container(self.model)["Image"], "ResolutionTime": now()}
        found: dict[str, Any] = {
            "VariantName": self.name,
            "CurrentWeight": self.weight,
            "DesiredWeight": self.weight,
            "DeployedImages": [{**deployed, "ResolvedImage": image.resolved} if image else deployed],
        }
        if self.serverless:
            return {**found, "CurrentServerlessConfig": self.serverless}
        return {**found, "CurrentInstanceCount": len(self.servers), "DesiredInstanceCount": self.count}


class Endpoint:
    """One endpoint: its record, and the variants that answer."""

    def __init__(self, hosting: Hosting, given: Mapping[str, Any]) -> None:
        self.hosting, self.cloud, self.name = hosting, hosting.cloud, str(given["EndpointName"])
        at = now()
        self.record: dict[str, Any] = {
            **given,
            "EndpointArn": hosting.endpoints.arn(self.name),
            "EndpointStatus": "Creating",
            "CreationTime": at,
            "LastModifiedTime": at,
        }
        self.variants: list[Variant] = []
        self.config: Mapping[str, Any] = {}
        self._random = random.Random(self.name)
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()
        self._deleted = False
        #: A server broke off: look at once.
        self._alarm = threading.Event()

    def broke(self, server: Server, error: Exception) -> Fault:
        """A request whose server did not answer."""
        self._alarm.set()
        return model_error(self, server, 500, f"the container broke off: {error!r}")

    @property
    def group(self) -> str:
        """Its log group."""
        return f"/aws/sagemaker/Endpoints/{self.name}"

    @property
    def role(self) -> str | None:
        """What its first model's containers run as."""
        return self.variants[0].model.get("ExecutionRoleArn") if self.variants else None

    def _is(self, status: str, **more: Any) -> None:
        self.record.update(more, EndpointStatus=status, LastModifiedTime=now())

    def change(self, name: str) -> None:
        """Bring up another configuration; the old one answers until all of the new one is healthy."""
        config = self.hosting.configs.get(name)
        built: list[Variant] = []
        try:
            reason = self._bring_up(config, built)
        except Exception as error:
            reason = str(error)
        if reason is None:
            with self._lock:
                old, self.variants, self.config = self.variants, built, config
                self.record.pop("FailureReason", None)
                self._is("InService", EndpointConfigName=name)
            self._end(old)
            if not old:
                self.cloud.begin(self._watch)
        else:
            self._end(built)
            # That an endpoint whose update failed is InService again is not documented.
            self._is("InService" if self.variants else "Failed", FailureReason=reason)
        if self._deleted:
            self._end(self.variants)

    def _bring_up(self, config: Mapping[str, Any], built: list[Variant]) -> str | None:
        for spec in config["ProductionVariants"]:
            built.append(
                Variant(spec["VariantName"], spec, self.hosting.models.records.get(spec["ModelName"]))
            )
        wanted = [variant for variant in built for _ in range(variant.count)]
        with ThreadPoolExecutor(4) as pool:
            for trouble in pool.map(self._add, wanted):
                if trouble:
                    return trouble
        return None

    def _add(self, variant: Variant) -> str | None:
        """Start one server more; why it did not come up."""
        limited: dict[str, Any] = {}
        seconds = float(variant.spec.get("ContainerStartupHealthCheckTimeoutInSeconds", limits.STARTUP))
        if config := variant.serverless:
            megabytes = config["MemorySizeInMB"]
            limited = {"memory": megabytes * 2**20, "cpus": max(1.0, megabytes * CPU_SHARE)}
            seconds = limits.SERVERLESS_STARTUP
        stream = f"{variant.name}/i-{next(self._numbers):017x}"
        server = None
        try:
            server = Server(self.hosting.models, variant.model, self.group, stream, **limited)
            with self._lock:
                variant.servers.append(server)
            server.start(seconds, f"The primary container for production variant {variant.name}")
        except Closed:
            return "the emulator was ended"
        except (Trouble, RuntimeError, Fault, *TROUBLE) as error:
            if server:
                with self._lock:
                    variant.servers.remove(server)
                server.end()
            return str(error)
        return None

    @staticmethod
    def _end(variants: list[Variant]) -> None:
        servers = [server for variant in variants for server in variant.servers]
        if servers:
            with ThreadPoolExecutor(len(servers)) as pool:
                list(pool.map(Server.end, servers))

    def delete(self) -> None:
        """Take its servers away."""
        self._deleted = True
        with self._lock:
            old, self.variants = self.variants, []
        self._end(old)
        if self.name in self.hosting.endpoints:
            self.hosting.endpoints.remove(self.name)

    def scale(self, wanted: Mapping[str, Mapping[str, Any]]) -> None:
        """Set weights and numbers of servers."""
        reason = None
        for variant in self.variants:
            given = wanted.get(variant.name, {})
            variant.weight = float(given.get("DesiredWeight", variant.weight))
            variant.count = int(given.get("DesiredInstanceCount", variant.count))
            while len(variant.servers) < variant.count and reason is None:
                reason = self._add(variant)
            with self._lock:
                over, variant.servers = variant.servers[variant.count :], variant.servers[: variant.count]
            for server in over:
                server.end()
        self._is("InService", **({"FailureReason": reason} if reason else {}))

    def _watch(self) -> None:
        """Replace servers that have ended or do not answer pings."""
        missed: dict[Server, int] = {}
        while not self._deleted and not self.cloud.closed:
            self._alarm.wait(PING_SECONDS)
            self._alarm.clear()
            if self.record["EndpointStatus"] != "InService":
                continue
            for variant in self.variants:
                for server in list(variant.servers):
                    missed[server] = 0 if server.pings() else missed.get(server, 0) + 1
                    if missed[server] >= PINGS_MISSED or (missed[server] and not server.running):
                        self._add(variant)
                        with self._lock:
                            if server in variant.servers:
                                variant.servers.remove(server)
                        missed.pop(server)
                        self.cloud.begin(server.end)

    @contextmanager
    def server(self, target: str | None) -> Iterator[tuple[Variant, Server]]:
        """The server that a request goes to, busy for the block."""
        with self._lock:
            able = [variant for variant in self.variants if variant.servers]
            if target:
                if target not in [variant.name for variant in self.variants]:
                    raise Fault("ValidationError", f"Variant {target} not found for Request")
                able = [variant for variant in able if variant.name == target]
            elif len(able) > 1:
                able = [variant for variant in able if variant.weight > 0] or able
            if not able:
                text = f"Endpoint {self.name} of account {ACCOUNT} is not in service."
                raise Fault("ValidationError", text)
            weights = [variant.weight or 1.0 for variant in able]
            variant = self._random.choices(able, weights)[0]
            server = self._random.choice(variant.servers)
            most = (variant.serverless or {}).get("MaxConcurrency")
            if most and server.busy >= most:
                raise Fault("ThrottlingException", "Rate exceeded", 429)
            server.busy += 1
            variant.asked.append(time.monotonic())
        try:
            yield variant, server
        finally:
            with self._lock:
                server.busy -= 1


class Hosting:
    """The operations on endpoints and their configurations, and invocations."""

    def __init__(self, cloud: Cloud, models: Models) -> None:
        self.cloud, self.models = cloud, models
        self.configs = Records(cloud, "endpoint-config", "endpoint configuration")
        self.endpoints = Records(cloud, "endpoint", "endpoint")
        self.handlers: dict[str, Handler] = {
            "CreateEndpointConfig": self.create_config,
            "DescribeEndpointConfig": lambda given: self.configs.get(given["EndpointConfigName"]),
            "DeleteEndpointConfig": lambda given: self.configs.remove(given["EndpointConfigName"]) and None,
            "ListEndpointConfigs": lambda given: listed(
                list(self.configs), given, "EndpointConfigs", name="EndpointConfigName"
            ),
            "CreateEndpoint": self.create,
            "DescribeEndpoint": self.describe,
            "UpdateEndpoint": self.update,
            "UpdateEndpointWeightsAndCapacities": self.scale,
            "DeleteEndpoint": self.delete,
            "ListEndpoints": lambda given: listed(
                [endpoint.record for endpoint in self.endpoints],
                given,
                "Endpoints",
                name="EndpointName",
                status="EndpointStatus",
            ),
        }

    def create_config(self, given: dict[str, Any]) -> dict[str, Any]:
        """Judge a configuration, and keep it."""
        for name in ("DataCaptureConfig", "ExplainerConfig", "ShadowProductionVariants"):
            if given.get(name):
                raise not_emulated(f"{name} of an endpoint configuration")
        names = [variant["VariantName"] for variant in given["ProductionVariants"]]
        if len(set(names)) < len(names):
            raise invalid("The names of the production variants must be unique")
        for variant in given["ProductionVariants"]:
            self._check(variant, len(names), bool(given.get("AsyncInferenceConfig")))
        record = {
            **given,
            "EndpointConfigArn": self.configs.arn(given["EndpointConfigName"]),
            "CreationTime": now(),
        }
        self.configs.add(given["EndpointConfigName"], record)
        self.cloud.tag(record["EndpointConfigArn"], given)
        return {"EndpointConfigArn": record["EndpointConfigArn"]}

    def _check(self, variant: Mapping[str, Any], variants: int, asynchronous: bool) -> None:
        if "ModelName" not in variant:
            raise not_emulated("inference components (a variant without ModelName)")
        for name in (
            "ManagedInstanceScaling",
            "CoreDumpConfig",
            "InferenceAmiVersion",
            "CapacityReservationConfig",
        ):
            if variant.get(name):
                raise not_emulated(f"{name} of a variant")
        self.models.records.get(variant["ModelName"])
        if serverless := variant.get("ServerlessConfig"):
            if variant.get("InstanceType") or variant.get("InitialInstanceCount"):
                raise invalid("A serverless variant has neither InstanceType nor InitialInstanceCount")
            if serverless["MemorySizeInMB"] % 1024:
                raise invalid("MemorySizeInMB must be a multiple of 1024 (SV-02)")
            if asynchronous:
                raise invalid("A serverless endpoint takes no asynchronous invocations (SV-07)")
            if variants > 1:
                raise invalid("A serverless endpoint has one production variant (SV-07)")
        elif not variant.get("InstanceType") or not variant.get("InitialInstanceCount"):
            name = variant["VariantName"]
            raise invalid(f"The variant {name} must have InstanceType and InitialInstanceCount")

    def create(self, given: dict[str, Any]) -> dict[str, Any]:
        """Start an endpoint."""
        if given.get("DeploymentConfig"):
            _check_deployment(given["DeploymentConfig"])
        self.configs.get(given["EndpointConfigName"])
        endpoint = Endpoint(self, given)
        self.endpoints.add(endpoint.name, endpoint)
        self.cloud.tag(endpoint.record["EndpointArn"], given)
        self.cloud.begin(endpoint.change, given["EndpointConfigName"])
        return {"EndpointArn": endpoint.record["EndpointArn"]}

    def describe(self, given: dict[str, Any]) -> dict[str, Any]:
        """DescribeEndpoint."""
        endpoint: Endpoint = self.endpoints.get(given["EndpointName"])
        variants = [variant.summary() for variant in endpoint.variants]
        told = {"AsyncInferenceConfig": endpoint.config.get("AsyncInferenceConfig")}
        return {**endpoint.record, **told, **({"ProductionVariants": variants} if variants else {})}

    def update(self, given: dict[str, Any]) -> dict[str, Any]:
        """Replace an endpoint's configuration without losing a request."""
        for name in (
            "RetainAllVariantProperties",
            "ExcludeRetainedVariantProperties",
            "RetainDeploymentConfig",
        ):
            if given.get(name):
                raise not_emulated(f"{name} of UpdateEndpoint")
        _check_deployment(given.get("DeploymentConfig", {}))
        endpoint = self._steady(given["EndpointName"])
        self.configs.get(given["EndpointConfigName"])
        endpoint.record["EndpointStatus"] = "Updating"
        self.cloud.begin(endpoint.change, given["EndpointConfigName"])
        return {"EndpointArn": endpoint.record["EndpointArn"]}

    def scale(self, given: dict[str, Any]) -> dict[str, Any]:
        """UpdateEndpointWeightsAndCapacities."""
        endpoint = self._steady(given["EndpointName"])
        wanted = {one["VariantName"]: one for one in given["DesiredWeightsAndCapacities"]}
        if missing := wanted.keys() - {variant.name for variant in endpoint.variants}:
            raise invalid(f"The variant {sorted(missing)[0]} does not exist in the endpoint {endpoint.name}")
        if any(one.get("ServerlessUpdateConfig") for one in wanted.values()):
            raise not_emulated("ServerlessUpdateConfig")
        endpoint.record["EndpointStatus"] = "Updating"
        self.cloud.begin(endpoint.scale, wanted)
        return {"EndpointArn": endpoint.record["EndpointArn"]}

    def _steady(self, name: str) -> Endpoint:
        endpoint: Endpoint = self.endpoints.get(name)
        if endpoint.record["EndpointStatus"] not in ("InService", "Failed"):
            raise invalid(f'Cannot update in-progress endpoint "{endpoint.record["EndpointArn"]}".')
        return endpoint

    def delete(self, given: dict[str, Any]) -> None:
        """DeleteEndpoint."""
        endpoint: Endpoint = self.endpoints.get(given["EndpointName"])
        if endpoint.record["EndpointStatus"] in ("Creating", "Updating", "Deleting"):
            raise invalid(f'Cannot update in-progress endpoint "{endpoint.record["EndpointArn"]}".')
        endpoint.record["EndpointStatus"] = "Deleting"
        self.cloud.begin(endpoint.delete)

    # --- invocations ------------------------------------------------------------------------------------

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

    def known(self, name: str) -> Endpoint:
        """An endpoint that is asked for an answer. Raises Fault where there is none."""
        if name not in self.endpoints:
            raise Fault("ValidationError", f"Endpoint {name} of account {ACCOUNT} not found.")
        found: Endpoint = self.endpoints.get(name)
        return found

    def _prepare(self, name: str, request: Request) -> tuple[Endpoint, bytes, dict[str, str]]:
        endpoint = self.known(name)
        if endpoint.config.get("AsyncInferenceConfig"):
            text = f"Endpoint {name} of account {ACCOUNT} takes asynchronous invocations alone (A-01)"
            raise Fault("ValidationError", text)
        serverless = bool(endpoint.variants and endpoint.variants[0].serverless)
        limit = limits.SERVERLESS_BYTES if serverless else limits.INVOCATION_BYTES
        given = request.headers
        for header in (
            "target-model",
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
            if len(value) > HEADER_CHARACTERS:
                text = f"'{header}' must have length less than or equal to {HEADER_CHARACTERS}"
                raise Fault("ValidationError", f"1 validation error detected: {text}")
        passed.setdefault("content-type", "application/octet-stream")
        return endpoint, body, passed

    def invoke(self, name: str, request: Request) -> Answer:
        """InvokeEndpoint: 60 s, and a ModelError where the container does not answer 2xx (S-22, S-28)."""
        endpoint, body, headers = self._prepare(name, request)
        with endpoint.server(headers.get("x-amzn-sagemaker-target-variant")) as (variant, server):
            try:
                status, got, content = server.ask("POST", "/invocations", body, headers)
            except TimedOut:
                raise timed_out(endpoint, server) from None
            except (OSError, http.client.HTTPException) as error:
                raise endpoint.broke(server, error) from error
        if not 200 <= status < 300:
            raise model_error(endpoint, server, status, content.decode(errors="replace"))
        if len(content) > limits.INVOCATION_BYTES:
            text = f"the response is longer than {limits.INVOCATION_BYTES} bytes"
            raise model_error(endpoint, server, status, text)
        answer = {
            "Content-Type": got.get("content-type", "application/octet-stream"),
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
        headers["accept"] = request.headers.get("x-amzn-sagemaker-accept", "*/*")
        place = endpoint.server(headers.get("x-amzn-sagemaker-target-variant"))
        variant, server = place.__enter__()
        try:
            got = server.open(body, headers, STREAM_SECONDS)
            if not 200 <= got.status < 300:
                raise model_error(endpoint, server, got.status, got.read().decode(errors="replace"))
        except TimeoutError:
            place.__exit__(None, None, None)
            raise timed_out(endpoint, server) from None
        except (OSError, http.client.HTTPException) as error:
            place.__exit__(None, None, None)
            raise endpoint.broke(server, error) from error
        except Fault:
            place.__exit__(None, None, None)
            raise

        def events() -> Iterator[bytes]:
            deadline = time.monotonic() + STREAM_SECONDS
            try:
                size = 0
                while chunk := got.read1(2**16):
                    if time.monotonic() > deadline:
                        raise TimeoutError
                    size += len(chunk)
                    yield event("PayloadPart", chunk)
                whole(got, size)
            except TimeoutError:
                text = f"the stream took more than {STREAM_SECONDS:g} s"
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


def _check_deployment(config: Mapping[str, Any]) -> None:
    policy = config.get("BlueGreenUpdatePolicy", {})
    if config.get("RollingUpdatePolicy") or config.get("AutoRollbackConfiguration"):
        raise not_emulated("rolling updates and rollbacks by alarm")
    if (kind := policy.get("TrafficRoutingConfiguration", {}).get("Type", "ALL_AT_ONCE")) != "ALL_AT_ONCE":
        raise not_emulated(f"traffic routing {kind}")


def model_error(endpoint: Endpoint, server: Server, status: int, text: str) -> Fault:
    """The container's own error, as the client sees it (S-28)."""
    region = endpoint.cloud.region
    link = f"https://{region}.console.aws.amazon.com/cloudwatch/home#logEventViewer:group={endpoint.group}"
    side = "client" if 400 <= status < 500 else "server"
    message = (
        f'Received {side} error ({status}) from primary with message "{text}". '
        f"See {link} in account {ACCOUNT} for more information."
    )
    return Fault(
        "ModelError",
        message,
        424,
        OriginalStatusCode=status,
        OriginalMessage=text[:2048],
        LogStreamArn=server.log.arn,
    )


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
