"""The page at /: what is there, what runs now, and what was called."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Iterator
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sagegen.local.front import Front, Request
from sagegen.local.graphs import drawing
from sagegen.local.wire import Answer

if TYPE_CHECKING:
    from sagegen.local.account import Account

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 70rem; padding: 1rem; }
div { overflow-x: auto; }
h1, h2, p { overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .25rem .75rem .25rem 0; text-align: left; vertical-align: top;
         border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); }
pre { overflow-x: auto; padding: .5rem; background: color-mix(in srgb, currentColor 6%, transparent); }
:root { color-scheme: light dark; }
"""
PATHS = ("/", "/log", "/unused.json")
LINES = 500
CHARACTERS = 500  # of a cell


class Page:
    """Plain HTML, for a browser on this machine."""

    def __init__(self, account: Account, front: Front) -> None:
        self.account, self.front, self.cloud = account, front, account.cloud

    def route(self, request: Request) -> Answer | None:
        """/, /log?group=… and /unused.json, for requests whose Host header is this address."""
        if request.key is not None or request.method != "GET" or request.path not in PATHS:
            return None
        host = request.headers.get("host", "").rpartition(":")[0]
        if host not in ("127.0.0.1", "localhost"):  # another site's name that was led here
            return None
        if request.path == "/unused.json":
            told = json.dumps({"unused": self.front.policies.unused()})
            return Answer(200, told.encode(), {"Content-Type": "application/json"})
        body = self._index() if request.path == "/" else self._log(request.query.get("group", ""))
        head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        icon = '<link rel="icon" href="data:,">'
        text = f'<!doctype html><html lang="en"><head>{head}{icon}<title>sagegen local</title>'
        text += f"<style>{STYLE}</style></head><body>{body}</body></html>"
        return Answer(200, text.encode(), {"Content-Type": "text/html; charset=utf-8"})

    def _index(self) -> str:
        account = self.account
        training = [job.record for job in account.training.jobs]
        tuning = [job.describe() for job in account.tuning.jobs]
        transform = [job.record for job in account.transform.jobs]
        endpoints = [
            account.hosting.describe({"EndpointName": one.name}) for one in account.hosting.endpoints
        ]
        parts = [
            f"<h1>sagegen local</h1><p>{escape(self.cloud.url)} · {escape(self.cloud.region)}</p>",
            "<h2>Now</h2>",
            self._now(training, transform, endpoints),
            _table(
                "Training jobs",
                training,
                ("TrainingJobName", "TrainingJobStatus", "SecondaryStatus", "FailureReason"),
                "/aws/sagemaker/TrainingJobs",
            ),
            _table("Tuning jobs", tuning, ("HyperParameterTuningJobName", "HyperParameterTuningJobStatus")),
            _table("Models", list(account.models.records), ("ModelName", "CreationTime")),
            _table(
                "Endpoints",
                endpoints,
                ("EndpointName", "EndpointStatus", "EndpointConfigName", "FailureReason"),
                "/aws/sagemaker/Endpoints/{}",
            ),
            _table(
                "Transform jobs",
                transform,
                ("TransformJobName", "TransformJobStatus", "FailureReason"),
                "/aws/sagemaker/TransformJobs",
            ),
            *self._machines(),
            _table(
                "Builds",
                [one.record for one in account.codebuild.builds.values()],
                ("projectName", "id", "buildStatus", "currentPhase"),
                "/aws/codebuild/{}",
            ),
            _table(
                "Functions",
                [one.configuration() for one in account.functions.functions.values()],
                ("FunctionName", "Runtime", "LastModified"),
                "/aws/lambda/{}",
            ),
            _table(
                "Stacks",
                [one.described() for one in account.stacks.stacks],
                ("StackName", "StackStatus", "StackStatusReason"),
            ),
            self._unused(),
            "<h2>Refusals</h2>",
            self._calls(one for one in self.front.calls if one.status >= 400),
            "<h2>Last calls</h2>",
            self._calls(list(self.front.calls)[-30:]),
        ]
        return "".join(parts)

    def _machines(self) -> Iterator[str]:
        """State machines with their graphs, and what their last execution did."""
        service = self.account.machines
        executions = [service.told(one) for one in service.executions.values()]
        for machine in service.machines.values():
            arn = machine["stateMachineArn"]
            colours: dict[str, str] = {}
            for record, execution in service.executions.values():
                if record["stateMachineArn"] == arn:
                    colours = _colours(execution.events)
            yield f"<h2>State machine {escape(machine['name'])}</h2>"
            yield f"<div>{drawing(json.loads(machine['definition']), colours)}</div>"
            own = [one for one in executions if one["stateMachineArn"] == arn]
            yield _table("Executions", own, ("name", "status", "error", "cause"))

    def _now(self, *kinds: Iterable[dict[str, Any]]) -> str:
        """Instances that would be billed, by type, and for how long."""
        training, transform, endpoints = kinds
        hours: dict[str, float] = {}
        for record in training:
            resources = record["ResourceConfig"]
            if record["TrainingJobStatus"] in ("InProgress", "Stopping"):
                _add(hours, resources["InstanceType"], resources["InstanceCount"], record["CreationTime"])
        for record in transform:
            resources = record["TransformResources"]
            if record["TransformJobStatus"] in ("InProgress", "Stopping"):
                _add(hours, resources["InstanceType"], resources["InstanceCount"], record["CreationTime"])
        for record in endpoints:
            specs = {}
            if record["EndpointConfigName"] in self.account.hosting.configs:
                config = self.account.hosting.configs.get(record["EndpointConfigName"])
                specs = {one["VariantName"]: one for one in config["ProductionVariants"]}
            for one in record.get("ProductionVariants", ()):
                kind = specs.get(one["VariantName"], {}).get("InstanceType")
                if kind:
                    _add(hours, kind, one["CurrentInstanceCount"], record["CreationTime"])
        if not hours:
            return "<p>Nothing runs that AWS would bill by the hour.</p>"
        rows = "".join(f"<tr><td>{escape(kind)}</td><td>{used:.3f}</td></tr>" for kind, used in hours.items())
        return f"<div><table><tr><th>running</th><th>instance hours so far</th></tr>{rows}</table></div>"

    def _unused(self) -> str:
        """What roles may do and did not do, one row for each statement."""
        rows = [
            {
                "role": one["role"],
                "policy": f"{one['policy']}, statement {one['statement']}",
                "never used": ", ".join(one["unused"] + one["resources"]),
                "used in part": "; ".join(f"{name} for {', '.join(of)}" for name, of in one["wide"].items()),
            }
            for one in self.front.policies.unused()
        ]
        return _table("Granted and never used", rows, ("role", "policy", "never used", "used in part"))

    def _calls(self, calls: Iterable[Any]) -> str:
        rows = [
            f"<tr><td>{datetime.datetime.fromtimestamp(one.at):%H:%M:%S}</td>"
            f"<td>{escape(one.service)}:{escape(one.operation)}</td><td>{one.status}</td>"
            f"<td>{one.milliseconds:.1f} ms</td><td>{escape(one.error)}</td></tr>"
            for one in calls
        ]
        return f"<div><table>{''.join(reversed(rows))}</table></div>" if rows else "<p>None.</p>"

    def _log(self, group: str) -> str:
        logs, parts = self.cloud.client("logs"), [f'<p><a href="/">back</a></p><h1>{escape(group)}</h1>']
        try:
            streams = logs.describe_log_streams(logGroupName=group)["logStreams"]
        except Exception as error:
            return "".join([*parts, f"<p>{escape(str(error))}</p>"])
        for stream in streams:
            name = stream["logStreamName"]
            events = logs.get_log_events(logGroupName=group, logStreamName=name, limit=LINES)["events"]
            text = "\n".join(event["message"] for event in events)
            parts.append(f"<h2>{escape(name)}</h2><pre>{escape(text)}</pre>")
        return "".join(parts)


def _colours(events: list[dict[str, Any]]) -> dict[str, str]:
    """The colours of an execution's states: entered, left, failed."""
    found: dict[str, str] = {}
    last = ""
    for event in list(events):
        if name := event.get("stateEnteredEventDetails", {}).get("name"):
            found[name], last = "#f2c94c88", name
        elif name := event.get("stateExitedEventDetails", {}).get("name"):
            found[name] = "#27ae6088"
        elif event["type"] in ("ExecutionFailed", "ExecutionTimedOut", "ExecutionAborted") and last:
            found[last] = "#eb575788"
        elif event["type"] == "ExecutionSucceeded" and last:
            found[last] = "#27ae6088"
    return found


def _add(hours: dict[str, float], kind: str, count: int, since: datetime.datetime) -> None:
    used = (datetime.datetime.now(datetime.UTC) - since).total_seconds() / 3600
    hours[kind] = hours.get(kind, 0.0) + count * used


def _short(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= CHARACTERS else f"{text[:CHARACTERS]}…"


def _table(title: str, records: list[dict[str, Any]], columns: tuple[str, ...], group: str = "") -> str:
    if not records:
        return f"<h2>{title}</h2><p>None.</p>"
    rows = []
    for record in reversed(records):
        cells = [f"<td>{escape(_short(record.get(column)))}</td>" for column in columns]
        if group:
            where = quote(group.format(record[columns[0]]), safe="")
            cells.append(f'<td><a href="/log?group={where}">log</a></td>')
        rows.append(f"<tr>{''.join(cells)}</tr>")
    heads = "".join(f"<th>{column}</th>" for column in columns) + ("<th></th>" if group else "")
    return f"<h2>{title}</h2><div><table><tr>{heads}</tr>{''.join(rows)}</table></div>"
