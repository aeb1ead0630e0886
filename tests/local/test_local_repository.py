"""A generated repository's whole life, with the image that its users build."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from emulators import BUCKET, ENDED, ROLE, Emulator, channel, request, wait
from helpers import build_image

from sagegen.render import render

FAST = {"Delay": 1, "MaxAttempts": 120}
TYPES = {
    "csv": "text/csv",
    "json": "application/json",
    "jsonl": "application/jsonlines",
    "parquet": "application/x-parquet",
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("local") / "repository"
    render(folder, {})
    return folder


@pytest.fixture(scope="module")
def built(repository: Path) -> Iterator[str]:
    name = f"sagegen-test-local-sklearn:{uuid.uuid4().hex[:8]}"
    done = build_image(repository, name)
    assert done.returncode == 0, done.stderr[-2000:]
    yield name
    subprocess.run(["docker", "rmi", "--force", name], check=False, capture_output=True)


def test_a_generated_repository_trains_serves_and_transforms(
    local: Emulator, repository: Path, built: str
) -> None:
    sagemaker, runtime = local.client("sagemaker"), local.client("sagemaker-runtime")
    data = repository / "local_test/opt_ml/input/data"
    for file in data.rglob("*.csv"):
        local.put(**{f"penguins__{file.parent.name}__{file.name}": file.read_bytes()})
    channels = [channel(folder.name, f"penguins/{folder.name}") for folder in sorted(data.iterdir())]
    metric = {"Name": "test_accuracy", "Regex": "test_accuracy=([0-9.]+);"}
    job: dict[str, Any] = request(
        built, "penguins", InputDataConfig=channels, algorithm={"MetricDefinitions": [metric]}
    )
    sagemaker.create_training_job(**job)
    sagemaker.get_waiter("training_job_completed_or_stopped").wait(
        TrainingJobName="penguins", WaiterConfig=FAST
    )
    trained = sagemaker.describe_training_job(TrainingJobName="penguins")
    assert trained["FinalMetricDataList"][0]["Value"] > 0.9
    artifact = trained["ModelArtifacts"]["S3ModelArtifacts"]
    part = {"Image": built, "ModelDataUrl": artifact}
    sagemaker.create_model(ModelName="penguins", ExecutionRoleArn=ROLE, PrimaryContainer=part)

    payloads = repository / "local_test/payloads"
    expected = (payloads / "expected.csv").read_bytes()
    variant = {
        "VariantName": "all",
        "ModelName": "penguins",
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    sagemaker.create_endpoint_config(EndpointConfigName="penguins", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="penguins", EndpointConfigName="penguins")
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="penguins", WaiterConfig=FAST)
    for file in payloads.glob("records.*"):
        answer = runtime.invoke_endpoint(
            EndpointName="penguins",
            Body=file.read_bytes(),
            ContentType=TYPES[file.suffix[1:]],
            Accept="text/csv",
        )
        assert answer["Body"].read() == expected, file.name
    with pytest.raises(runtime.exceptions.ModelError) as refused:
        runtime.invoke_endpoint(EndpointName="penguins", Body=b"a,b\n1,2\n", ContentType="text/csv")
    assert refused.value.response["OriginalStatusCode"] == 400

    local.put(batch__penguins=(payloads / "records.csv").read_bytes())
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/batch/"}}
    sagemaker.create_transform_job(
        TransformJobName="penguins",
        ModelName="penguins",
        TransformInput={"DataSource": source, "ContentType": "text/csv", "SplitType": "Line"},
        TransformOutput={
            "S3OutputPath": f"s3://{BUCKET}/scored",
            "AssembleWith": "Line",
            "Accept": "text/csv",
        },
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )

    def transformed() -> Any:
        found = sagemaker.describe_transform_job(TransformJobName="penguins")
        return found if found["TransformJobStatus"] in ENDED else None

    found = wait(transformed)
    assert found["TransformJobStatus"] == "Completed", found
    assert local.get(f"s3://{BUCKET}/scored/penguins.out") == expected
    sagemaker.delete_endpoint(EndpointName="penguins")
