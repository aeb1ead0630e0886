"""What starts work in a stack: builds, state machines and rules."""

from __future__ import annotations

import json

from sagegen.local.resources.kinds import Calls, Kind, Made, Properties, as_text, ask, remover, without
from sagegen.local.wire import Fault, not_emulated


def _make_project(calls: Calls, given: Properties) -> Made:
    found = ask(calls, "codebuild", "CreateProject", **given)["project"]
    return Made(found["name"], {"Arn": found["arn"]})


def _change_project(calls: Calls, made: Made, old: Properties, given: Properties) -> Made:
    ask(calls, "codebuild", "UpdateProject", **given)
    return made


PROJECT = Kind(
    _make_project,
    remover("codebuild", "DeleteProject", "name"),
    frozenset(("Name", "Description", "ServiceRole", "Source", "Artifacts", "Environment", "TimeoutInMinutes",
               "QueuedTimeoutInMinutes", "EncryptionKey", "LogsConfig", "Cache", "Tags")),
    _change_project,
    frozenset(("Name",)),
    "Name",
    longest=255,
)  # fmt: skip


def _machine(given: Properties) -> Properties:
    if "DefinitionString" in given:
        text = given["DefinitionString"]
    elif "Definition" in given:
        text = json.dumps(given["Definition"])
    else:
        raise not_emulated("a state machine without Definition or DefinitionString (DefinitionS3Location)")
    for key, value in given.get("DefinitionSubstitutions", {}).items():
        text = text.replace(f"${{{key}}}", str(value))
    return {"definition": text, "roleArn": given["RoleArn"]}


def _make_machine(calls: Calls, given: Properties) -> Made:
    more = {"name": given["StateMachineName"], "type": given.get("StateMachineType", "STANDARD")}
    more |= {
        name: given[name]
        for name in ("LoggingConfiguration", "TracingConfiguration", "Tags")
        if name in given
    }
    arn = ask(calls, "stepfunctions", "CreateStateMachine", **_machine(given), **more)["stateMachineArn"]
    return Made(arn, {"Arn": arn, "Name": given["StateMachineName"]})


def _change_machine(calls: Calls, made: Made, old: Properties, given: Properties) -> Made:
    ask(calls, "stepfunctions", "UpdateStateMachine", stateMachineArn=made.physical, **_machine(given))
    return made


MACHINE = Kind(
    _make_machine,
    remover("stepfunctions", "DeleteStateMachine", "stateMachineArn"),
    frozenset(("StateMachineName", "StateMachineType", "DefinitionString", "Definition", "RoleArn",
               "DefinitionSubstitutions", "LoggingConfiguration", "TracingConfiguration", "Tags")),
    _change_machine,
    frozenset(("StateMachineName", "StateMachineType", "LoggingConfiguration", "TracingConfiguration",
               "Tags")),
    "StateMachineName",
    longest=80,
)  # fmt: skip


def _make_rule(calls: Calls, given: Properties) -> Made:
    plain = without(given, "Targets", "EventPattern")
    if pattern := given.get("EventPattern"):
        plain["EventPattern"] = as_text(pattern)
    arn = ask(calls, "events", "PutRule", **plain)["RuleArn"]
    if targets := given.get("Targets"):
        answer = ask(calls, "events", "PutTargets", Rule=given["Name"], Targets=targets)
        if answer.get("FailedEntryCount"):
            raise Fault("InternalFailure", f"targets were refused: {answer['FailedEntries']}")
    return Made(given["Name"], {"Arn": arn})


def _remove_rule(calls: Calls, made: Made, given: Properties) -> None:
    if targets := given.get("Targets"):
        ask(calls, "events", "RemoveTargets", Rule=made.physical, Ids=[one["Id"] for one in targets])
    ask(calls, "events", "DeleteRule", Name=made.physical)


def _change_rule(calls: Calls, made: Made, old: Properties, given: Properties) -> Made:
    _remove_rule(calls, made, old)
    return _make_rule(calls, given)


RULE = Kind(
    _make_rule,
    _remove_rule,
    frozenset(("Name", "Description", "EventPattern", "ScheduleExpression", "State", "Targets")),
    _change_rule,
    frozenset(("Name",)),
    "Name",
    longest=64,
)
