"""Roles may do what their policies say, and no more."""

from __future__ import annotations

import itertools
import json
import urllib.request
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from emulators import ACCOUNT, BUCKET, ENDED, STATEMENTS, TRUST, Emulator, channel, request, wait

NUMBER = itertools.count()
ANYONE = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
SERVICE = {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
USER = [
    {"Effect": "Allow", "Action": "sagemaker:Create*", "Resource": "arn:aws:sagemaker:*:*:*/mine-*"},
    {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "*", "Condition": SERVICE},
    {"Effect": "Allow", "Action": "sagemaker:AddTags", "Resource": "*"},
    {"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{BUCKET}/mine/*"},
    {"Effect": "Deny", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{BUCKET}/mine/not/*"},
]


def role(local: Emulator, statements: list[dict[str, Any]], *trust: dict[str, Any]) -> str:
    """A new role with these statements."""
    name, iam = f"role-{next(NUMBER)}", local.client("iam")
    document = json.dumps({"Version": "2012-10-17", "Statement": list(trust) or [TRUST]})
    arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=policy)
    return arn


def acting(local: Emulator, statements: list[dict[str, Any]]) -> Callable[[str], Any]:
    """Clients of somebody who has taken a role with these statements."""
    return assumed(local, role(local, statements, ANYONE))


def assumed(local: Emulator, arn: str) -> Callable[[str], Any]:
    """Clients of somebody who has taken a role."""
    got = local.client("sts").assume_role(RoleArn=arn, RoleSessionName="me")["Credentials"]
    session = boto3.session.Session(
        got["AccessKeyId"], got["SecretAccessKey"], got["SessionToken"], "us-east-1"
    )
    return lambda service: session.client(service, endpoint_url=local.exports["AWS_ENDPOINT_URL"])


def attempt(client: Callable[[str], Any], local: Emulator, image: str) -> None:
    """What USER allows."""
    given = request(image, f"mine-{next(NUMBER)}", Tags=[{"Key": "a", "Value": "b"}])
    client("sagemaker").create_training_job(**given)
    client("s3").put_object(Bucket=BUCKET, Key="mine/x", Body=b"")


def test_a_call_by_a_role_needs_each_of_its_statements(local: Emulator, image: str) -> None:
    attempt(acting(local, USER), local, image)
    for number, statement in enumerate(USER[:4]):
        fewer = [one for index, one in enumerate(USER) if index != number]
        with pytest.raises(ClientError, match="AccessDenied") as refused:
            attempt(acting(local, fewer), local, image)
        action = str(statement["Action"]).replace("Create*", "CreateTrainingJob")
        assert f"not authorized to perform: {action} on resource" in str(refused.value)
    client = acting(local, USER)
    with pytest.raises(ClientError, match="AccessDenied"):
        client("s3").put_object(Bucket=BUCKET, Key="mine/not/x", Body=b"")
    with pytest.raises(ClientError, match="AccessDenied"):
        client("sagemaker").create_training_job(**request(image, "yours"))


def test_a_job_reads_and_writes_with_its_own_role(local: Emulator, image: str) -> None:
    local.put(poor__a="1")
    sagemaker = local.client("sagemaker")
    failures = {}
    for number in (0, 1):
        fewer = [one for index, one in enumerate(STATEMENTS) if index != number]
        name = f"poor-{number}"
        given = request(image, name, RoleArn=role(local, fewer), InputDataConfig=[channel("a", "poor/")])
        sagemaker.create_training_job(**given)

        def ended(name: str = name) -> Any:
            found = sagemaker.describe_training_job(TrainingJobName=name)
            return found if found["TrainingJobStatus"] in ENDED else None

        failures[number] = wait(ended)["FailureReason"]
    assert "s3:GetObject" in failures[0]
    assert "s3:ListBucket" in failures[1]


def test_a_simulation_says_what_a_role_may_do_as_its_calls_would(local: Emulator) -> None:
    iam, arn = local.client("iam"), role(local, USER)

    def decision(resource: str) -> str:
        asked = {"ActionNames": ["s3:PutObject"], "ResourceArns": [f"arn:aws:s3:::{resource}"]}
        (found,) = iam.simulate_principal_policy(PolicySourceArn=arn, **asked)["EvaluationResults"]
        return str(found["EvalDecision"])

    asked = [f"{BUCKET}/mine/x", f"{BUCKET}/mine/not/x", "other/x"]
    assert [decision(one) for one in asked] == ["allowed", "explicitDeny", "implicitDeny"]
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.simulate_principal_policy(PolicySourceArn=arn + "x", ActionNames=["s3:GetObject"])
    with pytest.raises(ClientError, match="not emulated: SimulatePrincipalPolicy with CallerArn"):
        iam.simulate_principal_policy(PolicySourceArn=arn, ActionNames=["s3:GetObject"], CallerArn=arn)


def test_what_a_role_never_used_is_told_statement_by_statement(local: Emulator) -> None:
    place = f"arn:aws:s3:::{BUCKET}"
    statements = [
        {"Effect": "Allow", "Action": ["s3:PutObject", "s3:DeleteObject"], "Resource": [f"{place}/in/*"]},
        {"Effect": "Allow", "Action": "s3:L*", "Resource": [place, "arn:aws:s3:::another"]},
        {"Sid": "Pull", "Effect": "Allow", "Action": "ecr:BatchGetImage", "Resource": "*"},
        {"Effect": "Deny", "Action": "s3:PutObject", "Resource": f"{place}/in/not"},
    ]
    arn = role(local, statements, ANYONE)
    name = arn.rpartition("/")[2]
    page = lambda path: urllib.request.urlopen(local.exports["AWS_ENDPOINT_URL"] + path).read().decode()  # noqa: E731
    report = lambda: [one for one in json.loads(page("/unused.json"))["unused"] if one["role"] == name]  # noqa: E731
    assert [one["unused"] for one in report()] == [["s3:PutObject", "s3:DeleteObject"], ["s3:L*"]]
    s3 = assumed(local, arn)("s3")
    s3.put_object(Bucket=BUCKET, Key="in/x", Body=b"")
    s3.list_objects_v2(Bucket=BUCKET)
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(Bucket=BUCKET, Key="in/not", Body=b"")
    first, second = report()
    assert (first["unused"], first["resources"], first["wide"]) == (["s3:DeleteObject"], [], {})
    assert (second["unused"], second["resources"]) == ([], ["arn:aws:s3:::another"])
    assert second["wide"] == {"s3:L*": ["s3:ListBucket"]}
    assert "s3:DeleteObject" in page("/").partition("Granted and never used")[2]
    iam = local.client("iam")
    iam.delete_role_policy(RoleName=name, PolicyName="own")
    iam.delete_role(RoleName=name)
    assert report() == [first, second]
