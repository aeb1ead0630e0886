"""`sagegen local` as a process, with clients that know nothing of it."""

from __future__ import annotations

import functools
import io
import json
import os
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

SAGEGEN = [sys.executable, "-m", "sagegen"]
ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/sagemaker"
TRUST = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
BUCKET = "the-bucket"
STATEMENTS = [
    {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": f"arn:aws:s3:::{BUCKET}/*"},
    {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{BUCKET}"},
    {"Effect": "Allow", "Action": "sns:Publish", "Resource": "*"},
    {"Effect": "Allow", "Action": "logs:*", "Resource": "*"},
]
ENDED = ("Completed", "Failed", "Stopped")


def exported(text: str) -> dict[str, str]:
    """The variables of `export A=B C=D` lines."""
    words = [word for line in text.splitlines() for word in line.removeprefix("export ").split()]
    return dict(word.split("=", 1) for word in words)


class Emulator:
    """A process of `sagegen local`, and what its user has."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process, self.log = process, log
        assert process.stdout
        self.exports = exported("".join(process.stdout.readline() for _ in range(3)))
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self.environment = {**inherited, **self.exports}

    def unchecked(self, service: str) -> Any:
        """A client that leaves the judgement to the service."""
        return self.client(service, parameter_validation=False)

    @functools.cache  # noqa: B019
    def client(self, service: str, **more: Any) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.exports["AWS_ENDPOINT_URL"],
            region_name=self.exports["AWS_DEFAULT_REGION"],
            aws_access_key_id=self.exports["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.exports["AWS_SECRET_ACCESS_KEY"],
            config=Config(retries={"total_max_attempts": 1}, max_pool_connections=256, **more),
        )

    def aws(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The AWS CLI."""
        return subprocess.run(["aws", *arguments], env=self.environment, capture_output=True, text=True)

    # --- shorthands of what many tests need

    def put(self, **objects: str | bytes) -> None:
        """Objects in the bucket; two underscores in a name are a slash."""
        for key, body in objects.items():
            self.client("s3").put_object(Bucket=BUCKET, Key=key.replace("__", "/"), Body=body)

    def get(self, uri: str) -> bytes:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return self.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()

    def unpacked(self, uri: str) -> dict[str, bytes]:
        """The files of a tar.gz."""
        with tarfile.open(fileobj=io.BytesIO(self.get(uri))) as archive:
            return {e.name: archive.extractfile(e).read() for e in archive if e.isfile()}  # type: ignore[union-attr]

    def logged(self, group: str, stream: str = "") -> list[str]:
        """The lines of a log group's streams."""
        logs = self.client("logs")
        chosen = {"logStreamNamePrefix": stream} if stream else {}
        lines = []
        for one in logs.describe_log_streams(logGroupName=group, **chosen)["logStreams"]:
            name = one["logStreamName"]
            found = logs.get_log_events(logGroupName=group, logStreamName=name, startFromHead=True)
            lines += [event["message"] for event in found["events"]]
        return lines


def prepared(found: Emulator) -> Emulator:
    """An emulator that has one role and one bucket now."""
    document = json.dumps({"Version": "2012-10-17", "Statement": [TRUST]})
    found.client("iam").create_role(RoleName="sagemaker", AssumeRolePolicyDocument=document)
    policy = json.dumps({"Version": "2012-10-17", "Statement": STATEMENTS})
    found.client("iam").put_role_policy(RoleName="sagemaker", PolicyName="all", PolicyDocument=policy)
    found.client("s3").create_bucket(Bucket=BUCKET)
    return found


def wait(ask: Callable[[], Any], seconds: float = 60) -> Any:
    """The first true answer."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.1)
    return answer


def left(pid: int) -> str:
    """What containers, networks and volumes an emulator left."""
    mine = f"label=sagegen.check.pid={pid}"
    lists = (["ps", "--all"], ["network", "ls"], ["volume", "ls"])
    asked = [["docker", *words, "--quiet", "--filter", mine] for words in lists]
    return "".join(subprocess.check_output(command, text=True) for command in asked)


def request(image: str, name: str, **more: Any) -> dict[str, Any]:
    """A request for a small training job."""
    algorithm = {"TrainingImage": image, "TrainingInputMode": "File", **more.pop("algorithm", {})}
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": more.pop("hosts", 1), "VolumeSizeInGB": 5}
    return {
        "TrainingJobName": name,
        "RoleArn": ROLE,
        "AlgorithmSpecification": algorithm,
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
        "ResourceConfig": resources,
        "StoppingCondition": {"MaxRuntimeInSeconds": 300},
        **more,
    }


def channel(name: str, prefix: str, **more: Any) -> dict[str, Any]:
    """A channel of objects in the bucket."""
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{prefix}", **more.pop("source", {})}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, **more}


def role(local: Emulator, name: str, service: str, *allowed: str) -> str:
    """A role of a service that may do this."""
    trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    iam = local.client("iam")
    document = {"Version": "2012-10-17", "Statement": [trust]}
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(document))
    document["Statement"] = [{"Effect": "Allow", "Action": list(allowed), "Resource": "*"}]  # type: ignore[list-item]
    iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=json.dumps(document))
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


#: A function that does what its event says, and one behind an API.
CODE = """
import json, os, subprocess, time, boto3
count = 0
tries = {}

def handler(event, context):
    global count
    count += 1
    what = event.get("what")
    if what == "fail":
        raise ValueError("it is wrong")
    if what == "fail twice":
        tried = tries[context.aws_request_id] = tries.get(context.aws_request_id, 0) + 1
        print("try", tried)
        if tried < 3:
            raise ValueError("it is not the third time")
    if what == "fork":
        while True:
            subprocess.Popen(["sleep", event["seconds"]])
    if what == "sleep":
        time.sleep(event["seconds"])
    if what == "exit":
        os._exit(3)
    if what == "buckets":
        return [one["Name"] for one in boto3.client("s3").list_buckets()["Buckets"]]
    print("seen", what)
    return {"count": count, "word": os.environ.get("WORD"), "left": context.get_remaining_time_in_millis(),
            "home": os.environ["HOME"], "keys": sorted(os.environ)}

def proxy(event, context):
    if event["path"].endswith("/slow"):
        time.sleep(2)
        print("slow is done")
    if event["path"].endswith("/odd"):
        return "no answer"
    told = {"body": event["body"], "path": event["pathParameters"], "query": event["queryStringParameters"],
            "kind": event["headers"]["Content-Type"], "binary": event["isBase64Encoded"]}
    return {"statusCode": 201, "headers": {"X-Mine": "yes"}, "body": json.dumps(told)}
"""


def artifact(**files: str) -> bytes:
    """A model.tar.gz."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def zipped(text: str) -> bytes:
    """A function's code as a zip."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("index.py", text)
    return out.getvalue()
