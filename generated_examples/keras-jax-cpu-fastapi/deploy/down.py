"""`down`: remove exactly what the ledger says was made, and say what is left."""

import json
from argparse import Namespace
from typing import Any

from botocore.exceptions import ClientError

from deploy.calls import UNDO, Aws
from deploy.settings import Refusal

ORDER = [undo for undo, _ in UNDO.values()]


def run(aws: Aws, args: Namespace) -> str:
    """Go through the ledger; what is removed leaves it at once, so an interrupted run goes on."""
    left = []
    entries = sorted(reversed(aws.ledger.entries.items()), key=lambda one: ORDER.index(one[1]["undo"][1]))
    for what, entry in entries:
        service, operation, request = entry["undo"]
        try:
            if reason := remove(aws, service, operation, request):
                left.append(f"{what}: {reason}")
                continue
        except Refusal as refusal:
            if not isinstance(refusal.__cause__, ClientError):
                raise  # no network, no credentials: the next would fail as well
            left.append(f"{what}: {refusal}")
            continue
        aws.ledger.forget(what)
        print(f"removed  {what}")
    for line in left:
        print(f"left     {line}")
    if left:
        raise Refusal(f"{len(left)} things are left: see above, then 'make down' once more")
    aws.ledger.facts.clear()
    aws.ledger.save()
    return f"down: {len(entries)} things are removed; records and logs of jobs stay, and cost next to nothing"


def remove(aws: Aws, service: str, operation: str, request: dict[str, Any]) -> str:
    """Remove one thing, which may be gone already; why it must stay, or nothing."""
    if aws.dry_run:
        print(f"{service}.{operation}\n{json.dumps(request, indent=2)}")
        return ""
    if operation == "delete_objects":
        keys = [{"Key": key} for key in aws.keys(request["Prefix"], request["Bucket"])]
        for start in range(0, len(keys), 1000):
            aws.ask("s3", operation, Bucket=request["Bucket"], Delete={"Objects": keys[start : start + 1000]})
        return ""
    if operation == "delete_endpoint":
        aws.settled_endpoint()  # it cannot be deleted while it changes
    if operation == "delete_stack" and (reason := _in_use(aws)):
        return reason
    try:
        aws.ask(service, operation, **request)
    except Refusal as refusal:
        # A job that has ended cannot be stopped, and need not.
        if not operation.startswith("stop_") or not isinstance(refusal.__cause__, ClientError):
            raise
    if operation == "delete_endpoint":
        aws.settled_endpoint()
    if operation == "delete_stack":
        return _stack_is_gone(aws, request["StackName"])
    return _stopped(aws, operation, request) if operation.startswith("stop_") else ""


def _stopped(aws: Aws, operation: str, request: dict[str, Any]) -> str:
    """Wait until a job has ended: until then it writes objects."""
    describe = operation.replace("stop_", "describe_")
    status = {"describe_training_job": "TrainingJobStatus", "describe_transform_job": "TransformJobStatus"}
    name = status.get(describe, "HyperParameterTuningJobStatus")
    aws.wait("job", lambda: aws.ask("sagemaker", describe, **request), name)
    return ""


def _in_use(aws: Aws) -> str:
    """Why the stack cannot go: its bucket or repository has what is not this repository's."""
    if not aws.settings["bucket"] and (others := aws.keys("")):
        return f"s3://{aws.bucket} has {len(others)} objects from elsewhere, such as {next(iter(others))}"
    images = aws.ask("ecr", "list_images", repositoryName=aws.settings["name"]) or {"imageIds": []}
    made = aws.ledger.facts.get("parameters", {}).get("CreateRepository") == "true"
    if made and images["imageIds"]:
        return f"ECR's {aws.settings['name']} has {len(images['imageIds'])} images from elsewhere"
    return ""


def _stack_is_gone(aws: Aws, name: str) -> str:
    def find() -> Any:
        found = aws.ask("cloudformation", "describe_stacks", StackName=name)
        return found["Stacks"][0] if found and found["Stacks"] else None

    found = aws.wait(f"stack {name}", find, "StackStatus")
    gone = not found or found["StackStatus"] == "DELETE_COMPLETE"
    return "" if gone else f"{found['StackStatus']}: {found.get('StackStatusReason', 'see its events')}"
