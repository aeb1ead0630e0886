"""Batch transform, as boto3's users see it."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from emulators import BUCKET, ENDED, Emulator, wait

NUMBER = itertools.count()
ROWS = "".join(f"row {number},x\n" for number in range(200_000))
FEW = "".join(f"row {number},x\n" for number in range(50))


@pytest.fixture(scope="module")
def model(local: Emulator, image: str) -> str:
    local.client("sagemaker").create_model(ModelName="batch", PrimaryContainer={"Image": image})
    return "batch"


def request(
    model: str, prefix: str, *, split: str = "None", assemble: str = "None", **more: Any
) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{prefix}"}
    name = f"transform-{next(NUMBER)}"
    return {
        "TransformJobName": name,
        "ModelName": model,
        "TransformInput": {
            "DataSource": {"S3DataSource": source},
            "ContentType": "text/csv",
            "SplitType": split,
        },
        "TransformOutput": {"S3OutputPath": f"s3://{BUCKET}/{name}", "AssembleWith": assemble},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        **more,
    }


def transformed(local: Emulator, given: dict[str, Any]) -> dict[str, Any]:
    """The job's description once it has ended."""
    sagemaker, name = local.client("sagemaker"), given["TransformJobName"]
    sagemaker.create_transform_job(**given)

    def ask() -> Any:
        found = sagemaker.describe_transform_job(TransformJobName=name)
        return found if found["TransformJobStatus"] in ENDED else None

    found: dict[str, Any] = wait(ask)
    return found


def outputs(local: Emulator, job: dict[str, Any]) -> dict[str, str]:
    prefix = job["TransformOutput"]["S3OutputPath"].removeprefix(f"s3://{BUCKET}/")
    found = local.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=f"{prefix}/").get("Contents", [])
    keys = [one["Key"] for one in found]
    return {key.removeprefix(f"{prefix}/"): local.get(f"s3://{BUCKET}/{key}").decode() for key in keys}


WAYS = [
    {},
    {"split": "Line", "assemble": "Line"},
    {"split": "Line", "assemble": "Line", "BatchStrategy": "SingleRecord", "MaxConcurrentTransforms": 4},
    {"split": "Line", "BatchStrategy": "MultiRecord", "MaxPayloadInMB": 1},
]


@pytest.mark.parametrize("way", WAYS, ids=["whole", "lines", "single", "pieces"])
def test_every_way_to_split_gives_the_same_output(local: Emulator, model: str, way: dict[str, Any]) -> None:
    rows = FEW if way.get("BatchStrategy") == "SingleRecord" else ROWS
    local.put(same__a="one,1\ntwo,2\n", same__sub__b=rows)
    job = transformed(local, request(model, "same/", **way))
    assert job["TransformJobStatus"] == "Completed", job
    assert outputs(local, job) == {"a.out": "ONE,1\nTWO,2\n", "sub/b.out": rows.upper()}


def test_answers_are_joined_to_their_records(local: Emulator, model: str) -> None:
    local.put(joined__a="one,a\ntwo,b\n" * 1000)
    processing = {"InputFilter": "$[1:]", "JoinSource": "Input", "OutputFilter": "$[0,-1]"}
    given = request(model, "joined/", split="Line", assemble="Line", DataProcessing=processing)
    given["TransformOutput"]["Accept"] = "text/csv"
    assert outputs(local, transformed(local, given)) == {"a.out": "one,A\ntwo,B\n" * 1000}


def test_a_bad_record_fails_its_file_and_no_other(local: Emulator, model: str) -> None:
    local.put(bad__a="one\n", bad__b="one\nstatus 400 this is no row\ntwo\n")
    given = request(model, "bad/", split="Line", assemble="Line", BatchStrategy="SingleRecord")
    job = transformed(local, given)
    assert job["TransformJobStatus"] == "Failed"
    assert job["FailureReason"] == "AlgorithmError: bad/b: HTTP 400: this is no row"
    assert outputs(local, job) == {"a.out": "ONE\n"}


def test_the_container_is_told_what_the_job_says_and_no_more(local: Emulator, model: str) -> None:
    local.put(told__a="environment")
    (text,) = outputs(local, transformed(local, request(model, "told/"))).values()
    assert {name for name in json.loads(text) if name.startswith("SAGEMAKER_")} == {"SAGEMAKER_BATCH"}
    given = request(model, "told/", MaxPayloadInMB=2, Environment={"MINE": "1"})
    (text,) = outputs(local, transformed(local, given)).values()
    assert json.loads(text)["SAGEMAKER_MAX_PAYLOAD_IN_MB"] == "2"
    assert json.loads(text)["MINE"] == "1"


def test_a_job_without_data_or_server_fails(local: Emulator, image: str, model: str) -> None:
    assert "matched no objects" in transformed(local, request(model, "none/"))["FailureReason"]
    part = {"Image": image, "Environment": {"START": "never"}}
    local.client("sagemaker").create_model(ModelName="batch-broken", PrimaryContainer=part)
    job = transformed(local, request("batch-broken", "same/"))
    assert "did not pass the ping health check" in job["FailureReason"]


def test_wrong_requests_are_refused(local: Emulator, model: str) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"BatchStrategy": "SingleRecord"}, "B-09"),
        ({"MaxPayloadInMB": 50, "MaxConcurrentTransforms": 3}, "B-07"),
        ({"MaxPayloadInMB": 101}, "B-07"),
        ({"ModelName": "no-such"}, "Could not find model"),
        ({"Environment": {str(number): "" for number in range(17)}}, "at 'environment' failed"),
        ({"DataProcessing": {"JoinSource": "Input"}}, "ContentType and Accept to be the same"),
    ]
    for change, words in wrong:
        with pytest.raises(ClientError) as refused:
            local.unchecked("sagemaker").create_transform_job(**request(model, "same/", **change))
        assert words in str(refused.value)
