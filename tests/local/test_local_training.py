"""Training jobs, as boto3's and the AWS CLI's users see them."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError, WaiterError
from emulators import BUCKET, ENDED, Emulator, channel, request, wait

NUMBER = itertools.count()


@pytest.fixture
def name() -> str:
    return f"job-{next(NUMBER)}"


def ended(local: Emulator, name: str) -> dict[str, Any]:
    """The job's description once it has ended."""
    sagemaker = local.client("sagemaker")

    def ask() -> Any:
        found = sagemaker.describe_training_job(TrainingJobName=name)
        return found if found["TrainingJobStatus"] in ENDED else None

    return wait(ask)


def seen(local: Emulator, job: dict[str, Any]) -> dict[str, Any]:
    """What the container of each host wrote down, by host."""
    files = local.unpacked(job["ModelArtifacts"]["S3ModelArtifacts"])
    return {name.removesuffix(".json"): json.loads(text) for name, text in files.items()}


def trained(local: Emulator, image: str, name: str, **more: Any) -> dict[str, Any]:
    local.client("sagemaker").create_training_job(**request(image, name, **more))
    return ended(local, name)


def test_a_job_sees_what_sagemaker_shows_it_and_leaves_what_it_takes(
    local: Emulator, image: str, name: str
) -> None:
    local.put(in__a__one="1", in__a__sub__two="2", in__b__x="b", ck__epoch="4")
    fast = channel("fast", "in/b", InputMode="FastFile", ContentType="text/csv")
    metric = {"Name": "loss", "Regex": "loss=([0-9.]+);"}
    job = trained(
        local,
        image,
        name,
        HyperParameters={"rate": "0.5"},
        Environment={"MINE": "yes"},
        InputDataConfig=[channel("a", "in/a"), fast],
        CheckpointConfig={"S3Uri": f"s3://{BUCKET}/ck"},
        algorithm={"MetricDefinitions": [metric]},
        Tags=[{"Key": "team", "Value": "ours"}],
    )
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Completed", "Completed"), job
    one = seen(local, job)["algo-1"]
    files = {"input/data/a/one": "1", "input/data/a/sub/two": "2", "input/data/fast/x": "b"}
    assert one["files"] == files
    assert one["writable"] == {"a": True, "fast": "OSError"}
    assert one["config"]["hyperparameters"] == {"rate": "0.5"}
    assert one["config"]["inputdataconfig"]["fast"]["ContentType"] == "text/csv"
    assert one["config"]["inputdataconfig"]["fast"]["TrainingInputMode"] == "File"  # T-33
    assert one["config"]["resourceconfig"]["current_instance_type"] == "ml.m5.large"
    assert one["environment"]["MINE"] == "yes"
    assert one["environment"]["TRAINING_JOB_NAME"] == name
    assert not [variable for variable in one["environment"] if variable.startswith("AWS_")]
    assert one["epoch"] == 4
    assert local.get(f"s3://{BUCKET}/ck/epoch") == b"7"
    assert local.unpacked(f"s3://{BUCKET}/out/{name}/output/output.tar.gz") == {"notes": b"a note"}
    values = {one["MetricName"]: one["Value"] for one in job["FinalMetricDataList"]}
    assert values == {"loss": pytest.approx(1 / 3)}
    words = [step["Status"] for step in job["SecondaryStatusTransitions"]]
    assert words == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    lines = local.logged("/aws/sagemaker/TrainingJobs", f"{name}/algo-1-")
    assert lines[0] == "starting at epoch 4 on algo-1" and lines[-1].startswith("epoch=2;")
    tags = local.client("sagemaker").list_tags(ResourceArn=job["TrainingJobArn"])["Tags"]
    assert tags == [{"Key": "team", "Value": "ours"}]


def test_a_failed_job_says_in_its_own_words_why(local: Emulator, image: str, name: str) -> None:
    words = {"then": "fail", "words": "the column price is missing"}
    sagemaker = local.client("sagemaker")
    sagemaker.create_training_job(**request(image, name, HyperParameters=words))
    with pytest.raises(WaiterError):
        sagemaker.get_waiter("training_job_completed_or_stopped").wait(
            TrainingJobName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )
    job = ended(local, name)
    assert job["FailureReason"] == "AlgorithmError: the column price is missing, exit code: 3"
    assert "ModelArtifacts" not in job or "S3ModelArtifacts" not in job["ModelArtifacts"]
    keys = local.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=f"out/{name}/")
    assert [one["Key"] for one in keys["Contents"]] == [f"out/{name}/output/output.tar.gz"]


def test_a_job_without_data_or_with_an_image_that_cannot_run_fails(
    local: Emulator, image: str, name: str
) -> None:
    job = trained(local, image, name, InputDataConfig=[channel("a", "in/nothing")])
    assert job["FailureReason"].startswith(
        "ClientError: Data download failed:S3 key: s3://the-bucket/in/nothing"
    )
    job = trained(local, image, f"{name}-2", algorithm={"ContainerEntrypoint": ["no-such-program"]})
    assert job["TrainingJobStatus"] == "Failed"
    assert "no-such-program" in job["FailureReason"]


def test_stop_and_the_time_limit_keep_what_was_saved(local: Emulator, image: str, name: str) -> None:
    sagemaker = local.client("sagemaker")
    then = {"then": "wait"}
    sagemaker.create_training_job(**request(image, name, HyperParameters=then))
    wait(lambda: "waiting" in local.logged("/aws/sagemaker/TrainingJobs", f"{name}/"))
    sagemaker.stop_training_job(TrainingJobName=name)
    stopped = ended(local, name)
    assert (stopped["TrainingJobStatus"], stopped["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert "algo-1" in seen(local, stopped)
    with pytest.raises(ClientError, match="is in status Stopped"):
        sagemaker.stop_training_job(TrainingJobName=name)
    late = f"{name}-late"
    limit = {"MaxRuntimeInSeconds": 3}
    job = trained(local, image, late, HyperParameters=then, StoppingCondition=limit)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert "algo-1" in seen(local, job)


def test_hosts_find_each_other_share_the_data_and_leave_one_model(
    local: Emulator, image: str, name: str
) -> None:
    local.put(shards__a="a", shards__b="b", shards__c="c")
    manifest = [{"prefix": f"s3://{BUCKET}/shards/"}, "b", "c"]
    local.put(manifest=json.dumps(manifest))
    source = {"S3DataDistributionType": "ShardedByS3Key"}
    channels = [channel("a", "shards", source=source), channel("m", "manifest", source=LISTED)]
    job = trained(local, image, name, hosts=2, InputDataConfig=channels, EnableNetworkIsolation=True)
    assert job["TrainingJobStatus"] == "Completed", job
    found = seen(local, job)
    assert {host: one["peers"] for host, one in found.items()} == {"algo-1": ["algo-2"], "algo-2": ["algo-1"]}
    data = {host: sorted(path.rpartition("/")[2] for path in one["files"]) for host, one in found.items()}
    assert data == {"algo-1": ["a", "b", "c", "c"], "algo-2": ["b", "b", "c"]}


def test_a_pipe_gives_the_objects_once_for_each_epoch(local: Emulator, image: str, name: str) -> None:
    local.put(piped__a="one\n", piped__b="two\n")
    job = trained(local, image, name, InputDataConfig=[channel("p", "piped/", InputMode="Pipe")])
    assert job["TrainingJobStatus"] == "Completed", job
    one = seen(local, job)["algo-1"]
    assert one["piped"] == ["one\ntwo\n"] * 2
    assert one["config"]["inputdataconfig"]["p"]["TrainingInputMode"] == "Pipe"


def test_an_isolated_host_has_no_network(local: Emulator, image: str, name: str) -> None:
    job = trained(local, image, name, EnableNetworkIsolation=True)
    assert seen(local, job)["algo-1"]["addresses"] == ["lo"]
    job = trained(local, image, f"{name}-open")
    assert "eth0" in seen(local, job)["algo-1"]["addresses"]


HOST = {"InstanceCount": 1, "VolumeSizeInGB": 1}
LISTED = {"S3DataType": "ManifestFile"}
WRONG = [
    ({"TrainingJobName": "bad_name!"}, "at 'trainingJobName' failed to satisfy constraint"),
    ({"TrainingJobName": "x" * 64}, "length less than or equal to 63"),
    ({"RoleArn": "arn:aws:iam::123456789012:user/me"}, "at 'roleArn' failed"),
    ({"RoleArn": "arn:aws:iam::123456789012:role/nobody"}, "Could not assume role"),
    ({"HyperParameters": {"a": "x" * 2501}}, "length less than or equal to 2500"),
    ({"HyperParameters": {str(i): "" for i in range(101)}}, "'hyperParameters' failed"),
    ({"Environment": {"1a": "x"}}, "at 'environment' failed"),
    ({"hosts": 0}, "ResourceConfig must have InstanceCount"),
    ({"ResourceConfig": {**HOST, "InstanceType": "ml.m5.huge"}}, "enum value set"),
    ({"ResourceConfig": HOST}, "InstanceType"),
    ({"OutputDataConfig": {"S3OutputPath": "/tmp/out"}}, "at 'outputDataConfig.s3OutputPath' failed"),
    ({"StoppingCondition": {"MaxRuntimeInSeconds": 0}}, "at 'stoppingCondition.maxRuntimeInSeconds' failed"),
    ({"StoppingCondition": {"MaxWaitTimeInSeconds": 9}}, "EnableManagedSpotTraining"),
    ({"EnableManagedSpotTraining": True}, "MaxWaitTimeInSeconds"),
    ({"InputDataConfig": [channel("a b", "in")]}, "at 'inputDataConfig.1.member.channelName' failed"),
    ({"InputDataConfig": [channel("a", "in"), channel("a", "in")]}, "must be unique"),
    ({"InputDataConfig": [channel("a", "in", CompressionType="Gzip")]}, "T-35"),
    ({"InputDataConfig": [channel("a", "in", InputMode="FastFile", source=LISTED)]}, "FastFile"),
    ({"algorithm": {"MetricDefinitions": [{"Name": "a", "Regex": "("}]}}, "metric a has an invalid Regex"),
    ({"algorithm": {"MetricDefinitions": [{"Name": "a", "Regex": "x"}]}}, "without a group"),
    ({"algorithm": {"TrainingImage": ""}}, "TrainingImage"),
    ({"Tags": [{"Key": "a" * 129, "Value": ""}]}, "at 'tags.1.member.key' failed"),
]  # fmt: skip


@pytest.mark.parametrize("change,words", WRONG, ids=[str(number) for number in range(len(WRONG))])
def test_a_wrong_request_is_refused_with_the_name_of_the_field(
    local: Emulator, change: dict[str, Any], words: str
) -> None:
    given = {"name": "wrong", **change}
    name = given.pop("TrainingJobName", given.pop("name"))
    with pytest.raises(ClientError) as refused:
        local.unchecked("sagemaker").create_training_job(**request("image", name, **given))
    error = refused.value.response["Error"]
    assert (error["Code"], words in error["Message"]) == ("ValidationException", True), error


def test_a_name_that_is_taken_is_refused_by_the_cli_too(local: Emulator, image: str, name: str) -> None:
    text = json.dumps(request(image, name))
    first = local.aws("sagemaker", "create-training-job", "--cli-input-json", text)
    assert json.loads(first.stdout)["TrainingJobArn"].endswith(f":training-job/{name}"), first.stderr
    second = local.aws("sagemaker", "create-training-job", "--cli-input-json", text)
    assert second.returncode != 0 and "(ResourceInUse)" in second.stderr
    assert ended(local, name)["TrainingJobStatus"] == "Completed"
    listed = local.aws("sagemaker", "list-training-jobs", "--name-contains", name, "--max-items", "1")
    assert [one["TrainingJobName"] for one in json.loads(listed.stdout)["TrainingJobSummaries"]] == [name]


def test_a_spot_interruption_on_demand_kills_a_job_once_and_its_checkpoints_come_back(
    local: Emulator, image: str, name: str
) -> None:
    where = f"s3://{BUCKET}/{name}"
    job = trained(
        local,
        image,
        name,
        hosts=2,
        HyperParameters={"then": "wait-once"},
        EnableManagedSpotTraining=True,
        StoppingCondition={"MaxRuntimeInSeconds": 300, "MaxWaitTimeInSeconds": 300},
        CheckpointConfig={"S3Uri": where},
    )
    words = [step["Status"] for step in job["SecondaryStatusTransitions"]]
    again = ["Training", "Interrupted", "Starting", "Training"]
    assert words == ["Starting", "Downloading", *again, "Uploading", "Completed"]
    assert [one["epoch"] for one in seen(local, job).values()] == [3, 3]
    assert local.get(f"{where}/epoch") == b"6"
    starts = [line for line in local.logged("/aws/sagemaker/TrainingJobs", f"{name}/") if "starting" in line]
    assert sorted(starts) == [f"starting at epoch {at} on algo-{host}" for at in (0, 3) for host in (1, 2)]


def test_pages_of_a_list_are_all_of_it(local: Emulator) -> None:
    pages = local.client("sagemaker").get_paginator("list_training_jobs").paginate(MaxResults=2)
    names = [one["TrainingJobName"] for page in pages for one in page["TrainingJobSummaries"]]
    assert len(names) == len(set(names)) > 2
