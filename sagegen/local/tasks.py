"""Tasks of state machines: they call services with the machine's role, and wait for what they start."""

from __future__ import annotations

import datetime
import json
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import botocore
from botocore.exceptions import BotoCoreError, ClientError
from botocore.response import StreamingBody

from sagegen.local.cloud import ACCOUNT, Cloud
from sagegen.local.policies import Need, Policies
from sagegen.local.resources.kinds import Unfit, fitted
from sagegen.local.states import Execution, Failure, Overdue, Stopped
from sagegen.local.wire import Fault, model

RESOURCE = re.compile(r"arn:aws:states:::(?:(aws-sdk):)?([\w-]+):(\w+)(\.\w+(?::2)?)?")
FUNCTION = re.compile(r"arn:aws:lambda:[a-z0-9-]+:\d{12}:function:[\w-]+(:\$LATEST)?")
#: How often AWS is asked for what a task waits for.
LOOK_SECONDS = 0.25


@dataclass(frozen=True)
class Waited:
    """How a service is asked for what a task waits for, and to stop it."""

    describe: str
    stop: str
    member: str
    status: str
    rule: str


WAITED = {
    ("sagemaker", "createTrainingJob"): Waited(
        "DescribeTrainingJob", "StopTrainingJob", "TrainingJobName", "TrainingJobStatus",
        "StepFunctionsGetEventsForSageMakerTrainingJobsRule",
    ),
    ("sagemaker", "createTransformJob"): Waited(
        "DescribeTransformJob", "StopTransformJob", "TransformJobName", "TransformJobStatus",
        "StepFunctionsGetEventsForSageMakerTransformJobsRule",
    ),
    ("sagemaker", "createHyperParameterTuningJob"): Waited(
        "DescribeHyperParameterTuningJob", "StopHyperParameterTuningJob", "HyperParameterTuningJobName",
        "HyperParameterTuningJobStatus", "StepFunctionsGetEventsForSageMakerTuningJobsRule",
    ),
    ("codebuild", "startBuild"): Waited(
        "BatchGetBuilds", "StopBuild", "Id", "BuildStatus", "StepFunctionsGetEventForCodeBuildStartBuildRule"
    ),
}  # fmt: skip
#: The optimized integrations, beside those that are waited for.
CALLED = {
    "sagemaker": {"createTrainingJob", "createTransformJob", "createHyperParameterTuningJob", "createModel",
                  "createEndpointConfig", "createEndpoint", "updateEndpoint"},
    "codebuild": {"startBuild", "stopBuild"},
    "lambda": {"invoke"},
    "sns": {"publish"},
    "sqs": {"sendMessage"},
    "events": {"putEvents"},
    "dynamodb": {"getItem", "putItem", "updateItem", "deleteItem"},
}  # fmt: skip
NAMES = {"sagemaker": "SageMaker", "codebuild": "CodeBuild", "lambda": "Lambda", "sns": "SNS", "sqs": "SQS",
         "events": "EventBridge", "dynamodb": "DynamoDB"}  # fmt: skip
#: Services of the SDK whose names in a Resource are not botocore's.
SDK = {"sfn": "stepfunctions", "sagemakerruntime": "sagemaker-runtime", "cloudwatchlogs": "logs",
       "eventbridge": "events", "cloudwatch": "cloudwatch", "secretsmanager": "secretsmanager"}  # fmt: skip
EMULATED = {"sagemaker", "sagemaker-runtime", "codebuild", "lambda", "sns", "sqs", "events", "dynamodb", "s3",
           "ssm", "logs", "cloudwatch", "ecr", "stepfunctions", "secretsmanager", "application-autoscaling",
           "cloudformation", "iam", "sts", "kms"}  # fmt: skip


def unknown(resource: str) -> str | None:
    """Why a task's Resource cannot be used here."""
    if FUNCTION.fullmatch(resource):
        return None
    parts = RESOURCE.fullmatch(resource)
    if not parts:
        return f"the resource {resource} is not a valid ARN, or not emulated"
    sdk, service, action, how = parts.groups()
    if sdk:
        name = SDK.get(service, service)
        if how:
            return f"not emulated: {how} of {service}:{action}"
        if name not in EMULATED:
            return f"not emulated: aws-sdk:{service}"
        if _operation(name, action) is None:
            return f"The resource provided {resource} is not recognized. {service} has no action {action}"
        return None
    if how == ".sync":
        return None if (service, action) in WAITED else f"not emulated: {service}:{action}.sync"
    if how:
        return f"not emulated: {service}:{action}{how}"
    return None if action in CALLED.get(service, ()) else f"not emulated: {service}:{action}"


def _operation(service: str, action: str) -> str | None:
    return next((one for one in model(service).operation_names if one.lower() == action.lower()), None)


class ServiceTasks:
    """Tasks as calls of services, with the role of the state machine."""

    def __init__(self, cloud: Cloud, policies: Policies, role: str) -> None:
        self.cloud, self.policies, self.role = cloud, policies, role

    def permitted(self, resource: str) -> None:
        """Refuse a role that may not make the rule that tells of the end. Raises Fault."""
        parts = RESOURCE.fullmatch(resource)
        if parts and parts[4] == ".sync" and not parts[1]:
            rule = WAITED[parts[2], parts[3]].rule
            arn = f"arn:aws:events:{self.cloud.region}:{ACCOUNT}:rule/{rule}"
            for action in ("events:PutTargets", "events:PutRule", "events:DescribeRule"):
                if not self.policies.allows(self.role, Need(action, arn)):
                    text = f"'{self.role}' is not authorized to create managed-rule."
                    raise Fault("AccessDeniedException", f"{text} It lacks {action} on {arn}")

    def run(self, resource: str, given: Any, seconds: float | None, execution: Execution) -> Any:
        """The result of a task. Raises Failure."""
        sdk = how = ""
        if FUNCTION.fullmatch(resource):
            service, action, told = "lambda", "invoke", ("lambda", "invoke")
            given = {"FunctionName": resource, "Payload": given}
        else:
            sdk, service, action, how = (one or "" for one in RESOURCE.fullmatch(resource).groups())  # type: ignore[union-attr]
            told = (f"aws-sdk:{service}" if sdk else service, action + how)
        about = {"resourceType": told[0], "resource": told[1]}
        execution.event(
            "TaskScheduled", **about, region=self.cloud.region, parameters=json.dumps(given),
            **({"timeoutInSeconds": int(seconds)} if seconds else {}),
        )  # fmt: skip
        execution.event("TaskStarted", **about)
        end = time.monotonic() + seconds if seconds else None
        try:
            if sdk:
                result = self._sdk(SDK.get(service, service), action, given)
            elif service == "lambda":
                result = self._invoke(given, direct=bool(FUNCTION.fullmatch(resource)))
            else:
                result = self._call(service, action, given, waited=bool(how))
            if how:
                execution.event("TaskSubmitted", **about, output=json.dumps(result))
                result = self._await(service, action, given, result, end, execution)
        except Failure as failure:
            kind = "TaskTimedOut" if failure.error == "States.Timeout" else "TaskFailed"
            execution.event(kind, **about, error=failure.error, cause=failure.cause)
            raise
        if end is not None and time.monotonic() > end:
            execution.event("TaskTimedOut", **about, error="States.Timeout", cause="")
            raise Failure("States.Timeout")
        execution.event("TaskSucceeded", **about, output=json.dumps(result))
        return result

    # --- calls ------------------------------------------------------------------------------------------

    def _ask(self, service: str, operation: str, given: Any, failed: Callable[[ClientError], Failure]) -> Any:
        client = self.cloud.client(service, self.role)
        shape = client.meta.service_model.operation_model(operation).input_shape
        try:
            found = getattr(client, botocore.xform_name(operation))(
                **(fitted(shape, given, operation) if shape else {})
            )
        except ClientError as error:
            raise failed(error) from None
        except Unfit as error:
            raise Failure("States.Runtime", f"The field {error} is not supported by Step Functions") from None
        except (BotoCoreError, TypeError) as error:
            raise Failure("States.Runtime", str(error)) from None
        found.pop("ResponseMetadata", None)
        return found

    def _call(self, service: str, action: str, given: Any, *, waited: bool) -> Any:
        operation = _operation(service, action) or action
        if waited and service == "sagemaker":
            # AWS tags what it waits for: so the role needs sagemaker:AddTags.
            mark = {"Key": "MANAGED_BY_AWS", "Value": "STARTED_BY_STEP_FUNCTIONS"}
            given = {**given, "Tags": [*given.get("Tags", ()), mark]}
        found = self._ask(service, operation, given, lambda error: _optimized(service, error))
        found = plain(found, epoch=True)
        return _capitals(found) if service in ("codebuild",) else found

    def _sdk(self, service: str, action: str, given: Any) -> Any:
        operation = _operation(service, action) or action
        found = self._ask(service, operation, given, lambda error: _of_sdk(service, error))
        return _capitals(plain(found, epoch=False))

    def _invoke(self, given: Any, *, direct: bool) -> Any:
        payload = given.get("Payload", {})
        data = payload if isinstance(payload, str) else json.dumps(payload)
        answer = self._ask(
            "lambda", "Invoke", {**given, "Payload": data.encode()}, lambda e: _optimized("lambda", e)
        )
        text = answer["Payload"].read().decode()
        if answer.get("FunctionError"):
            try:
                name = json.loads(text)["errorType"]
            except (ValueError, KeyError, TypeError):
                name = "Exception"
            raise Failure("Lambda.Unknown" if name.startswith("Runtime.") else name, text)
        result = json.loads(text) if text else None
        if direct:
            return result
        return {"ExecutedVersion": "$LATEST", "Payload": result, "StatusCode": answer["StatusCode"]}

    # --- .sync ------------------------------------------------------------------------------------------

    def _await(
        self, service: str, action: str, given: Any, started: Any, end: float | None, execution: Execution
    ) -> Any:
        waited = WAITED[service, action]
        identity = started["Build"]["Id"] if service == "codebuild" else given[waited.member]
        asked = {"ids": [identity]} if service == "codebuild" else {waited.member: identity}
        try:
            while True:
                found = self._ask(service, waited.describe, asked, lambda e: _optimized(service, e))
                found = plain(found, epoch=True)
                if service == "codebuild":
                    found = {"Build": _capitals(found["builds"][0])}
                status = found["Build"][waited.status] if service == "codebuild" else found[waited.status]
                if status in ("Completed", "SUCCEEDED"):
                    return found
                if status not in ("InProgress", "Stopping", "IN_PROGRESS"):
                    raise Failure("States.TaskFailed", json.dumps(found))
                if end is not None and time.monotonic() > end:
                    raise Failure("States.Timeout")
                execution.pause(LOOK_SECONDS)
        except (Stopped, Overdue, Failure) as ending:
            if not isinstance(ending, Failure) or ending.error == "States.Timeout":
                name = {"id": identity} if service == "codebuild" else {waited.member: identity}
                with suppress(Failure):  # it has ended, or the role may not stop it
                    self._ask(service, waited.stop, name, lambda e: _optimized(service, e))
            raise


def _told(error: ClientError) -> tuple[str, str, Mapping[str, Any]]:
    told = error.response["Error"]
    return told["Code"], told["Message"], error.response["ResponseMetadata"]


def _optimized(service: str, error: ClientError) -> Failure:
    """An error of an optimized integration."""
    code, text, about = _told(error)
    name = NAMES[service]
    word = {"sagemaker": "AmazonSageMaker", "codebuild": "AWSCodeBuild", "lambda": "AWSLambda"}.get(
        service, f"Amazon{name}"
    )
    if code == "ValidationException":
        code_named = f"{word}Exception"
    else:
        code_named = code if code.endswith("Exception") else f"{code}Exception"
    cause = (
        f"{text} (Service: {word}; Status Code: {about['HTTPStatusCode']}; Error Code: {code};"
        f" Request ID: {about.get('RequestId')}; Proxy: null)"
    )
    return Failure(f"{name}.{code_named}", cause)


def _of_sdk(service: str, error: ClientError) -> Failure:
    """An error of an aws-sdk integration; those that the model does not have bear the service's name."""
    code, text, about = _told(error)
    name = model(service).service_id.replace(" ", "")
    known = {shape.name for shape in model(service).error_shapes} | {
        shape.error_code for shape in model(service).error_shapes
    }
    word = code if code in known else name
    word = word if word.endswith("Exception") else f"{word}Exception"
    status, identity = about["HTTPStatusCode"], about.get("RequestId")
    cause = f"{text} (Service: {name}, Status Code: {status}, Request ID: {identity})"
    return Failure(f"{name}.{word}", cause)


def plain(value: Any, *, epoch: bool) -> Any:
    """A response as JSON has it: times as milliseconds, or as text."""
    if isinstance(value, dict):
        return {key: plain(one, epoch=epoch) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one, epoch=epoch) for one in value]
    if isinstance(value, datetime.datetime):
        if epoch:
            return int(value.timestamp() * 1000)
        utc = value.astimezone(datetime.UTC)
        return utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, StreamingBody):
        value = value.read()
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value


def _capitals(value: Any) -> Any:
    """A response with names in PascalCase, as Step Functions has them."""
    if isinstance(value, dict):
        return {key[:1].upper() + key[1:]: _capitals(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_capitals(one) for one in value]
    return value
