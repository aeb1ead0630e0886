"""What `sagegen local` costs: `python -m benchmarks.local [PAIRS]`.

Start to the first answer; one invocation beside the same request to the container itself; a training job
beside `docker run` of the same image. Each pair is measured one right after the other, and the differences'
median is told. The image is the stand-in of tests/local, whose model does nothing: all the time is overhead.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3

IMAGE = Path(__file__).parent.parent / "tests/local/image"
BASE = os.environ.get("SAGEGEN_BASE_IMAGE", "python:{python}-slim").format(python="3.13")
TRUST = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
ALLOW = {"Effect": "Allow", "Action": "*", "Resource": "*"}
BODY = b"1,2,3"
CONFIG = {
    "hyperparameters": {},
    "inputdataconfig": {},
    "resourceconfig": {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "eth0"},
}


class Emulator:
    """A process of `sagegen local`, and how long it took to its first answer."""

    def __init__(self) -> None:
        client = boto3.client("sts", "us-east-1", endpoint_url="http://x", aws_access_key_id="x",
                              aws_secret_access_key="x")  # fmt: skip
        client.close()  # botocore's own imports are no part of the start
        begun = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sagegen", "local"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout
        words = "".join(self.process.stdout.readline() for _ in range(3)).split()
        self.exports = dict(word.split("=", 1) for word in words if "=" in word)
        self.client("sts").get_caller_identity()
        self.started = time.perf_counter() - begun

    def client(self, service: str) -> Any:
        """A boto3 client."""
        return boto3.client(
            service,
            self.exports["AWS_DEFAULT_REGION"],
            endpoint_url=self.exports["AWS_ENDPOINT_URL"],
            aws_access_key_id=self.exports["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.exports["AWS_SECRET_ACCESS_KEY"],
        )

    def close(self) -> None:
        """End it."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def post(host: str, port: int, path: str, headers: dict[str, str]) -> None:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection(host, port)
    connection.request("POST", path, BODY, headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    if (answer.status, content) != (200, BODY.upper()):
        raise SystemExit(f"{path}: {answer.status} {content!r}")


def invocations(emulator: Emulator, image: str, pairs: int) -> list[tuple[float, float]]:
    """(the container itself, through the emulator) of each pair."""
    sagemaker = emulator.client("sagemaker")
    sagemaker.create_model(ModelName="m", PrimaryContainer={"Image": image})
    variant = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="c")
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="e", WaiterConfig={"Delay": 1})
    (box,) = docker("ps", "--quiet", "--filter", f"label=sagegen.check.pid={emulator.process.pid}").split()
    address = docker(
        "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", box
    ).strip()
    host, _, port = emulator.exports["REGISTRY"].rpartition(":")
    scope = f"{emulator.exports['AWS_ACCESS_KEY_ID']}/20260101/us-east-1/sagemaker/aws4_request"
    signed = {"Content-Type": "text/csv", "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}"}

    def direct() -> None:
        post(address, 8080, "/invocations", {"Content-Type": "text/csv"})

    def through() -> None:
        post(host, int(port), "/endpoints/e/invocations", signed)

    for _ in range(20):
        direct()
        through()
    return [(timed(direct), timed(through)) for _ in range(pairs)]


def trainings(emulator: Emulator, image: str, pairs: int) -> list[tuple[float, float]]:
    """(docker run, a training job) of each pair."""
    iam, s3, sagemaker = (emulator.client(name) for name in ("iam", "s3", "sagemaker"))
    document = {"Version": "2012-10-17", "Statement": [TRUST]}
    role = iam.create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(document))["Role"]["Arn"]
    document["Statement"] = [ALLOW]
    iam.put_role_policy(RoleName="r", PolicyName="p", PolicyDocument=json.dumps(document))
    s3.create_bucket(Bucket="bench")

    def run() -> None:
        folder = Path(tempfile.mkdtemp())
        for name in ("input/config", "input/data", "model", "output/data"):
            (folder / name).mkdir(parents=True)
        for name, content in CONFIG.items():
            (folder / f"input/config/{name}.json").write_text(json.dumps(content))
        docker("run", "--rm", "--volume", f"{folder}:/opt/ml", image, "train")
        shutil.rmtree(folder)

    def job() -> None:
        name = f"t-{uuid.uuid4().hex}"
        sagemaker.create_training_job(
            TrainingJobName=name,
            RoleArn=role,
            AlgorithmSpecification={"TrainingImage": image, "TrainingInputMode": "File"},
            OutputDataConfig={"S3OutputPath": "s3://bench/out"},
            ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            StoppingCondition={"MaxRuntimeInSeconds": 60},
        )
        while True:
            status = sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"]
            if status not in ("InProgress", "Completed"):
                raise SystemExit(f"the job is {status}")
            if status == "Completed":
                return
            time.sleep(0.02)

    return [(timed(run), timed(job)) for _ in range(pairs)]


def docker(*arguments: str) -> str:
    """What a command of Docker prints."""
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout


def tell(words: str, unit: str, factor: int, found: list[tuple[float, float]]) -> None:
    """Print both sides' medians, and the median of the differences."""
    alone, whole = (statistics.median(side) * factor for side in zip(*found, strict=True))
    more = statistics.median(here - there for there, here in found) * factor
    print(f"{words}: {alone:.2f} {unit} alone, {whole:.2f} here, p50 of {more:.2f} {unit} more", flush=True)


def main() -> None:
    """Measure, and print one line for each figure."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    image = f"sagegen-benchmark-local:{uuid.uuid4().hex[:8]}"
    docker("build", "--quiet", "--tag", image, "--build-arg", f"BASE_IMAGE={BASE}", str(IMAGE))
    try:
        starts = []
        for _ in range(4):
            emulator = Emulator()
            starts.append(emulator.started)
            emulator.close()
        print(
            f"start to first answer: {statistics.median(starts):.2f} s (at most {max(starts):.2f})",
            flush=True,
        )
        emulator = Emulator()
        try:
            tell("one invocation", "ms", 1000, invocations(emulator, image, pairs))
            tell("a training job", "s", 1, trainings(emulator, image, 7))
        finally:
            emulator.close()
    finally:
        docker("rmi", "--force", image)


if __name__ == "__main__":
    main()
