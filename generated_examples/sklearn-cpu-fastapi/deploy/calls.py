"""Every call to AWS: checked against AWS's model, shown, recorded in the ledger, explained if it fails."""

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import boto3
from botocore import exceptions
from botocore.config import Config
from botocore.validate import ParamValidator

from deploy.settings import ROOT, Refusal

#: What code and message of an error mean, and the way out.
WAYS_OUT = {
    r"^Expired": "your AWS session has expired: run 'aws sso login', or get new keys",
    r"InvalidClientTokenId|UnrecognizedClient|SignatureDoesNotMatch|InvalidAccessKeyId|AuthFailure":
        "AWS does not know these keys here: run 'aws configure' or 'aws sso login', set AWS_PROFILE, "
        "or enable the region for your account",
    r"^403 ": "this bucket is another account's: name your own in deploy/settings.toml",
    r"AccessDenied|Unauthorized|NotAuthorized": "ask your administrator for this right",
    r"LimitExceeded|Quota": "ask for more in Service Quotas, or change the instances in deploy/settings.toml",
    r"NoSuchBucket": "run 'make up', or name your bucket in deploy/settings.toml",
    r"Throttl|TooManyRequests": "AWS asks for patience: run this again in a minute",
    r"lready exist": "use another name in deploy/settings.toml",
    r"in.progress|annot update": "something else changes it: 'make status' says what it does",
}  # fmt: skip
MISSING = r"NotFound|NoSuch|^404|(?i:not found|could not find|not exist)"
TARGET = ("ServiceNamespace", "ResourceId", "ScalableDimension")
#: What removes what a call made, and the members that name it. What uses comes before what is used.
UNDO = {
    "put_scaling_policy": ("delete_scaling_policy", ("PolicyName", *TARGET)),
    "register_scalable_target": ("deregister_scalable_target", TARGET[1:] + TARGET[:1]),
    "put_metric_alarm": ("delete_alarms", ("AlarmName",)),
    "create_hyper_parameter_tuning_job": (
        "stop_hyper_parameter_tuning_job",
        ("HyperParameterTuningJobName",),
    ),
    "create_training_job": ("stop_training_job", ("TrainingJobName",)),
    "create_transform_job": ("stop_transform_job", ("TransformJobName",)),
    "create_endpoint": ("delete_endpoint", ("EndpointName",)),
    "create_endpoint_config": ("delete_endpoint_config", ("EndpointConfigName",)),
    "create_model": ("delete_model", ("ModelName",)),
    "(log group)": ("delete_log_group", ("logGroupName",)),
    "(objects)": ("delete_objects", ("Bucket", "Prefix")),
    "(image)": ("batch_delete_image", ("repositoryName", "imageIds")),
    "create_stack": ("delete_stack", ("StackName",)),
}


class Aws:
    """Your account, as the settings see it."""

    def __init__(self, settings: dict[str, Any], dry_run: bool = False, yes: bool = False) -> None:
        self.settings, self.dry_run, self.yes = settings, dry_run, yes
        self.region: str = settings["region"]
        try:
            self._session = boto3.Session(region_name=self.region)
        except exceptions.BotoCoreError as error:  # AWS_PROFILE, or ~/.aws/config
            raise Refusal(f"{error} – run 'aws configure', or set AWS_PROFILE") from error
        known = [r for p in self._session.get_available_partitions()
                 for r in self._session.get_available_regions("sagemaker", p)]  # fmt: skip
        if self.region not in known:
            raise Refusal(f"no region is called {self.region} – see region in deploy/settings.toml")
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        if service not in self._clients:
            config = Config(retries={"mode": "standard"}, connect_timeout=10, read_timeout=70)
            self._clients[service] = self._session.client(service, config=config)
        return self._clients[service]

    @cached_property
    def account(self) -> str:
        """The 12 digits. A dry run without credentials has zeros."""
        try:
            return str(self._send("sts", "get_caller_identity", {})["Account"])
        except Refusal as refusal:
            if not self.dry_run:
                raise
            print(f"{refusal}\nWithout AWS this shows what a first run would call.", file=sys.stderr)
            return "0" * 12

    @cached_property
    def ledger(self) -> "Ledger":
        return Ledger(ROOT / f"deploy/ledger/{self.account}-{self.region}.json", frozen=self.dry_run)

    @property
    def partition(self) -> str:
        """`aws`, or that of China or GovCloud: ARNs begin with it."""
        return str(self._session.get_partition_for_region(self.region))

    @property
    def bucket(self) -> str:
        return self.settings["bucket"] or f"{self.settings['name']}-{self.account}-{self.region}"

    @property
    def role(self) -> str:
        """The role of jobs and endpoints: yours, or the one that `up` made."""
        role = self.settings["role"] or self.ledger.facts.get("role")
        if not role and not self.dry_run:
            raise Refusal("there is no role yet – run 'make up', or name one in deploy/settings.toml")
        return role or f"arn:aws:iam::{self.account}:role/made-by-up"

    def fact(self, name: str, verb: str, dry: Any = "unknown") -> Any:
        """What an earlier verb found out. Raises Refusal that names the verb to run first."""
        if name not in self.ledger.facts and not self.dry_run:
            raise Refusal(f"nothing knows the {name} yet – run 'make {verb}' first")
        return self.ledger.facts.get(name, dry)

    # --- calls

    def ask(self, service: str, operation: str, **request: Any) -> Any:
        """The answer to a call that changes nothing; None if what it asks for does not exist."""
        if self.account == "0" * 12:
            return None
        try:
            return self._send(service, operation, request)
        except Refusal as refusal:
            if isinstance(refusal.__cause__, exceptions.ClientError):
                error = refusal.__cause__.response["Error"]
                if error["Code"] != "ModelError" and re.search(
                    MISSING, f"{error['Code']} {error['Message']}"
                ):
                    return None
            raise

    def change(self, service: str, operation: str, **request: Any) -> Any:
        """Make a call that changes something. What it makes is in the ledger before the call."""
        request = self.complete(service, operation, request)
        self.check(service, operation, request)
        undo, members = UNDO.get(operation, ("", [one for one in request if one.endswith("Name")]))
        what = f"{operation.partition('_')[2].replace('_', ' ')} {request[members[0]]}"
        removal = {member: request[member] for member in members}
        if undo == "delete_alarms":
            removal = {"AlarmNames": [request["AlarmName"]]}
        if self.dry_run:
            shown = json.dumps(request, indent=2, default=lambda value: f"<{type(value).__name__}>")
            print(f"{service}.{operation}\n{shown}")
            return {}
        new = undo and self.ledger.begin(what, service, undo, removal)
        try:
            answer = self._send(service, operation, request)
        except Refusal as refusal:
            if new and isinstance(refusal.__cause__, exceptions.ClientError):
                self.ledger.forget(what)  # AWS refused: nothing was made
            raise
        print(f"{operation.partition('_')[0]:8}  {what}")
        return answer

    def _send(self, service: str, operation: str, request: Mapping[str, Any]) -> Any:
        try:
            return getattr(self.client(service), operation)(**request)
        except exceptions.ClientError as error:
            code, message = (str(error.response["Error"].get(key, "")) for key in ("Code", "Message"))
            way = next((way for sign, way in WAYS_OUT.items() if re.search(sign, f"{code} {message}")), "")
            said = " ".join(f"{operation}: {message or code}".split()).rstrip(".")
            raise Refusal(said + (f" – {way}" if way else f" ({code})")) from error
        except exceptions.BotoCoreError as error:
            way = "run 'aws configure' or 'aws sso login', or set AWS_PROFILE"
            if isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError):
                way = f"check network, proxy and the region {self.region}"
            raise Refusal(f"{operation}: {' '.join(str(error).split())} – {way}") from error

    def _shape(self, service: str, operation: str) -> Any:
        meta = self.client(service).meta
        return meta.service_model.operation_model(meta.method_to_api_mapping[operation]).input_shape

    def check(self, service: str, operation: str, request: Mapping[str, Any]) -> None:
        """Judge a request by AWS's own model, as AWS would. Raises Refusal with the member's name."""
        shape = self._shape(service, operation)
        report = ParamValidator().validate(request, shape)
        found = " ".join(report.generate_report().split()) or next(problems(shape, request), "")
        if found:
            raise Refusal(f"{operation}: {found} – see deploy/settings.toml")

    def complete(self, service: str, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """The request with the settings' tags, keys, network and isolation, wherever it has such members."""
        return self._complete(self._shape(service, operation), request)

    def _complete(self, shape: Any, request: Mapping[str, Any]) -> dict[str, Any]:
        security, done = self.settings["security"], dict(request)
        tags = self.settings["tags"]
        pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
        network = {"Subnets": security["subnets"], "SecurityGroupIds": security["security_groups"]}
        values = {
            "VpcConfig": network if security["subnets"] else None,
            "EnableNetworkIsolation": security["network_isolation"],
            "KmsKeyId": security["kms_key"],
            "VolumeKmsKeyId": security["volume_kms_key"],
            "SSEKMSKeyId": security["kms_key"],
            "ServerSideEncryption": "aws:kms" if security["kms_key"] else None,
            "Tagging": urlencode(tags),
        }
        if shape.name == "CreateEndpointConfigInput":  # its network is that of inference components
            serverless = "ServerlessConfig" in request["ProductionVariants"][0]
            values |= {"VpcConfig": None, "EnableNetworkIsolation": None}
            values["KmsKeyId"] = None if serverless else security["volume_kms_key"]
        for name, member in shape.members.items():
            if name in request:
                if member.type_name == "structure":
                    done[name] = self._complete(member, request[name])
            elif name == "Tags" and tags:
                done[name] = pairs if member.type_name == "list" else tags
            elif values.get(name):
                done[name] = values[name]
        return done

    # --- what several verbs need

    def put(self, file: Path, key: str) -> str:
        """Send a file to the bucket, in parts if it is large; its URI."""
        more = self.complete("s3", "put_object", {"Bucket": self.bucket, "Key": key})
        if self.dry_run:
            print(f"s3.upload_fileobj  # {file}\n{json.dumps(more, indent=2)}")
        else:
            place = {name: more.pop(name) for name in ("Bucket", "Key")}
            with file.open("rb") as body:
                self._send("s3", "upload_fileobj", {"Fileobj": body, **place, "ExtraArgs": more})
        return f"s3://{self.bucket}/{key}"

    def own_prefix(self, prefix: str) -> str:
        """Write into the ledger that everything below the prefix is this repository's; its URI."""
        uri = f"s3://{self.bucket}/{prefix}"
        removal = {"Bucket": self.bucket, "Prefix": prefix}
        self.ledger.begin(f"objects {uri}", "s3", "delete_objects", removal)
        return uri

    def keys(self, prefix: str, bucket: str = "") -> dict[str, int]:
        """{key: bytes} of the objects below a prefix."""
        found: dict[str, int] = {}
        request: dict[str, Any] = {"Bucket": bucket or self.bucket, "Prefix": prefix}
        while page := self.ask("s3", "list_objects_v2", **request):
            found |= {one["Key"]: one["Size"] for one in page.get("Contents", ())}
            if not page.get("NextContinuationToken"):
                break
            request["ContinuationToken"] = page["NextContinuationToken"]
        return found

    def wait(self, what: str, ask: Callable[[], Any], status: str) -> Any:
        """Ask until the status is none of those in which AWS works; the last answer, None if it is gone."""
        started, said = time.monotonic(), ""
        while not self.dry_run and (answer := ask()):
            now = answer.get("SecondaryStatus") or answer[status]
            if now != said:
                said = now
                print(f"{time.monotonic() - started:5.0f} s  {what}: {now}")
            if not re.search(r"ing$|InProgress|IN_PROGRESS", answer[status]):
                return answer
            time.sleep(self.settings["poll_seconds"])
        return None

    def endpoint(self) -> Any:
        """What AWS says of the endpoint; None if there is none."""
        return self.ask("sagemaker", "describe_endpoint", EndpointName=self.settings["name"])

    def settled_endpoint(self) -> Any:
        """The same, as soon as nothing changes it any more."""
        what = f"endpoint {self.settings['name']}"
        return self.wait(what, self.endpoint, "EndpointStatus") or self.endpoint()

    def confirm(self, instance: str, count: int, what: str) -> None:
        """Say what an hour costs, and ask. Raises Refusal unless the answer is yes."""
        price = self.settings["prices"].get(instance)
        cost = f"{price * count:.2f} an hour" if price else "a price that is not under [prices]"
        print(f"{what} runs on {count} {instance}, for {cost}.")
        if self.yes or self.dry_run:
            return
        if not sys.stdin.isatty():
            raise Refusal("this costs money, and there is nobody to ask – add --yes (make … ARGS=--yes)")
        if input("Go on? [y/N] ").strip().lower() not in ("y", "yes"):
            raise Refusal("nothing was started")


def problems(shape: Any, value: Any, path: str = "") -> Iterator[str]:
    """What AWS's model has against a value whose types are right: choices, patterns, lengths and bounds."""
    limits, kind = shape.metadata, shape.type_name
    if kind == "structure":
        for name, member in value.items():
            yield from problems(shape.members[name], member, f"{path}.{name}".lstrip("."))
    elif kind in ("list", "map"):
        for part in value if kind == "list" else value.values():
            yield from problems(shape.member if kind == "list" else shape.value, part, path)
    size = value if kind in ("integer", "long", "float", "double") else None
    size = len(value) if kind in ("string", "list", "map") else size
    if size is not None and not limits.get("min", size) <= size <= limits.get("max", size):
        yield f"{path} must be between {limits.get('min', 0)} and {limits.get('max', 'any')}, it is {size}"
    if kind == "string":
        if shape.enum and value not in shape.enum:
            yield f"{path}: AWS knows no {value}"
        try:
            fits = re.fullmatch(limits.get("pattern", ".*"), value, re.DOTALL)
        except re.error:  # a dialect that Python does not read
            fits = True  # type: ignore[assignment]
        if not fits:
            yield f"{path}: '{value}' does not match {limits['pattern']}"


class Ledger:
    """What was made, with the call that removes it, and what verbs found out; per account and region."""

    def __init__(self, file: Path, frozen: bool) -> None:
        self._file, self._frozen = file, frozen
        try:
            found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        except ValueError as error:  # a merge that is not finished
            raise Refusal(f"deploy/ledger/{file.name} is not JSON: {error} – git checkout it") from None
        self.facts: dict[str, Any] = found.get("facts", {})
        self.entries: dict[str, dict[str, Any]] = found.get("entries", {})

    def begin(self, what: str, service: str, operation: str, request: dict[str, Any]) -> bool:
        """Write down what is about to be made; whether it is new."""
        new = what not in self.entries
        if new:
            self.entries[what] = {"undo": [service, operation, request]}
            self.save()
        return new

    def forget(self, what: str) -> None:
        self.entries.pop(what, None)
        self.save()

    def note(self, **facts: Any) -> None:
        self.facts |= facts
        self.save()

    def save(self) -> None:
        """Replace the file in one step: an interruption leaves the old one or the new one."""
        if self._frozen:
            return
        self._file.parent.mkdir(exist_ok=True)
        new = self._file.with_suffix(".new")
        text = json.dumps({"facts": self.facts, "entries": self.entries}, indent=1)
        new.write_text(f"{text}\n", encoding="utf-8")
        os.replace(new, self._file)
