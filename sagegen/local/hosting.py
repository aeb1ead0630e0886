"""Endpoints: their configurations and servers."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from sagegen.engine import TROUBLE, Closed
from sagegen.local.cloud import ACCOUNT, Cloud, Records, listed, now
from sagegen.local.models import Models, containers, is_multi
from sagegen.local.servers import Server, Trouble
from sagegen.local.wire import Fault, Handler, invalid, not_emulated
from sagegen.platform import limits

PING_SECONDS = 5.0  # between pings of a healthy server; how often is not documented (S-18)
PINGS_MISSED = 3  # before it is replaced; not documented either
ASKED_KEPT = 100_000
ALARM_SECONDS = 0.5  # between looks at the alarms of an update; not documented
#: How a new configuration gets its requests, and the member that says how many at a time.
SIZES = {"CANARY": "CanarySize", "LINEAR": "LinearStepSize"}
#: What RetainAllVariantProperties keeps.
RETAINED = frozenset(("DesiredInstanceCount", "DesiredWeight", "DataCaptureConfig"))
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
        images = [one.image for one in self.servers[0].containers] if self.servers else []
        deployed = [
            {"SpecifiedImage": part["Image"], "ResolutionTime": now()} for part in containers(self.model)
        ]
        for one, image in zip(deployed, images, strict=False):
            one["ResolvedImage"] = image.resolved
        found: dict[str, Any] = {
            "VariantName": self.name,
            "CurrentWeight": self.weight,
            "DesiredWeight": self.weight,
            "DeployedImages": deployed,
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
        #: Asynchronous invocations that wait or are being answered.
        self.backlog = 0
        #: During an update: the new variants, and their share of the requests.
        self._green: tuple[list[Variant], float] = ([], 0.0)
        self._random = random.Random(self.name)
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()
        self._deleted = False
        self._alarm = threading.Event()

    @property
    def is_asynchronous(self) -> bool:
        """Whether it takes asynchronous invocations, and no others (A-01)."""
        return bool(self.config.get("AsyncInferenceConfig"))

    def waits(self, more: int) -> None:
        """Count an asynchronous invocation that came (1) or has its answer (-1)."""
        with self._lock:
            self.backlog += more

    def look(self) -> None:
        """Look after the servers at once: one broke off."""
        self._alarm.set()

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

    def change(
        self, name: str, deployment: Mapping[str, Any] | None = None, retained: frozenset[str] = frozenset()
    ) -> None:
        """Bring up another configuration; the old one answers until all of the new one is healthy.

        `retained`: which of RETAINED the variants keep, whatever the new configuration says.
        """
        config = self.hosting.configs.get(name)
        if "DataCaptureConfig" in retained:
            config = {**config, "DataCaptureConfig": self.config.get("DataCaptureConfig", {})}
        built: list[Variant] = []
        try:
            reason = self._bring_up(config, built, retained)
            if reason is None and self.variants:
                reason = self._shift(built, deployment or {})
        except Exception as error:
            reason = str(error)
        if reason is None:
            with self._lock:
                old, self.variants, self.config = self.variants, built, config
                self._green = ([], 0.0)
                self.record.pop("FailureReason", None)
                self._is("InService", EndpointConfigName=name)
            self._end(old)
            if not old:
                self.cloud.begin(self._watch)
        else:
            with self._lock:
                self._green = ([], 0.0)
            self._end(built)
            # That an endpoint whose update failed is InService again is not documented.
            self._is("InService" if self.variants else "Failed", FailureReason=reason)
        if self._deleted:
            self._end(self.variants)

    def _bring_up(
        self, config: Mapping[str, Any], built: list[Variant], retained: frozenset[str]
    ) -> str | None:
        before = {variant.name: variant for variant in self.variants}
        for spec in config["ProductionVariants"]:
            variant = Variant(spec["VariantName"], spec, self.hosting.models.records.get(spec["ModelName"]))
            if old := before.get(variant.name):
                if "DesiredInstanceCount" in retained and not (variant.serverless or old.serverless):
                    variant.count = old.count
                if "DesiredWeight" in retained:
                    variant.weight = old.weight
            built.append(variant)
        wanted = [variant for variant in built for _ in range(variant.count)]
        with ThreadPoolExecutor(4) as pool:
            for trouble in pool.map(self._add, wanted):
                if trouble:
                    return trouble
        return None

    def _shift(self, built: list[Variant], deployment: Mapping[str, Any]) -> str | None:
        """Give the new variants the requests, step by step; the reason where an alarm takes them back."""
        policy = deployment.get("BlueGreenUpdatePolicy", {})
        routing = policy.get("TrafficRoutingConfiguration", {})
        alarms = [
            one["AlarmName"] for one in deployment.get("AutoRollbackConfiguration", {}).get("Alarms", ())
        ]
        for share in _shares(routing, sum(variant.count for variant in built)):
            with self._lock:
                self._green = (built, share)
            if alarm := self._bake(float(routing.get("WaitIntervalInSeconds", 0)), alarms):
                self._is("RollingBack")
                return f"The deployment was rolled back because the alarm {alarm} is in state ALARM."
        self.cloud.pause(float(policy.get("TerminationWaitInSeconds", 0)))
        return None

    def _bake(self, seconds: float, alarms: list[str]) -> str | None:
        """Wait so long; the alarm that went off meanwhile."""
        end = time.monotonic() + seconds
        while True:
            if alarms:
                told = self.cloud.client("cloudwatch").describe_alarms(AlarmNames=alarms)["MetricAlarms"]
                if alarm := next((one for one in told if one["StateValue"] == "ALARM"), None):
                    return str(alarm["AlarmName"])
            left = end - time.monotonic()
            if left <= 0 or self.cloud.pause(min(left, ALARM_SECONDS)):
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
            server.start(seconds, f"The primary container for production variant {variant.name}")
        except Closed:
            return "the emulator was ended"
        except (Trouble, RuntimeError, Fault, *TROUBLE) as error:
            if server:
                server.end()
            return str(error)
        with self._lock:  # not before it is healthy: from here on it is asked
            variant.servers.append(server)
        if self._deleted:
            server.end()
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
            green, share = self._green
            variants = green if green and self._random.random() < share else self.variants
            able = [variant for variant in variants if variant.servers]
            if target:
                if target not in [variant.name for variant in variants]:
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
    """The operations on endpoints and their configurations."""

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
        for name in ("ExplainerConfig", "ShadowProductionVariants"):
            if given.get(name):
                raise not_emulated(f"{name} of an endpoint configuration")
        if given.get("DataCaptureConfig"):
            if given.get("AsyncInferenceConfig"):
                raise not_emulated("DataCaptureConfig of an asynchronous endpoint")
            if any(variant.get("ServerlessConfig") for variant in given["ProductionVariants"]):
                raise invalid("A serverless endpoint captures no data (SV-07)")
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
        model = self.models.records.get(variant["ModelName"])
        if is_multi(containers(model)[0]) and (asynchronous or variant.get("ServerlessConfig")):
            raise not_emulated("serverless and asynchronous endpoints with Mode MultiModel")
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
        if capture := endpoint.config.get("DataCaptureConfig"):
            on = capture.get("EnableCapture", False)
            told["DataCaptureConfig"] = {
                "EnableCapture": on,
                "CaptureStatus": "Started" if on else "Stopped",
                "CurrentSamplingPercentage": capture["InitialSamplingPercentage"],
                "DestinationS3Uri": capture["DestinationS3Uri"],
                "KmsKeyId": capture.get("KmsKeyId", ""),
            }
        return {**endpoint.record, **told, **({"ProductionVariants": variants} if variants else {})}

    def update(self, given: dict[str, Any]) -> dict[str, Any]:
        """Replace an endpoint's configuration without losing a request."""
        if given.get("RetainDeploymentConfig"):
            raise not_emulated("RetainDeploymentConfig of UpdateEndpoint")
        retained = RETAINED if given.get("RetainAllVariantProperties") else frozenset()
        excluded = given.get("ExcludeRetainedVariantProperties", ())
        retained -= {one["VariantPropertyType"] for one in excluded}
        _check_deployment(given.get("DeploymentConfig", {}))
        endpoint = self._steady(given["EndpointName"])
        self.configs.get(given["EndpointConfigName"])
        endpoint.record["EndpointStatus"] = "Updating"
        self.cloud.begin(
            endpoint.change, given["EndpointConfigName"], given.get("DeploymentConfig"), retained
        )
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

    def known(self, name: str) -> Endpoint:
        """An endpoint that is asked for an answer. Raises Fault where there is none."""
        if name not in self.endpoints:
            raise Fault("ValidationError", f"Endpoint {name} of account {ACCOUNT} not found.")
        found: Endpoint = self.endpoints.get(name)
        return found

    def delete(self, given: dict[str, Any]) -> None:
        """DeleteEndpoint."""
        endpoint: Endpoint = self.endpoints.get(given["EndpointName"])
        if endpoint.record["EndpointStatus"] in ("Creating", "Updating", "Deleting"):
            raise invalid(f'Cannot update in-progress endpoint "{endpoint.record["EndpointArn"]}".')
        endpoint.record["EndpointStatus"] = "Deleting"
        self.cloud.begin(endpoint.delete)


def _check_deployment(config: Mapping[str, Any]) -> None:
    if config.get("RollingUpdatePolicy"):
        raise not_emulated("rolling updates")
    routing = config.get("BlueGreenUpdatePolicy", {}).get("TrafficRoutingConfiguration", {})
    for kind, size in SIZES.items():
        if (routing.get("Type") == kind) != (size in routing):
            raise invalid(f"{size} must be given with traffic routing {kind}, and with no other")


def _shares(routing: Mapping[str, Any], instances: int) -> Iterator[float]:
    """The share of the requests that the new servers get in each step of an update."""
    kind = routing.get("Type", "ALL_AT_ONCE")
    if kind in SIZES:
        size = routing[SIZES[kind]]
        step = size["Value"] / (100 if size["Type"] == "CAPACITY_PERCENT" else instances)
        share = step
        while share < 0.999:
            yield share
            share = share + step if kind == "LINEAR" else 1.0
    yield 1.0
