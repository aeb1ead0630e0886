"""`transform`: predictions for a file, or for every file of a folder, without an endpoint."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from deploy.calls import Aws
from deploy.deploy import create_model, model_of
from deploy.invoke import PAYLOADS, type_of
from deploy.settings import Refusal
from deploy.train import name_of
from deploy.upload import digest, files

LINES = (".csv", ".jsonl")


def run(aws: Aws, args: Namespace) -> str:
    """Send the files, start the job or join it, wait, and fetch the answers into a folder."""
    source = Path(args.file) if args.file else next(iter(sorted(PAYLOADS.glob("records.csv"))), PAYLOADS)
    if not source.exists() or not (paths := files(source)):
        raise Refusal(f"{source} does not exist or has no files – FILE or a folder of files of one type")
    base = source if source.is_dir() else source.parent
    prefix = f"transform/{digest(paths, base)}/"
    uri, there = aws.own_prefix(prefix), aws.keys(f"{prefix}input/")
    for path in paths:
        if (key := f"{prefix}input/{path.relative_to(base).as_posix()}") not in there:
            aws.put(path, key)
    container, model = model_of(aws)
    create_model(aws, container, model)
    hosting, lines = aws.settings["hosting"], paths[0].suffix in LINES
    kind = hosting["instance_type"] or aws.settings["train"]["instance_type"]  # serverless has none
    location = {"S3DataType": "S3Prefix", "S3Uri": f"{uri}input/"}
    request = {
        "ModelName": model,
        "TransformInput": {
            "DataSource": {"S3DataSource": location},
            "ContentType": type_of(paths[0]),
            "SplitType": "Line" if lines else "None",
        },
        "TransformOutput": {
            "S3OutputPath": f"{uri}output/{model}",
            "Accept": args.accept or "text/csv",
            "AssembleWith": "Line" if lines else "None",
        },
        "TransformResources": {"InstanceType": kind, "InstanceCount": hosting["instance_count"]},
    }
    name = name_of(aws, request)

    def describe() -> Any:
        return aws.ask("sagemaker", "describe_transform_job", TransformJobName=name)

    if not describe():
        aws.confirm(kind, hosting["instance_count"], "The transform job")
        aws.change("sagemaker", "create_transform_job", TransformJobName=name, **request)
    found = aws.wait(name, describe, "TransformJobStatus")
    if found and found["TransformJobStatus"] != "Completed":
        reason = found.get("FailureReason", found["TransformJobStatus"])
        raise Refusal(f"{name} failed: {reason} – 'make logs ARGS={name}'")
    target = Path(args.output or "transformed")
    for key in aws.keys(f"{prefix}output/{model}/"):
        target.mkdir(parents=True, exist_ok=True)
        answer = aws.ask("s3", "get_object", Bucket=aws.bucket, Key=key)
        (target / Path(key).name).write_bytes(answer["Body"].read())
    return f"transformed {len(paths)} files: answers are in {target}/ and below {uri}output/"
