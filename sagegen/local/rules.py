"""Rules of EventBridge: a schedule or an event starts state machines and functions. moto keeps the rules."""

from __future__ import annotations

import datetime
import json
import re
import sys
import uuid
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from sagegen.local.cloud import ACCOUNT, Cloud, now
from sagegen.local.front import Request
from sagegen.local.patterns import check, given, matches
from sagegen.local.schedules import due
from sagegen.local.wire import Answer, Fault, not_emulated

LOOK_SECONDS = 1.0
TARGET = re.compile(r"arn:aws:(states|lambda):[^:]+:\d{12}:(stateMachine|function):[\w-]+")
QUEUE = re.compile(r"arn:aws:sqs:[^:]+:\d{12}:[\w-]+")
TELLING = re.compile(rb"<EventBridgeConfiguration\s*(/>|>.*?</EventBridgeConfiguration>)", re.DOTALL)
OF_TARGET = {"Id", "Arn", "RoleArn", "Input", "InputPath", "InputTransformer"}


class Rules:
    """The rules of the account's default bus."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self._since: dict[str, tuple[str, datetime.datetime]] = {}
        self._patterns: dict[str, dict[str, Any]] = {}
        #: Buckets that tell EventBridge of their objects.
        self._telling: set[str] = set()
        self._looking = False

    def route(self, request: Request) -> Answer | None:
        """Judge rules and targets; moto keeps them."""
        if request.service == "s3" and request.method == "PUT" and "notification" in request.query:
            # moto would send events itself, and stop at the first target that it does not know.
            bucket, found = _place(request)[0], request.reread()
            left = TELLING.sub(b"", found)
            request.replace(left)
            (self._telling.discard if left == found else self._telling.add)(bucket)
        if request.service != "events":
            return None
        if request.call.operation == "PutRule":
            self._keep(json.loads(request.reread() or b"{}"))
        elif request.call.operation == "PutTargets":
            asked = json.loads(request.reread() or b"{}")
            name = asked.get("Rule")
            if name in self._since or name in self._patterns:
                for target in asked.get("Targets", ()):
                    _judge(target)
        return None

    def _keep(self, asked: Mapping[str, Any]) -> None:
        name = asked.get("Name", "")
        expression, pattern = asked.get("ScheduleExpression"), asked.get("EventPattern")
        if (expression or pattern) and asked.get("EventBusName", "default") != "default":
            raise not_emulated("rules of another event bus than default")
        if expression:
            try:
                due(expression, now(), now())
            except ValueError:
                raise Fault("ValidationException", "Parameter ScheduleExpression is not valid.") from None
        if pattern:
            try:
                found = json.loads(pattern)
                check(found)
            except ValueError as error:
                text = f"Event pattern is not valid. Reason: {error}"
                raise Fault("InvalidEventPatternException", text) from None
            self._patterns[name] = found
        if expression:
            self._since[name] = expression, now()
            if not self._looking:
                self._looking = True
                self.cloud.begin(self._look)

    # --- what happens -----------------------------------------------------------------------------------

    def after(self, request: Request) -> None:
        """A call has succeeded: tell the rules of an object that it made."""
        if not self._patterns:
            return
        if request.service == "s3" and (reason := _made(request)):
            bucket, key = _place(request)
            if bucket in self._telling:
                self.cloud.begin(self._created, bucket, key, reason)

    def put_events(self, asked: dict[str, Any]) -> dict[str, Any]:
        """PutEvents."""
        found: list[dict[str, Any]] = []
        for entry in asked["Entries"]:
            if entry.get("EventBusName", "default") != "default":
                raise not_emulated("events for another bus than default")
            try:
                detail = json.loads(entry["Detail"])
            except KeyError as error:
                text = f"Parameter {error.args[0]} is not valid. Reason: it is a required argument."
                found.append({"ErrorCode": "InvalidArgument", "ErrorMessage": text})
                continue
            except ValueError:
                found.append({"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."})
                continue
            about = (entry.get("Source"), entry.get("DetailType"), detail, entry.get("Resources", []))
            found.append({"EventId": self._tell(self._event(*about))})
        return {"FailedEntryCount": sum("ErrorCode" in one for one in found), "Entries": found}

    def _created(self, bucket: str, key: str, reason: str) -> None:
        """S3's "Object Created"."""
        found = self.cloud.client("s3").head_object(Bucket=bucket, Key=key)
        detail = {
            "version": "0",
            "bucket": {"name": bucket},
            "object": {"key": key, "size": found["ContentLength"], "etag": found["ETag"].strip('"')},
            "requester": ACCOUNT,
            "reason": reason,
        }
        self._tell(self._event("aws.s3", "Object Created", detail, [f"arn:aws:s3:::{bucket}"]))

    def _tell(self, event: Mapping[str, Any]) -> str:
        """Try every rule that is for an event; the event's ID."""
        for name, pattern in list(self._patterns.items()):
            if matches(pattern, event):
                self.cloud.begin(self._try, name, event)
        return str(event["id"])

    def _look(self) -> None:
        while not self.cloud.pause(LOOK_SECONDS):
            for name, (expression, since) in list(self._since.items()):
                if due(expression, since, at := now()):
                    self._since[name] = expression, at
                    self._try(name, None)

    def _try(self, name: str, event: Mapping[str, Any] | None) -> None:
        try:
            self._fire(name, event)
        except (ClientError, BotoCoreError) as error:  # AWS tells nobody, either
            if not self.cloud.closed:
                print(f"sagegen: the rule {name} started nothing: {error}", file=sys.stderr)

    def _fire(self, name: str, event: Mapping[str, Any] | None) -> None:
        """Start a rule's targets, for an event or because its time has come."""
        events = self.cloud.client("events")
        try:
            rule = events.describe_rule(Name=name)
        except events.exceptions.ResourceNotFoundException:
            self._since.pop(name, None)
            self._patterns.pop(name, None)
            return
        if rule["State"] != "ENABLED":
            return
        event = event or self._event("aws.events", "Scheduled Event", {}, [rule["Arn"]])
        for target in events.list_targets_by_rule(Rule=name)["Targets"]:
            text = given(target, event)
            if ":stateMachine:" in target["Arn"]:
                states = self.cloud.client("stepfunctions", target["RoleArn"])
                states.start_execution(stateMachineArn=target["Arn"], input=text)
            elif ":function:" in target["Arn"]:
                functions = self.cloud.client("lambda")
                functions.invoke(FunctionName=target["Arn"], InvocationType="Event", Payload=text.encode())

    def _event(
        self, source: str | None, kind: str | None, detail: Any, resources: list[str]
    ) -> dict[str, Any]:
        return {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": kind,
            "source": source,
            "account": ACCOUNT,
            "time": f"{now():%Y-%m-%dT%H:%M:%SZ}",
            "region": self.cloud.region,
            "resources": resources,
            "detail": detail,
        }


def _place(request: Request) -> tuple[str, str]:
    """(bucket, key) of a request to S3: WSGI gives the path unquoted, its bytes as characters."""
    bucket, _, key = request.path.encode("latin-1").decode(errors="replace").lstrip("/").partition("/")
    return bucket, key


def _made(request: Request) -> str:
    """S3's name for how a request made an object; empty where it did not."""
    if not _place(request)[1]:
        return ""
    if request.method == "POST" and "uploadId" in request.query:
        return "CompleteMultipartUpload"
    if request.method != "PUT" or request.query.keys() & {"partNumber", "tagging", "acl", "retention"}:
        return ""
    return "CopyObject" if "x-amz-copy-source" in request.headers else "PutObject"


def _judge(target: Mapping[str, Any]) -> None:
    """Refuse targets that would not be started."""
    arn = target.get("Arn", "")
    if not (parts := TARGET.fullmatch(arn)) and not QUEUE.fullmatch(arn):
        raise not_emulated(f"{arn} as target of a rule")
    if odd := target.keys() - OF_TARGET:
        raise not_emulated(f"{sorted(odd)[0]} of a target of a rule")
    if parts and parts[1] == "states" and not target.get("RoleArn"):
        raise Fault("ValidationException", f"RoleArn is required for target {arn}.")
