"""The Amazon States Language with JSONPath: judge a definition, and run it."""

from __future__ import annotations

import datetime
import json
import random
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from sagegen.local import paths
from sagegen.local.cloud import now
from sagegen.local.graphs import targets
from sagegen.local.paths import Malformed, NoValue

COMMON = {"Type", "Comment", "InputPath", "OutputPath", "Next", "End"}
TURN = {"Parameters", "ResultSelector", "ResultPath", "Retry", "Catch"}
FIELDS = {
    "Task": COMMON | TURN | {"Resource", "TimeoutSeconds", "TimeoutSecondsPath"},
    "Pass": COMMON | {"Result", "ResultPath", "Parameters"},
    "Choice": {"Type", "Comment", "InputPath", "OutputPath", "Choices", "Default"},
    "Wait": COMMON | {"Seconds", "SecondsPath", "Timestamp", "TimestampPath"},
    "Succeed": {"Type", "Comment", "InputPath", "OutputPath"},
    "Fail": {"Type", "Comment", "Error", "ErrorPath", "Cause", "CausePath"},
    "Parallel": COMMON | TURN | {"Branches"},
    "Map": COMMON | TURN | {"ItemProcessor", "Iterator", "ItemsPath", "ItemSelector", "MaxConcurrency",
                            "MaxConcurrencyPath"},
}  # fmt: skip
MACHINE = {"Comment", "StartAt", "States", "TimeoutSeconds", "Version", "QueryLanguage"}
BRANCH = {"Comment", "StartAt", "States", "ProcessorConfig"}
DATA_BYTES = 256 * 1024
EVENTS = 25_000
COMPARISON = re.compile(
    r"(String|Numeric|Timestamp)(Equals|LessThan|GreaterThan|LessThanEquals|GreaterThanEquals)(Path)?"
    r"|BooleanEquals(Path)?|StringMatches|Is(Null|Present|Numeric|String|Boolean|Timestamp)"
)
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


class Failure(Exception):
    """What Catch and Retry see."""

    def __init__(self, error: str, cause: str = "") -> None:
        super().__init__(f"{error}: {cause}")
        self.error, self.cause = error, cause


class Stopped(Exception):
    """The execution was stopped, or the emulator is being ended."""


class Tasks(Protocol):
    """What carries out the tasks of a state machine."""

    def run(self, resource: str, given: Any, seconds: float | None, execution: Execution) -> Any:
        """The result of a task. Raises Failure."""


# --- judging ------------------------------------------------------------------------------------------------


def judged(text: str, resource: Callable[[str], str | None]) -> dict[str, Any]:
    """A definition. Raises Malformed. `resource` says what is wrong with a task's resource."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise Malformed(f"INVALID_JSON_DESCRIPTION: {error}") from None
    if not isinstance(found, dict):
        raise Malformed("the definition is no object")
    if odd := found.keys() - MACHINE:
        raise Malformed(f"Field '{sorted(odd)[0]}' is not supported at /")
    if found.get("QueryLanguage", "JSONPath") != "JSONPath":
        raise Malformed("not emulated: QueryLanguage JSONata – use JSONPath")
    _states(found, "", resource)
    return found


def _states(machine: Mapping[str, Any], where: str, resource: Callable[[str], str | None]) -> None:
    states = machine.get("States")
    if not isinstance(states, dict) or not states:
        raise Malformed(f"MISSING_STATES: {where}/States is empty")
    if machine.get("StartAt") not in states:
        raise Malformed(
            f"MISSING_TRANSITION_TARGET: Missing 'Next' target: {machine.get('StartAt')} at {where}/StartAt"
        )
    reached, left = set(), [machine["StartAt"]]
    while left:
        name = left.pop()
        if name in reached:
            continue
        reached.add(name)
        for target in targets(states[name]):
            if target not in states:
                raise Malformed(
                    f"MISSING_TRANSITION_TARGET: Missing 'Next' target: {target} at {where}/States/{name}"
                )
            left.append(target)
    for name, state in states.items():
        _state(name, state, f"{where}/States/{name}", resource)
        if name not in reached:
            raise Malformed(f'UNREACHABLE_STATE: State "{name}" is not reachable at {where}/States/{name}')


def _state(name: str, state: Any, where: str, resource: Callable[[str], str | None]) -> None:
    def bad(text: str) -> Malformed:
        return Malformed(f"SCHEMA_VALIDATION_FAILED: {text} at {where}")

    if not isinstance(state, dict) or state.get("Type") not in FIELDS:
        raise bad("a state must have a known Type")
    kind = state["Type"]
    if odd := state.keys() - FIELDS[kind]:
        raise bad(f"Field '{sorted(odd)[0]}' is not supported in a {kind} state, or not emulated")
    if kind not in ("Choice", "Succeed", "Fail") and ("Next" in state) == bool(state.get("End")):
        raise bad("either Next or End must be given")
    for field in ("InputPath", "OutputPath", "ResultPath", "ItemsPath", "TimeoutSecondsPath", "SecondsPath",
                  "TimestampPath", "ErrorPath", "CausePath", "MaxConcurrencyPath"):  # fmt: skip
        text = state.get(field)
        if text is None:
            continue
        try:
            if field in ("ErrorPath", "CausePath") and not text.startswith("$"):
                paths.check_template({"x.$": text})
            else:
                paths.check(text, context=field != "ResultPath")
                if field == "ResultPath" and paths.steps(text) is None:
                    raise Malformed(f"{text!r} is no reference path")
        except Malformed as error:
            raise bad(f"{field}: {error}") from None
    for field in ("Parameters", "ResultSelector", "ItemSelector"):
        try:
            paths.check_template(state.get(field))
        except Malformed as error:
            raise bad(f"{field}: {error}") from None
    for one in (*state.get("Retry", ()), *state.get("Catch", ())):
        if not one.get("ErrorEquals"):
            raise bad("ErrorEquals must name errors")
    if any("Next" not in one for one in state.get("Catch", ())):
        raise bad("Catch must have Next")
    if kind == "Task":
        if not isinstance(state.get("Resource"), str):
            raise bad("Resource must be given")
        if trouble := resource(state["Resource"]):
            raise bad(trouble)
    elif kind == "Choice":
        if not state.get("Choices"):
            raise bad("Choices must be given")
        for choice in state["Choices"]:
            if "Next" not in choice:
                raise bad("a choice must have Next")
            _rule(choice, bad)
    elif kind == "Wait":
        if len(state.keys() & {"Seconds", "SecondsPath", "Timestamp", "TimestampPath"}) != 1:
            raise bad("one of Seconds, SecondsPath, Timestamp and TimestampPath must be given")
    elif kind == "Parallel":
        for number, branch in enumerate(state.get("Branches") or [{}]):
            _states(branch, f"{where}/Branches[{number}]", resource)
    elif kind == "Map":
        inner = state.get("ItemProcessor") or state.get("Iterator") or {}
        if odd := inner.keys() - BRANCH:
            raise bad(f"Field '{sorted(odd)[0]}' is not supported in ItemProcessor")
        if inner.get("ProcessorConfig", {}).get("Mode", "INLINE") != "INLINE":
            raise bad("not emulated: distributed maps")
        _states(inner, f"{where}/ItemProcessor", resource)


def _rule(rule: Mapping[str, Any], bad: Callable[[str], Malformed]) -> None:
    for name in ("And", "Or"):
        for one in rule.get(name, ()):
            _rule(one, bad)
    if "Not" in rule:
        _rule(rule["Not"], bad)
    if rule.keys() & {"And", "Or", "Not"}:
        return
    operators = rule.keys() - {"Variable", "Next", "Comment"}
    if "Variable" not in rule or len(operators) != 1 or not COMPARISON.fullmatch(next(iter(operators))):
        raise bad(f"a choice must have Variable and one comparison, not {sorted(operators)}")
    try:
        paths.check(rule["Variable"])
    except Malformed as error:
        raise bad(str(error)) from None


# --- running ------------------------------------------------------------------------------------------------


class Execution:
    """One run of a definition."""

    def __init__(self, machine: Mapping[str, Any], tasks: Tasks, context: dict[str, Any]) -> None:
        self.machine, self.tasks = machine, tasks
        self.context = context
        self.events: list[dict[str, Any]] = []
        self.status = "RUNNING"
        self.output: Any = None
        self.error = self.cause = None  # type: str | None
        self.ended_at: datetime.datetime | None = None
        self.ended = threading.Event()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._end: float | None = None

    def event(self, kind: str, **details: Any) -> None:
        """Add to the history."""
        with self._lock:
            number = len(self.events) + 1
            one = {"id": number, "previousEventId": number - 1, "timestamp": now(), "type": kind}
            if details:
                name = kind[0].lower() + kind[1:]
                for kind_of in ("Task", "Pass", "Choice", "Wait", "Succeed", "Fail", "Parallel", "Map"):
                    if kind == f"{kind_of}StateEntered":
                        name = "stateEntered"
                    elif kind == f"{kind_of}StateExited":
                        name = "stateExited"
                one[f"{name}EventDetails"] = details
            self.events.append(one)
        if number > EVENTS:
            raise Failure(
                "States.Runtime", "The execution reached the maximum number of history events (25000)."
            )

    def stop(self, error: str | None, cause: str | None) -> None:
        """StopExecution."""
        self.error, self.cause = error, cause
        self._stop.set()

    def pause(self, seconds: float) -> None:
        """Wait. Raises Stopped, or Failure where the whole execution took too long."""
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            if self._end is not None:
                left = min(left, self._end - time.monotonic())
            if self._stop.wait(max(0.0, left)):
                raise Stopped
            if self._end is not None and time.monotonic() >= self._end:
                raise Overdue
            if time.monotonic() >= end:
                return

    def run(self) -> None:
        """All of it; whatever happens, it ends with a status."""
        given = self.context["Execution"]["Input"]
        if seconds := self.machine.get("TimeoutSeconds"):
            self._end = time.monotonic() + seconds
        self.event("ExecutionStarted", input=json.dumps(given), roleArn=self.context["Execution"]["RoleArn"])
        try:
            self.output = self._branch(self.machine, given, self.context)
            self.status = "SUCCEEDED"
            self.event("ExecutionSucceeded", output=json.dumps(self.output))
        except Stopped:
            self.status = "ABORTED"
            self.event("ExecutionAborted", error=self.error, cause=self.cause)
        except Overdue:
            self.status, self.error = "TIMED_OUT", "States.Timeout"
            self.event("ExecutionTimedOut", error=self.error)
        except Failure as failure:
            self.status, self.error, self.cause = "FAILED", failure.error, failure.cause
            self.event("ExecutionFailed", error=failure.error, cause=failure.cause)
        except Exception as error:
            self.status, self.error, self.cause = (
                "FAILED",
                "States.Runtime",
                f"a defect of sagegen local: {error!r}",
            )
            self.event("ExecutionFailed", error=self.error, cause=self.cause)
        self.ended_at = now()
        self.ended.set()

    def _branch(self, machine: Mapping[str, Any], data: Any, context: Mapping[str, Any]) -> Any:
        name = machine["StartAt"]
        while name:
            state = machine["States"][name]
            self.pause(0)
            data, name = self._state(name, state, data, dict(context))
        return data

    def _state(
        self, name: str, state: Mapping[str, Any], raw: Any, context: dict[str, Any]
    ) -> tuple[Any, str | None]:
        kind = state["Type"]
        context["State"] = {"Name": name, "EnteredTime": _stamp(now()), "RetryCount": 0}
        self.event(f"{kind}StateEntered", name=name, input=json.dumps(raw))
        if kind == "Fail":
            self._fail(state, raw, context)
        attempts: dict[int, int] = {}
        while True:
            try:
                data = self._at(state.get("InputPath", "$"), raw, context)
                result, target = self._turn(name, state, data, raw, context)
                break
            except Failure as failure:
                if self._again(state, failure, attempts, context):
                    continue
                for catcher in state.get("Catch", ()):
                    if _matches(catcher["ErrorEquals"], failure.error):
                        told = {"Error": failure.error, "Cause": failure.cause}
                        result = self._result(catcher.get("ResultPath", "$"), raw, told)
                        self.event(f"{kind}StateExited", name=name, output=json.dumps(result))
                        return result, catcher["Next"]
                raise
        if len(json.dumps(result)) > DATA_BYTES:
            text = (
                f"The state/task '{name}' returned a result with a size exceeding the maximum number of bytes"
            )
            raise Failure("States.DataLimitExceeded", f"{text} service limit.")
        self.event(f"{kind}StateExited", name=name, output=json.dumps(result))
        return result, target

    def _turn(
        self, name: str, state: Mapping[str, Any], data: Any, raw: Any, context: dict[str, Any]
    ) -> tuple[Any, str | None]:
        """What a state does; (output, the next state)."""
        kind, target = state["Type"], None if state.get("End") else state.get("Next")
        if kind == "Choice":
            target = next((one["Next"] for one in state["Choices"] if self._chosen(one, data, context)), None)
            target = target or state.get("Default")
            if target is None:
                raise Failure("States.NoChoiceMatched", f"No choice matched in the state '{name}'")
            return self._at(state.get("OutputPath", "$"), data, context), target
        if kind == "Wait":
            self.pause(self._wait(state, data, context))
            return self._at(state.get("OutputPath", "$"), data, context), target
        if kind == "Succeed":
            return self._at(state.get("OutputPath", "$"), data, context), None
        given = data
        if "Parameters" in state and kind != "Map":
            given = self._filled(state["Parameters"], data, context, "Parameters")
        if kind == "Pass":
            result = state.get("Result", given)
        elif kind == "Task":
            seconds = state.get("TimeoutSeconds")
            if "TimeoutSecondsPath" in state:
                seconds = self._at(state["TimeoutSecondsPath"], data, context)
            result = self.tasks.run(state["Resource"], given, seconds, self)
        elif kind == "Parallel":
            result = self._several([(branch, given, context) for branch in state["Branches"]], 0)
        else:
            result = self._map(state, data, context)
        if "ResultSelector" in state:
            result = self._filled(state["ResultSelector"], result, context, "ResultSelector")
        output = self._result(state.get("ResultPath", "$"), raw, result)
        return self._at(state.get("OutputPath", "$"), output, context), target

    def _map(self, state: Mapping[str, Any], data: Any, context: Mapping[str, Any]) -> list[Any]:
        items = self._at(state.get("ItemsPath", "$"), data, context)
        if not isinstance(items, list):
            raise Failure("States.Runtime", "Reference path of ItemsPath must point to an array")
        template = state.get("ItemSelector", state.get("Parameters"))
        work = []
        for number, item in enumerate(items):
            inner = {**context, "Map": {"Item": {"Index": number, "Value": item}}}
            given = item if template is None else self._filled(template, data, inner, "ItemSelector")
            work.append((state.get("ItemProcessor") or state["Iterator"], given, inner))
        most = state.get("MaxConcurrency", 0)
        if "MaxConcurrencyPath" in state:
            most = self._at(state["MaxConcurrencyPath"], data, context)
        return self._several(work, most)

    def _several(
        self, work: Sequence[tuple[Mapping[str, Any], Any, Mapping[str, Any]]], most: int
    ) -> list[Any]:
        if not work:
            return []
        with ThreadPoolExecutor(min(most or 40, 40, len(work))) as pool:
            jobs = [pool.submit(self._branch, *one) for one in work]
            try:
                return [job.result() for job in jobs]
            except BaseException:
                for job in jobs:
                    job.cancel()
                raise

    def _again(
        self, state: Mapping[str, Any], failure: Failure, attempts: dict[int, int], context: dict[str, Any]
    ) -> bool:
        for number, retrier in enumerate(state.get("Retry", ())):
            if _matches(retrier["ErrorEquals"], failure.error):
                done = attempts.get(number, 0)
                if done >= retrier.get("MaxAttempts", 3):
                    return False
                attempts[number] = done + 1
                seconds = retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** done
                seconds = min(seconds, retrier.get("MaxDelaySeconds", seconds))
                if retrier.get("JitterStrategy", "NONE") == "FULL":
                    seconds *= random.random()
                self.pause(seconds)
                context["State"]["RetryCount"] += 1
                return True
        return False

    def _fail(self, state: Mapping[str, Any], raw: Any, context: Mapping[str, Any]) -> None:
        told = {}
        for name in ("Error", "Cause"):
            told[name] = state.get(name, "")
            if f"{name}Path" in state:
                try:
                    told[name] = paths.evaluated(state[f"{name}Path"], raw, context)
                except NoValue as error:
                    raise Failure("States.Runtime", str(error)) from None
        raise Failure(str(told["Error"]), str(told["Cause"]))

    def _wait(self, state: Mapping[str, Any], data: Any, context: Mapping[str, Any]) -> float:
        if "Seconds" in state:
            return float(state["Seconds"])
        if "SecondsPath" in state:
            return float(self._at(state["SecondsPath"], data, context))
        text = state.get("Timestamp") or self._at(state["TimestampPath"], data, context)
        return max(0.0, (datetime.datetime.fromisoformat(text) - now()).total_seconds())

    # --- data -------------------------------------------------------------------------------------------

    @staticmethod
    def _at(path: str | None, data: Any, context: Mapping[str, Any]) -> Any:
        if path is None:
            return {}
        try:
            return paths.find(path, data, context)
        except NoValue as error:
            raise Failure("States.Runtime", str(error)) from None

    @staticmethod
    def _filled(template: Any, data: Any, context: Mapping[str, Any], where: str) -> Any:
        try:
            return paths.fill(template, data, context)
        except NoValue as error:
            kind = "States.ParameterPathFailure" if where == "Parameters" else "States.Runtime"
            raise Failure(kind, str(error)) from None

    @staticmethod
    def _result(path: str | None, raw: Any, result: Any) -> Any:
        if path is None:
            return raw
        try:
            return paths.put(path, raw, result)
        except NoValue as error:
            raise Failure("States.ResultPathMatchFailure", str(error)) from None

    def _chosen(self, rule: Mapping[str, Any], data: Any, context: Mapping[str, Any]) -> bool:
        if "And" in rule:
            return all(self._chosen(one, data, context) for one in rule["And"])
        if "Or" in rule:
            return any(self._chosen(one, data, context) for one in rule["Or"])
        if "Not" in rule:
            return not self._chosen(rule["Not"], data, context)
        (operator,) = rule.keys() - {"Variable", "Next", "Comment"}
        wanted = rule[operator]
        try:
            value = paths.find(rule["Variable"], data, context)
        except NoValue as error:
            if operator == "IsPresent":
                return not wanted
            text = "The choice state's condition path references an invalid value."
            raise Failure("States.Runtime", f"Invalid path '{rule['Variable']}': {text}") from error
        if operator == "IsPresent":
            return bool(wanted)
        if operator.endswith("Path"):
            wanted, operator = self._at(wanted, data, context), operator.removesuffix("Path")
        return _compared(operator, value, wanted)


class Overdue(Exception):
    """The execution took longer than its TimeoutSeconds."""


def _compared(operator: str, value: Any, wanted: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    text = isinstance(value, str)
    stamp = text and bool(TIMESTAMP.fullmatch(value))
    kinds = {
        "IsNull": value is None,
        "IsNumeric": number,
        "IsString": text,
        "IsBoolean": isinstance(value, bool),
        "IsTimestamp": stamp,
    }
    if operator in kinds:
        return kinds[operator] is bool(wanted)
    if operator == "BooleanEquals":
        return isinstance(value, bool) and value is wanted
    if operator == "StringMatches":
        rule = re.sub(
            r"\\([*\\])|\*|([^\\*]+)",
            lambda m: re.escape(m[1]) if m[1] else re.escape(m[2]) if m[2] else ".*",
            wanted,
        )
        return text and re.fullmatch(rule, value, re.DOTALL) is not None
    kind, how = re.fullmatch(r"(String|Numeric|Timestamp)(\w+)", operator).groups()  # type: ignore[union-attr]
    if kind == "Numeric":
        able = number and isinstance(wanted, int | float) and not isinstance(wanted, bool)
    else:
        able = text and isinstance(wanted, str)
    if not able:
        return False
    if kind == "Timestamp":
        try:
            value, wanted = datetime.datetime.fromisoformat(value), datetime.datetime.fromisoformat(wanted)
        except ValueError:
            return False
    return bool(
        {
            "Equals": value == wanted,
            "LessThan": value < wanted,
            "GreaterThan": value > wanted,
            "LessThanEquals": value <= wanted,
            "GreaterThanEquals": value >= wanted,
        }[how]
    )


def _matches(names: list[str], error: str) -> bool:
    """Whether a retrier or catcher is for an error. Nobody catches States.Runtime by States.ALL."""
    for name in names:
        if name == error:
            return True
        if name == "States.ALL" and error not in ("States.Runtime", "States.DataLimitExceeded"):
            return True
        if name == "States.TaskFailed" and error not in ("States.Timeout", "States.Runtime"):
            return True
    return False


def _stamp(when: datetime.datetime) -> str:
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
