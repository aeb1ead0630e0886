"""How `sagegen local` starts, ends, and whom it answers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError
from emulators import SAGEGEN, TRUST, Emulator, left, request, wait

from sagegen.errors import SagegenError
from sagegen.local.state import kept


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment}
    return subprocess.run(
        [*SAGEGEN, "local", *arguments], env=env, capture_output=True, text=True, timeout=120
    )


def test_a_state_that_cannot_be_kept_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(SagegenError, match="cannot write"),
        kept(tmp_path / "file/x"),
    ):
        pass


def test_a_command_gets_an_empty_account_and_its_status_is_passed_on(local: Emulator) -> None:
    script = "env; aws s3api list-buckets --query Buckets --output json; exit 7"
    misleading = {
        "AWS_PROFILE": "mine",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
        "AWS_SESSION_TOKEN": "x",
    }
    done = run("--", "sh", "-c", script, **misleading)
    assert done.returncode == 7, done.stderr
    *lines, buckets = done.stdout.splitlines()
    seen = dict(line.split("=", 1) for line in lines if "=" in line)
    assert buckets == "[]"
    assert seen["AWS_ENDPOINT_URL"] == f"http://{seen['REGISTRY']}" != local.exports["AWS_ENDPOINT_URL"]
    assert not seen.keys() & misleading.keys()


def test_a_command_that_is_not_there_is_one_line() -> None:
    done = run("--", "no-such-command")
    assert done.returncode == 127
    assert done.stderr == "sagegen: cannot run no-such-command: No such file or directory\n"


def test_a_taken_port_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("--port", str(port), "--", "true")
    assert done.returncode == 2
    assert done.stderr == f"sagegen: port {port} is taken – choose another --port\n"


def test_only_loopback_is_listened_on(local: Emulator) -> None:
    port = int(local.exports["REGISTRY"].rpartition(":")[2])
    listening = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    rows = [line.split() for line in listening.splitlines()]
    places = {row[1] for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")}
    assert places == {f"0100007F:{port:04X}"}


def test_other_credentials_are_refused(local: Emulator) -> None:
    for service, call, code in (
        ("sts", "get_caller_identity", "InvalidClientTokenId"),
        ("s3", "list_buckets", "InvalidAccessKeyId"),
        ("sagemaker", "list_models", "UnrecognizedClientException"),
    ):
        client = boto3.client(
            service,
            endpoint_url=local.exports["AWS_ENDPOINT_URL"],
            region_name="us-east-1",
            aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
            aws_secret_access_key="x",
        )
        with pytest.raises(ClientError, match=code):
            getattr(client, call)()


def test_an_unsigned_request_is_refused(local: Emulator) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{local.exports['AWS_ENDPOINT_URL']}/the-bucket", timeout=5)
    assert refused.value.code == 403


def test_what_is_not_emulated_says_so(local: Emulator) -> None:
    with pytest.raises(ClientError, match="not emulated: sagemaker:CreateNotebookInstance") as refused:
        local.client("sagemaker").create_notebook_instance(
            NotebookInstanceName="x", InstanceType="ml.t3.medium", RoleArn="arn:aws:iam::123456789012:role/x"
        )
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    with pytest.raises(ClientError, match="not emulated: logStreamNamePrefix"):
        local.client("logs").filter_log_events(logGroupName="x", logStreamNamePrefix="y")
    with pytest.raises(ClientError, match=r"not emulated: iam \(SimulateCustomPolicy\)"):
        local.client("iam").simulate_custom_policy(PolicyInputList=["{}"], ActionNames=["s3:GetObject"])
    with pytest.raises(ClientError, match="not emulated: batch"):
        local.client("batch").describe_job_queues()


def test_every_call_is_a_line_of_json(local: Emulator) -> None:
    local.client("sts").get_caller_identity()
    calls = [json.loads(line) for line in local.log.read_text().splitlines()]
    asked = [call for call in calls if call["operation"] == "GetCallerIdentity" and call["status"] == 200]
    assert [call["service"] for call in asked] == ["sts"]


def test_the_page_tells_what_is_there_and_what_was_refused(local: Emulator) -> None:
    with pytest.raises(ClientError):
        local.client("sagemaker").describe_endpoint(EndpointName="no-such-endpoint")
    page = urllib.request.urlopen(local.exports["AWS_ENDPOINT_URL"], timeout=5).read().decode()
    assert "sagemaker:DescribeEndpoint" in page
    assert "Could not find endpoint &quot;" in page
    assert "<script" not in page
    elsewhere = urllib.request.Request(local.exports["AWS_ENDPOINT_URL"], headers={"Host": "evil.example:80"})
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(elsewhere, timeout=5)


KEEP = """
import sys, boto3
s3, iam, ecr, sagemaker = map(boto3.client, ("s3", "iam", "ecr", "sagemaker"))
s3.create_bucket(Bucket="kept")
s3.put_object(Bucket="kept", Key="a/b", Body=b"content", ContentType="text/csv")
iam.create_role(RoleName="sagemaker", AssumeRolePolicyDocument=sys.argv[2])
ecr.create_repository(repositoryName="kept")
sagemaker.create_model(ModelName="kept", PrimaryContainer={"Image": sys.argv[1]})
"""
LOOK = """
import boto3
s3, iam, ecr, sagemaker = map(boto3.client, ("s3", "iam", "ecr", "sagemaker"))
found = s3.get_object(Bucket="kept", Key="a/b")
print(found["Body"].read().decode(), found["ContentType"])
print(iam.get_role(RoleName="sagemaker")["Role"]["RoleName"])
print(ecr.describe_repositories()["repositories"][0]["repositoryName"])
print(sagemaker.describe_model(ModelName="kept")["ModelName"])
"""


def test_a_state_is_there_again_in_the_next_run(image: str, tmp_path: Path) -> None:
    folder, python = str(tmp_path / "state"), [sys.executable, "-c"]
    done = run("--state", folder, "--", *python, KEEP, image, json.dumps({"Statement": [TRUST]}))
    assert done.returncode == 0, done.stderr
    assert "it does not keep endpoints, stacks, state machines" in done.stderr.splitlines()[0]
    done = run("--state", folder, "--", *python, LOOK)
    assert done.stdout.split() == ["content", "text/csv", "sagemaker", "kept", "kept"], done.stderr
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").touch()
    done = run("--state", str(tmp_path / "mine"), "--", "true")
    assert done.returncode == 2 and "holds no state" in done.stderr


def test_what_a_killed_emulator_left_is_removed_by_the_next_one(image: str) -> None:
    process = subprocess.Popen(
        [*SAGEGEN, "local"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout
    found = Emulator(process, Path())
    sagemaker, iam = found.client("sagemaker"), found.client("iam")
    iam.create_role(RoleName="sagemaker", AssumeRolePolicyDocument=json.dumps({"Statement": [TRUST]}))
    sagemaker.create_training_job(**request(image, "left", HyperParameters={"then": "wait"}))
    status = lambda: sagemaker.describe_training_job(TrainingJobName="left")["SecondaryStatus"]  # noqa: E731
    wait(lambda: status() == "Training")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert left(process.pid)
    assert run("--", "true").returncode == 0
    assert left(process.pid) == ""


GRANTED = """
import json, boto3
allow = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": "*"}
iam = boto3.client("iam")
iam.create_role(RoleName="writer", AssumeRolePolicyDocument="{}")
iam.put_role_policy(RoleName="writer", PolicyName="p",
                    PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allow]}))
"""


def test_what_was_granted_and_never_used_is_the_last_line() -> None:
    script = [sys.executable, "-c", GRANTED]
    told = run("--", *script).stderr.splitlines()
    assert told[-1] == "sagegen: granted and never used: writer: s3:GetObject, s3:PutObject"
    told = run("--json", "--", *script).stderr.splitlines()
    (one,) = json.loads(told[-1])["unused"]
    assert (one["role"], one["unused"]) == ("writer", ["s3:GetObject", "s3:PutObject"])
