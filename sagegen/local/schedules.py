"""Schedules of EventBridge: rules that start state machines and functions. moto keeps the rules."""

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
from sagegen.local.wire import Answer, Fault, not_emulated

RATE = re.compile(r"rate\((\d+) (minute|minutes|hour|hours|day|days)\)")
CRON = re.compile(r"cron\(((?:\S+ ){5}\S+)\)")
#: Least and most of minutes, hours, days, months, days of the week and years.
BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (1, 7), (1970, 2199))
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
LOOK_SECONDS = 1.0
TARGET = re.compile(r"arn:aws:(states|lambda):[^:]+:\d{12}:(stateMachine|function):[\w-]+")


def due(expression: str, since: datetime.datetime, at: datetime.datetime) -> bool:
    """Whether a schedule that was made, or was due last, at `since` is due by `at`. Raises ValueError."""
    if parts := RATE.fullmatch(expression):
        unit = parts[2] if parts[2].endswith("s") else f"{parts[2]}s"
        if int(parts[1]) < 1 or (int(parts[1]) == 1) == parts[2].endswith("s"):
            raise ValueError(expression)
        return at - since >= datetime.timedelta(**{unit: int(parts[1])})
    parts = CRON.fullmatch(expression)
    if not parts:
        raise ValueError(expression)
    fields = parts[1].split(" ")
    if (fields[2] == "?") == (fields[4] == "?"):
        raise ValueError(expression)
    allowed = [_numbers(field, *bounds) for field, bounds in zip(fields, BOUNDS, strict=True)]
    minute = at.replace(second=0, microsecond=0)
    if minute <= since:
        return False
    week = minute.isoweekday() % 7 + 1  # Sunday is 1
    told = (minute.minute, minute.hour, minute.day, minute.month, week, minute.year)
    return all(number in numbers for number, numbers in zip(told, allowed, strict=True))


def _numbers(field: str, least: int, most: int) -> set[int]:
    """The numbers that a field of a cron expression stands for. Raises ValueError."""
    found: set[int] = set()
    for number, name in enumerate(MONTHS if most == 12 else DAYS if most == 7 else (), 1):
        field = re.sub(rf"\b{name}\b", str(number), field, flags=re.IGNORECASE)
    for part in field.split(","):
        span, _, step = part.partition("/")
        if span in ("*", "?"):
            first, last = least, most
        else:
            head, dash, tail = span.partition("-")
            first = int(head)
            last = int(tail) if dash else most if step else first
        if not least <= first <= last <= most:
            raise ValueError(field)
        found |= set(range(first, last + 1, int(step or 1)))
    return found


class Schedules:
    """The rules of the account that have a schedule."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self._since: dict[str, tuple[str, datetime.datetime]] = {}
        self._looking = False

    def route(self, request: Request) -> Answer | None:
        """Judge rules and targets; moto keeps them."""
        if request.service != "events":
            return None
        if request.call.operation == "PutRule":
            given = json.loads(request.reread() or b"{}")
            if expression := given.get("ScheduleExpression"):
                try:
                    due(expression, now(), now())
                except ValueError:
                    raise Fault("ValidationException", "Parameter ScheduleExpression is not valid.") from None
                self._since[given["Name"]] = expression, now()
                if not self._looking:
                    self._looking = True
                    self.cloud.begin(self._look)
        elif request.call.operation == "PutTargets":
            given = json.loads(request.reread() or b"{}")
            if given.get("Rule") in self._since:
                for target in given.get("Targets", ()):
                    _judge(target)
        return None

    def _look(self) -> None:
        while not self.cloud.pause(LOOK_SECONDS):
            for name, (expression, since) in list(self._since.items()):
                if due(expression, since, at := now()):
                    self._since[name] = expression, at
                    try:
                        self._fire(name, at)
                    except (ClientError, BotoCoreError) as error:  # AWS tells nobody, either
                        if not self.cloud.closed:
                            print(f"sagegen: the rule {name} started nothing: {error}", file=sys.stderr)

    def _fire(self, name: str, at: datetime.datetime) -> None:
        events = self.cloud.client("events")
        try:
            rule = events.describe_rule(Name=name)
        except events.exceptions.ResourceNotFoundException:
            del self._since[name]
            return
        if rule["State"] != "ENABLED":
            return
        event = {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "account": ACCOUNT,
            "time": f"{at:%Y-%m-%dT%H:%M:%SZ}",
            "region": self.cloud.region,
            "resources": [rule["Arn"]],
            "detail": {},
        }
        for target in events.list_targets_by_rule(Rule=name)["Targets"]:
            text = target.get("Input") or json.dumps(event)
            if ":stateMachine:" in target["Arn"]:
                states = self.cloud.client("stepfunctions", target["RoleArn"])
                states.start_execution(stateMachineArn=target["Arn"], input=text)
            else:
                functions = self.cloud.client("lambda")
                functions.invoke(FunctionName=target["Arn"], InvocationType="Event", Payload=text.encode())


def _judge(target: Mapping[str, Any]) -> None:
    """Refuse targets that would not be started."""
    if not (parts := TARGET.fullmatch(target.get("Arn", ""))):
        raise not_emulated(f"{target.get('Arn')} as target of a schedule")
    if odd := target.keys() - {"Id", "Arn", "RoleArn", "Input"}:
        raise not_emulated(f"{sorted(odd)[0]} of a target of a schedule")
    if parts[1] == "states" and not target.get("RoleArn"):
        text = f"RoleArn is required for target {target['Arn']}."
        raise Fault("ValidationException", text)
