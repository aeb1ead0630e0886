"""What `python -m deploy` would send: no emulator, no network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deployments import Repository

KEY, DISK = "arn:aws:kms:us-east-1:123456789012:key/objects", "arn:aws:kms:us-east-1:123456789012:key/disks"
TAGS = [{"Key": "team", "Value": "birds"}]
NETWORK = {"Subnets": ["subnet-0a"], "SecurityGroupIds": ["sg-0b"]}
JOB = {
    "OutputDataConfig.KmsKeyId": KEY,
    "ResourceConfig.VolumeKmsKeyId": DISK,
    "VpcConfig": NETWORK,
    "EnableNetworkIsolation": True,
}
VERBS = ("up", "upload", "train", "tune", "deploy", "transform", "scale")
#: For each call of these verbs: where which setting must be.
REACHES = {
    "create_stack": {"Tags": TAGS},
    "upload_fileobj": {"SSEKMSKeyId": KEY, "ServerSideEncryption": "aws:kms", "Tagging": "team=birds"},
    "create_training_job": {**JOB, "Tags": TAGS},
    "create_hyper_parameter_tuning_job": {
        **{f"TrainingJobDefinition.{path}": value for path, value in JOB.items()},
        "Tags": TAGS,
    },
    "create_model": {"VpcConfig": NETWORK, "EnableNetworkIsolation": True, "Tags": TAGS},
    "create_endpoint_config": {
        "KmsKeyId": DISK,
        "DataCaptureConfig.KmsKeyId": KEY,
        "DataCaptureConfig.EnableCapture": True,
        "VpcConfig": None,
        "EnableNetworkIsolation": None,
        "Tags": TAGS,
    },
    "put_metric_alarm": {"Tags": TAGS},
    "create_endpoint": {"Tags": TAGS},
    "create_transform_job": {
        "TransformOutput.KmsKeyId": KEY,
        "TransformResources.VolumeKmsKeyId": DISK,
        "Tags": TAGS,
    },
    "put_scaling_policy": {},
    "register_scalable_target": {"Tags": {"team": "birds"}},
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return Repository(tmp_path_factory.mktemp("deploy") / "penguins")


@pytest.fixture
def changed(repository: Repository) -> Iterator[Repository]:
    """The same, whose settings a test may change."""
    before = repository.settings.read_text()
    yield repository
    repository.settings.write_text(before)


def at(request: dict[str, Any], path: str) -> Any:
    value: Any = request
    for name in path.split("."):
        value = (value or {}).get(name)
    return value


def secure(repository: Repository, capture: bool = True) -> None:
    repository.set(
        kms_key=f'"{KEY}"',
        volume_kms_key=f'"{DISK}"',
        subnets='["subnet-0a"]',
        security_groups='["sg-0b"]',
        network_isolation="true",
        tags='{ team = "birds" }',
        **({"capture_percent": "50"} if capture else {}),
    )


def test_keys_network_isolation_capture_and_tags_reach_all_that_have_them(
    changed: Repository,
) -> None:
    secure(changed)
    calls = [call for verb in VERBS for call in changed.calls(verb)]
    for operation, request in calls:
        for path, wanted in REACHES[operation].items():
            assert at(request, path) == wanted, f"{operation}: {path}"
    assert REACHES.keys() - {operation for operation, _ in calls} == set()


def test_an_asynchronous_endpoint_keeps_answers_under_your_key_and_starts_from_zero(
    tmp_path: Path,
) -> None:
    one = Repository(tmp_path / "one", hosting="async")
    secure(one, capture=False)
    calls = dict(one.calls("deploy"))
    output = calls["create_endpoint_config"]["AsyncInferenceConfig"]["OutputConfig"]
    assert output["KmsKeyId"] == KEY and output["S3OutputPath"] != output["S3FailurePath"]
    scaled = one.calls("scale")
    assert scaled[0][1]["MinCapacity"] == 0
    kinds = [request["PolicyType"] for operation, request in scaled if operation == "put_scaling_policy"]
    assert kinds == ["TargetTrackingScaling", "StepScaling"]
    assert scaled[-1][1]["MetricName"] == "HasBacklogWithoutCapacity"


def test_a_serverless_endpoint_has_memory_and_no_instance(tmp_path: Path) -> None:
    one = Repository(tmp_path / "one", hosting="serverless")
    variant = dict(one.calls("deploy"))["create_endpoint_config"]["ProductionVariants"][0]
    assert variant["ServerlessConfig"] == {"MemorySizeInMB": 2048, "MaxConcurrency": 5}
    assert "InstanceType" not in variant
    assert "has no instances to scale" in one.refused("scale")


def test_a_canary_goes_back_when_an_alarm_does(changed: Repository) -> None:
    changed.set(strategy='"canary"')
    names = [request["AlarmName"] for operation, request in changed.calls("deploy") if "alarm" in operation]
    assert names == ["penguins-5xx", "penguins-slow", "penguins-unhealthy"]


@pytest.mark.parametrize(
    "settings,verb,says",
    [
        ({"region": '"us-esat-1"'}, "up", "no region is called us-esat-1"),
        ({"instance_count": '"one"'}, "train", "must be of type int, not str"),
        ({"max_seconds": "0"}, "train", "MaxRuntimeInSeconds"),
        ({"strategy": '"blue"'}, "deploy", "choose all_at_once, canary, linear"),
        ({"kms_key": '"a key"'}, "train", "KmsKeyId: 'a key' does not match"),
        ({"subnets": '["subnet-0"]'}, "train", "VpcConfig.SecurityGroupIds"),
    ],
)
def test_a_setting_that_aws_would_refuse_is_refused_before_the_first_call(
    changed: Repository, settings: dict[str, str], verb: str, says: str
) -> None:
    if "instance_count" in settings:
        text = changed.settings.read_text()
        changed.settings.write_text(text.replace("instance_count = 1", 'instance_count = "one"', 1))
    else:
        changed.set(**settings)
    code, _, err = changed.run(verb, "--dry-run")
    assert code == 1 and says in err.splitlines()[-1]


@pytest.mark.parametrize(
    "line,says",
    [
        ("[train]\ninstance_typ = 1", "unknown train.instance_typ – do you mean instance_type?"),
        ("name = ", "settings.toml is not TOML"),
        ('[train]\ninstance_type = "ml.m6g.large"', "ml.m6g.large is linux/arm64 and the image linux/amd64"),
        ('[train]\ninstance_type = "ml.g5.xlarge"', "the image is for CPU – choose ml.m5.large"),
        (
            '[train]\ninstance_type = "ml.m5.tiny"\n[hosting]\ninstance_type = "ml.m5.large"',
            "AWS knows no ml.m5.tiny",
        ),
    ],
)
def test_a_wrong_settings_file_is_one_line_that_names_the_key(
    changed: Repository, line: str, says: str
) -> None:
    changed.settings.write_text(f'name = "penguins"\nregion = "us-east-1"\n{line}\n')
    code, _, err = changed.run("train", "--dry-run")
    assert code == 1 and says in err.splitlines()[-1]
