"""Step Functions: state machines and their executions."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from sagegen.local.cloud import ACCOUNT, PAGE, Cloud, now
from sagegen.local.identities import assume
from sagegen.local.paths import Malformed
from sagegen.local.policies import Policies
from sagegen.local.states import Execution, judged
from sagegen.local.tasks import ServiceTasks, unknown
from sagegen.local.wire import Fault, Handler, not_emulated


class StepFunctions:
    """The operations on state machines."""

    def __init__(self, cloud: Cloud, policies: Policies) -> None:
        self.cloud, self.policies = cloud, policies
        self.machines: dict[str, dict[str, Any]] = {}
        self.executions: dict[str, tuple[dict[str, Any], Execution]] = {}
        self._lock = threading.Lock()
        self.handlers: dict[str, Handler] = {
            "CreateStateMachine": self.create,
            "UpdateStateMachine": self.update,
            "DeleteStateMachine": self.delete,
            "DescribeStateMachine": lambda given: self._find(given["stateMachineArn"]),
            "ListStateMachines": lambda given: {"stateMachines": list(self.machines.values())},
            "StartExecution": self.start,
            "StopExecution": self.stop,
            "DescribeExecution": lambda given: self.told(self._execution(given["executionArn"])),
            "DescribeStateMachineForExecution": self.machine_of,
            "ListExecutions": self.list,
            "GetExecutionHistory": self.history,
            "ListTagsForResource": self.tags,
            "TagResource": self.tag,
        }

    def _find(self, arn: str) -> dict[str, Any]:
        if arn not in self.machines:
            raise Fault("StateMachineDoesNotExist", f"State Machine Does Not Exist: '{arn}'")
        return self.machines[arn]

    def _judge(self, given: Mapping[str, Any]) -> None:
        if given.get("type", "STANDARD") != "STANDARD":
            raise not_emulated("state machines of type EXPRESS")
        if given.get("publish"):
            raise not_emulated("versions of state machines")
        try:
            definition = judged(given["definition"], unknown)
        except Malformed as error:
            raise Fault("InvalidDefinition", f"Invalid State Machine Definition: '{error}'") from None
        try:
            assume(self.cloud, given["roleArn"], "states.amazonaws.com")
        except Fault as fault:
            raise Fault(
                "AccessDeniedException",
                "Neither the global service principal states.amazonaws.com, nor the regional one is"
                f" authorized to assume the provided role. {fault.message}",
            ) from None
        tasks = ServiceTasks(self.cloud, self.policies, given["roleArn"])
        for resource in resources(definition):
            tasks.permitted(resource)

    def create(self, given: dict[str, Any]) -> dict[str, Any]:
        """CreateStateMachine: the same request again succeeds."""
        arn = f"arn:aws:states:{self.cloud.region}:{ACCOUNT}:stateMachine:{given['name']}"
        self._judge(given)
        record = {
            "loggingConfiguration": {"level": "OFF", "includeExecutionData": False},
            "tracingConfiguration": {"enabled": False},
            "type": "STANDARD",
            **given,
            "stateMachineArn": arn,
            "status": "ACTIVE",
            "creationDate": now(),
            "revisionId": str(uuid.uuid4()),
        }
        with self._lock:
            if old := self.machines.get(arn):
                same = all(old[name] == record[name] for name in ("definition", "roleArn", "type"))
                if not same:
                    raise Fault("StateMachineAlreadyExists", f"State Machine Already Exists: '{arn}'")
                return {"stateMachineArn": arn, "creationDate": old["creationDate"]}
            self.machines[arn] = record
        self.cloud.tags[arn] = {one["key"]: one["value"] for one in given.get("tags", ())}
        return {"stateMachineArn": arn, "creationDate": record["creationDate"]}

    def update(self, given: dict[str, Any]) -> dict[str, Any]:
        """UpdateStateMachine: executions that run go on as they were."""
        old = self._find(given["stateMachineArn"])
        if not given.keys() & {"definition", "roleArn", "loggingConfiguration", "tracingConfiguration"}:
            raise Fault(
                "MissingRequiredParameter",
                "Either the definition, the role ARN, the LoggingConfiguration, or the TracingConfiguration"
                " must be specified",
            )
        record = {**old, **given, "revisionId": str(uuid.uuid4())}
        self._judge(record)
        self.machines[record["stateMachineArn"]] = record
        return {"updateDate": now(), "revisionId": record["revisionId"]}

    def delete(self, given: dict[str, Any]) -> None:
        """DeleteStateMachine: of one that is not there it succeeds."""
        self.machines.pop(given["stateMachineArn"], None)

    # --- executions -------------------------------------------------------------------------------------

    def start(self, given: dict[str, Any]) -> dict[str, Any]:
        """StartExecution: the same name and input again give the same execution."""
        machine = self._find(given["stateMachineArn"])
        name, text = given.get("name") or str(uuid.uuid4()), given.get("input") or "{}"
        try:
            data = json.loads(text)
        except ValueError:
            raise Fault("InvalidExecutionInput", f"Invalid State Machine Execution Input: '{text}'") from None
        arn = machine["stateMachineArn"].replace(":stateMachine:", ":execution:") + f":{name}"
        begun = now()
        record = {
            "executionArn": arn,
            "stateMachineArn": machine["stateMachineArn"],
            "name": name,
            "startDate": begun,
            "input": text,
            "machine": machine,
        }
        stamp = begun.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        context = {
            "Execution": {
                "Id": arn,
                "Input": data,
                "Name": name,
                "RoleArn": machine["roleArn"],
                "StartTime": stamp,
            },
            "StateMachine": {"Id": machine["stateMachineArn"], "Name": machine["name"]},
        }
        tasks = ServiceTasks(self.cloud, self.policies, machine["roleArn"])
        execution = Execution(json.loads(machine["definition"]), tasks, context)
        with self._lock:
            if arn in self.executions:
                old, running = self.executions[arn]
                if old["input"] == text and not running.ended.is_set():
                    return {"executionArn": arn, "startDate": old["startDate"]}
                raise Fault("ExecutionAlreadyExists", f"Execution Already Exists: '{arn}'")
            self.executions[arn] = record, execution
        self.cloud.begin(execution.run)
        return {"executionArn": arn, "startDate": begun}

    def _execution(self, arn: str) -> tuple[dict[str, Any], Execution]:
        if arn not in self.executions:
            raise Fault("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'")
        return self.executions[arn]

    @staticmethod
    def told(found: tuple[dict[str, Any], Execution]) -> dict[str, Any]:
        """As DescribeExecution has it."""
        record, execution = found
        done = execution.ended.is_set()
        more: dict[str, Any] = {}
        if done and execution.status == "SUCCEEDED":
            more = {"output": json.dumps(execution.output), "outputDetails": {"included": True}}
        elif done:
            more = {"error": execution.error or None, "cause": execution.cause or None}
        return {
            **record,
            "status": execution.status if done else "RUNNING",
            "stopDate": execution.ended_at,
            "inputDetails": {"included": True},
            **more,
        }

    def stop(self, given: dict[str, Any]) -> dict[str, Any]:
        """StopExecution."""
        _, execution = self._execution(given["executionArn"])
        execution.stop(given.get("error"), given.get("cause"))
        return {"stopDate": now()}

    def machine_of(self, given: dict[str, Any]) -> dict[str, Any]:
        """DescribeStateMachineForExecution: the definition that the execution runs."""
        record, _ = self._execution(given["executionArn"])
        return {**record["machine"], "updateDate": record["machine"]["creationDate"]}

    def list(self, given: dict[str, Any]) -> dict[str, Any]:
        """ListExecutions, newest first."""
        if "stateMachineArn" not in given:
            raise not_emulated("ListExecutions without stateMachineArn")
        self._find(given["stateMachineArn"])
        found = [self.told(one) for one in reversed(list(self.executions.values()))]
        return {
            "executions": [
                one
                for one in found
                if one["stateMachineArn"] == given["stateMachineArn"]
                and given.get("statusFilter") in (None, one["status"])
            ][: given.get("maxResults") or 1000]
        }

    def history(self, given: dict[str, Any]) -> dict[str, Any]:
        """GetExecutionHistory, a page of it."""
        _, execution = self._execution(given["executionArn"])
        events = list(execution.events)
        if given.get("reverseOrder"):
            events.reverse()
        start, size = int(given.get("nextToken") or 0), given.get("maxResults") or PAGE
        more = {"nextToken": str(start + size)} if start + size < len(events) else {}
        return {"events": events[start : start + size], **more}

    def tags(self, given: dict[str, Any]) -> dict[str, Any]:
        """ListTagsForResource."""
        found = self.cloud.tags.get(given["resourceArn"], {})
        return {"tags": [{"key": key, "value": value} for key, value in found.items()]}

    def tag(self, given: dict[str, Any]) -> None:
        """TagResource."""
        self._find(given["resourceArn"])
        self.cloud.tags.setdefault(given["resourceArn"], {}).update(
            {one["key"]: one["value"] for one in given["tags"]}
        )


def resources(machine: Mapping[str, Any]) -> Iterator[str]:
    """The resources of all tasks."""
    for state in machine["States"].values():
        if state["Type"] == "Task":
            yield state["Resource"]
        for inner in (*state.get("Branches", ()), state.get("ItemProcessor"), state.get("Iterator")):
            if inner:
                yield from resources(inner)
