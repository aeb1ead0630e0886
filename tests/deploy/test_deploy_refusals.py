"""What `python -m deploy` says where AWS refuses, and what its ledger knows then: no emulator, no network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name
from deployments import BARE, Repository, Verbs

VERBS = ("up", "upload", "train", "tune", "deploy", "invoke", "transform", "async", "scale", "status", "logs",
         "rollback", "down")  # fmt: skip
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "x", "AWS_MAX_ATTEMPTS": "1"}
ME = {"Account": "123456789012"}
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/penguins@sha256:" + "0" * 64
#: What `up`, `upload` and `train` have found out.
FACTS = {
    "role": "arn:aws:iam::123456789012:role/made-by-up",
    "parameters": {"CreateRepository": "true"},
    "image": IMAGE,
    "data": {"train": "s3://penguins-123456789012-us-east-1/data/train/0/"},
    "metrics": [{"Name": "test_accuracy", "Regex": "test_accuracy=([0-9.]+)"}],
    "ranges": {"IntegerParameterRanges": [{"Name": "epochs", "MinValue": "1", "MaxValue": "9"}]},
    "artifact": "s3://penguins-123456789012-us-east-1/training/one/output/model.tar.gz",
}
QUOTA = ["ResourceLimitExceeded", "The account-level service limit 'ml.m5.large' is 0 Instances."]
DENIED = ["AccessDeniedException", "User: bob is not authorized to perform this"]
SERVING = {
    "EndpointName": "penguins",
    "EndpointStatus": "InService",
    "EndpointConfigName": "penguins-one",
    "ProductionVariants": [],
}
ENDPOINT = {
    "endpoint penguins": {
        "undo": ["sagemaker", "delete_endpoint", {"EndpointName": "penguins"}],
    }
}


@pytest.fixture(scope="module")
def verbs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Verbs]:
    repository = Repository(tmp_path_factory.mktemp("deploy") / "penguins", {**BARE, **KEYS})
    with Verbs(repository) as verbs:
        yield verbs


@pytest.fixture
def ledger(verbs: Verbs) -> Iterator[Path]:
    """The ledger of an account where everything but the endpoint was done."""
    file = verbs.repository.folder / "deploy/ledger/123456789012-us-east-1.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"facts": FACTS, "entries": {}}))
    yield file
    file.unlink()


def test_without_credentials_each_verb_says_the_way_out(verbs: Verbs) -> None:
    for verb in VERBS:
        said = verbs.refused(verb, "--yes", answers={"GetCallerIdentity": ["ExpiredToken", "It has expired"]})
        assert "run 'aws sso login', or get new keys" in said
    assert not list(verbs.repository.folder.glob("deploy/ledger/*"))


@pytest.mark.parametrize(
    "environment,way",
    [
        ({}, "run 'aws configure' or 'aws sso login'"),
        ({**KEYS, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "check network, proxy and the region us-east-1"),
        ({"AWS_PROFILE": "nobody"}, "profile (nobody) could not be found – run 'aws configure'"),
    ],
)
def test_an_environment_that_reaches_no_aws_is_one_line(
    verbs: Verbs, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], way: str
) -> None:
    monkeypatch.setattr(verbs.repository, "environment", {**BARE, **environment})
    assert way in verbs.refused("up", "--yes")


@pytest.mark.parametrize(
    "code,way",
    [
        (
            "InvalidClientTokenId",
            "run 'aws configure' or 'aws sso login', set AWS_PROFILE, or enable",
        ),
        ("AccessDenied", "ask your administrator"),
        ("Throttling", "run this again in a minute"),
    ],
)
def test_keys_that_aws_refuses_are_one_line_with_the_way_out(verbs: Verbs, code: str, way: str) -> None:
    assert way in verbs.refused("up", "--yes", answers={"GetCallerIdentity": [code, "No"]})


@pytest.mark.parametrize(
    "verb,answers,says",
    [
        ("up", {"CreateStack": DENIED}, "ask your administrator"),
        ("up", {"CreateStack": ["LimitExceededException", "200 stacks"]}, "ask for more in Service Quotas"),
        ("up", {"DescribeStacks": {"Stacks": [{"StackStatus": "CREATE_COMPLETE"}]}}, "is not from here"),
        ("upload", {}, "run 'make up', or name your bucket"),
        ("upload", {"HeadBucket": ["403", "Forbidden"]}, "this bucket is another account's"),
        ("train", {"CreateTrainingJob": QUOTA}, "ask for more in Service Quotas"),
        ("train", {"CreateTrainingJob": DENIED}, "ask your administrator"),
        ("tune", {"CreateHyperParameterTuningJob": QUOTA}, "ask for more in Service Quotas"),
        ("deploy", {"CreateModel": DENIED}, "ask your administrator"),
        ("deploy", {"CreateModel": ["ValidationException", "Could not access it"]}, "Could not access it"),
        ("deploy", {"CreateEndpoint": QUOTA}, "ask for more in Service Quotas"),
        ("deploy", {"DescribeEndpoint": SERVING}, "is not from here – change name"),
        ("invoke", {"InvokeEndpoint": ["ValidationError", "Endpoint penguins not found."]}, "'make deploy'"),
        ("transform", {"CreateTransformJob": QUOTA}, "ask for more in Service Quotas"),
        ("transform", {"PutObject": ["AccessDenied", "Access Denied"]}, "ask your administrator"),
        ("transform", {"PutObject": ["NoSuchBucket", "No such bucket"]}, "run 'make up', or name"),
        ("async", {"InvokeEndpointAsync": DENIED}, "ask your administrator"),
        ("scale", {}, "there is no endpoint penguins – 'make deploy' first"),
        ("scale", {"DescribeEndpoint": SERVING, "RegisterScalableTarget": DENIED}, "ask your administrator"),
        ("logs", {"DescribeLogStreams": DENIED}, "ask your administrator"),
        ("rollback", {}, "there is nothing to go back to"),
    ],
)  # fmt: skip
def test_what_aws_refuses_is_one_line_with_the_way_out_and_not_in_the_ledger(
    verbs: Verbs, ledger: Path, verb: str, answers: dict[str, Any], says: str
) -> None:
    sent = {"GetCallerIdentity": ME, **answers}
    assert says in verbs.refused(verb, "--yes", answers=sent)
    entries = json.loads(ledger.read_text())["entries"]
    for refused in answers:
        words = xform_name(refused).partition("_")[2].replace("_", " ")
        assert not [what for what in entries if what.startswith(f"{words} penguins")]


@pytest.mark.parametrize("status", ["Updating", "Failed"])
def test_an_endpoint_that_cannot_be_updated_is_one_line(verbs: Verbs, ledger: Path, status: str) -> None:
    facts = {**FACTS, "history": ["penguins-zero", "penguins-one"]}
    ledger.write_text(json.dumps({"facts": facts, "entries": ENDPOINT}))
    refusal = ["ValidationException", f"Cannot update in-progress endpoint, it is {status}"]
    sent = {"GetCallerIdentity": ME, "DescribeEndpoint": SERVING, "UpdateEndpoint": refusal}
    for verb in ("deploy", "rollback"):
        assert "something else changes it: 'make status'" in verbs.refused(verb, "--yes", answers=sent)
    assert "endpoint penguins" in json.loads(ledger.read_text())["entries"]


def test_a_first_endpoint_that_fails_is_deleted_and_the_usual_reasons_are_tried_here(
    verbs: Verbs, ledger: Path, tmp_path: Path
) -> None:
    (tmp_path / "sagegen").write_text('#!/bin/sh\necho "tried: $*"\n')
    (tmp_path / "sagegen").chmod(0o755)
    kept = verbs.repository.environment
    reason = "The primary container for production variant main did not pass the ping health check."
    failed = {**SERVING, "EndpointStatus": "Failed", "FailureReason": reason}
    missing = ["ValidationException", 'Could not find endpoint "penguins".']
    sent = {"GetCallerIdentity": ME, "DescribeEndpoint": [missing, missing, failed, failed, missing]}
    history = {"history": ["penguins-before-it-was-deleted-by-hand"]}
    for facts, path, tried in (
        (FACTS, f"{tmp_path}:{kept['PATH']}", f"tried: check {IMAGE}"),
        (FACTS | history, "/", "sagegen is not installed"),
    ):
        ledger.write_text(json.dumps({"facts": facts, "entries": {}}))
        verbs.repository.environment = {**kept, "PATH": path}
        code, out, err, _ = verbs.run("deploy", "--yes", answers=sent)
        verbs.repository.environment = kept
        assert code == 1 and reason in err and "the endpoint is deleted" in err, err
        assert f"sagegen check {IMAGE} " in out and "--rule S-13" in out and tried in out, out
        assert "endpoint penguins" not in json.loads(ledger.read_text())["entries"]


def test_a_first_endpoint_that_somebody_deletes_meanwhile_is_one_line(verbs: Verbs, ledger: Path) -> None:
    ledger.write_text(json.dumps({"facts": FACTS, "entries": {}}))
    sent = {"GetCallerIdentity": ME}
    assert "'make deploy' makes it anew" in verbs.refused("deploy", "--yes", answers=sent)


def test_an_endpoint_that_scales_keeps_its_instances_but_not_the_old_capture(
    verbs: Verbs, ledger: Path
) -> None:
    undo = ["application-autoscaling", "deregister_scalable_target", {}]
    target = {"scalable target endpoint/penguins/variant/main": {"undo": undo}}
    ledger.write_text(json.dumps({"facts": FACTS, "entries": {**ENDPOINT, **target}}))
    serving = {"ProductionVariants": [{"InstanceType": "ml.m5.large"}]}
    sent: dict[str, Any] = {
        "GetCallerIdentity": ME,
        "DescribeEndpoint": SERVING,
        "DescribeEndpointConfig": serving,
    }
    said = verbs.done("deploy", "--dry-run", answers=sent)
    assert '"RetainAllVariantProperties": true' in said and '"DataCaptureConfig"' in said
    assert "deregister_scalable_target" not in said
    larger = {"ProductionVariants": [{"InstanceType": "ml.m5.xlarge"}]}
    sent["DescribeEndpointConfig"] = [serving, serving, larger]
    assert "deregister_scalable_target" in verbs.done("deploy", "--dry-run", answers=sent)


def test_a_stack_or_bucket_of_somebody_elses_is_left_alone(verbs: Verbs) -> None:
    sent = {"GetCallerIdentity": ME, "HeadBucket": {}}
    assert "exists – if it is yours, name it" in verbs.refused("up", answers=sent)
    sent["HeadBucket"] = ["403", "Forbidden"]
    assert "this bucket is another account's" in verbs.refused("up", answers=sent)


def test_what_down_may_not_remove_stays_in_the_ledger(verbs: Verbs, ledger: Path) -> None:
    ledger.write_text(json.dumps({"facts": FACTS, "entries": ENDPOINT}))
    code, out, err, _ = verbs.run("down", answers={"GetCallerIdentity": ME, "DeleteEndpoint": DENIED})
    assert code == 1 and "left     endpoint penguins: delete_endpoint: User: bob" in out
    assert "1 things are left" in err and json.loads(ledger.read_text())["entries"] == ENDPOINT


def test_a_file_that_is_not_there_and_a_ledger_half_merged_are_one_line(verbs: Verbs, ledger: Path) -> None:
    for verb in ("invoke", "async", "transform"):
        assert "no.csv" in verbs.refused(verb, "no.csv", answers={"GetCallerIdentity": ME})
    ledger.write_text("<<<<<<< HEAD\n{}")
    assert "is not JSON" in verbs.refused("down", answers={"GetCallerIdentity": ME})
