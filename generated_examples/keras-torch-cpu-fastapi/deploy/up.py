"""`up`: a bucket, a repository for the image and a role, as one CloudFormation stack."""

import hashlib
from argparse import Namespace
from typing import Any

from deploy.calls import Aws
from deploy.settings import ROOT, Refusal


def run(aws: Aws, args: Namespace) -> str:
    """Create or update the stack. It costs nothing while it is empty."""
    stack = f"{aws.settings['name']}-account"
    template = (ROOT / "deploy/account.yaml").read_text(encoding="utf-8")
    parameters = _parameters(aws, stack)
    digest = hashlib.sha256(repr((template, parameters)).encode()).hexdigest()[:12]
    found = _find(aws, stack)
    if found and f"stack {stack}" not in aws.ledger.entries:
        raise Refusal(f"a stack {stack} exists, and is not from here – change name in deploy/settings.toml")
    if found and aws.ledger.facts.get("stack") == digest and found["StackStatus"].endswith("_COMPLETE"):
        return f"nothing to do: the stack {stack} is up"
    request: dict[str, Any] = {
        "StackName": stack,
        "TemplateBody": template,
        "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        "Capabilities": ["CAPABILITY_IAM"],
    }
    if not found:
        aws.change("cloudformation", "create_stack", **request)
    elif aws.ledger.facts.get("stack"):
        try:
            aws.change("cloudformation", "update_stack", **request)
        except Refusal as refusal:
            if "No updates" not in str(refusal):
                raise
    found = aws.wait(f"stack {stack}", lambda: _find(aws, stack), "StackStatus")
    if found and found["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        raise Refusal(f"the stack {stack} failed: {_why(aws, stack)} – 'make down', then 'make up'")
    outputs = {one["OutputKey"]: one["OutputValue"] for one in (found or {}).get("Outputs", ())}
    aws.ledger.note(stack=digest, role=outputs.get("Role", aws.settings["role"]))
    return f"up: the stack {stack} with s3://{aws.bucket}"


def _parameters(aws: Aws, stack: str) -> dict[str, str]:
    """What the stack is to make: nothing that exists already and is not its own."""
    settings, security, own = aws.settings, aws.settings["security"], f"stack {stack}" in aws.ledger.entries
    name = settings["name"]
    kept = aws.ledger.facts.get("parameters") if own else None
    if not kept:
        repository = aws.ask("ecr", "describe_repositories", repositoryNames=[name])
        if not settings["bucket"] and aws.ask("s3", "head_bucket", Bucket=aws.bucket) is not None and not own:
            raise Refusal(f"s3://{aws.bucket} exists – if it is yours, name it in deploy/settings.toml")
        kept = {"CreateRepository": str(repository is None or own).lower()}
        aws.ledger.note(parameters=kept)
    keys = [
        key if key.startswith("arn:") else f"arn:{aws.partition}:kms:{aws.region}:{aws.account}:key/{key}"
        for key in sorted({security["kms_key"], security["volume_kms_key"]} - {""})
    ]
    return kept | {
        "BucketName": aws.bucket,
        "RepositoryName": name,
        "CreateBucket": str(not settings["bucket"]).lower(),
        "CreateRole": str(not settings["role"]).lower(),
        "KeyArns": ",".join(keys),
        "TopicArn": settings["hosting"]["sns_topic"],
        "Vpc": str(bool(security["subnets"])).lower(),
    }


def _find(aws: Aws, stack: str) -> Any:
    answer = aws.ask("cloudformation", "describe_stacks", StackName=stack)
    return answer["Stacks"][0] if answer and answer["Stacks"] else None


def _why(aws: Aws, stack: str) -> str:
    events = aws.ask("cloudformation", "describe_stack_events", StackName=stack) or {"StackEvents": []}
    failed = [one for one in events["StackEvents"] if "FAILED" in one["ResourceStatus"]]
    return str(failed[-1].get("ResourceStatusReason", "")) if failed else "see its events"
