"""What a user of SDK v3 does with an image: in local mode, and on an account."""

from __future__ import annotations

from typing import Any

import boto3
from program import BUCKET, Given, main
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.resources import Endpoint, EndpointConfig, Model
from sagemaker.core.shapes import ContainerDefinition, ProductionVariant, StoppingCondition
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, OutputDataConfig, SourceCode
from sagemaker.train.model_trainer import Mode

CHANNELS = ("train", "validation", "test")


def local(given: Given, name: str, data: str, **more: Any) -> str:
    """Train in local mode; the path of the artifact."""
    root = given.folder / name
    root.mkdir()
    ModelTrainer(
        training_image=given.image,
        training_mode=Mode.LOCAL_CONTAINER,
        role=given.role,
        base_job_name=name,
        local_container_root=str(root),
        compute=Compute(instance_type="local_cpu", instance_count=1),
        hyperparameters={"epochs": 4, "first_c": 0.5},
        input_data_config=[InputData(channel_name=c, data_source=f"{data}/{c}") for c in CHANNELS],
        **more,
    ).train()
    return str(root / "compressed_artifacts/model.tar.gz")


def plain(given: Given, _: Any) -> str:
    """Nothing says what the container is to run."""
    return local(given, "plain", str(given.data))


def with_a_command(given: Given, _: Any) -> str:
    return local(given, "command", str(given.data), source_code=SourceCode(command="train"))


def with_a_script(given: Given, _: Any) -> str:
    source = given.folder / "source"
    source.mkdir()
    (source / "mine.py").write_text(SCRIPT)
    code = SourceCode(source_dir=str(source), entry_script="mine.py")
    return local(given, "script", str(given.data), source_code=code)


SCRIPT = """
import json, os, pathlib
hyperparameters = json.loads(os.environ["SM_HPS"])
rows = sum(1 for _ in open(os.environ["SM_CHANNEL_TRAIN"] + "/penguins.csv"))
words = f"{hyperparameters['epochs']} {hyperparameters['first_c']} {rows}"
pathlib.Path(os.environ["SM_MODEL_DIR"], "mine.txt").write_text(words)
"""


def account(given: Given, _: Any) -> str:
    """Train, deploy and predict on an account."""
    data, session = given.uploaded(), Session(default_bucket=BUCKET)
    trainer = ModelTrainer(
        training_image=given.image,
        role=given.role,
        sagemaker_session=session,
        base_job_name="account",
        compute=Compute(instance_type="ml.m5.large", instance_count=1, volume_size_in_gb=5),
        hyperparameters={"epochs": 4, "first_c": 0.5},
        output_data_config=OutputDataConfig(s3_output_path=f"s3://{BUCKET}/out"),
        stopping_condition=StoppingCondition(max_runtime_in_seconds=300),
        input_data_config=[InputData(channel_name=c, data_source=f"{data}/{c}") for c in CHANNELS],
    )
    trainer.train(logs=False)
    sagemaker = boto3.client("sagemaker")
    (job,) = sagemaker.list_training_jobs(NameContains="account")["TrainingJobSummaries"]
    done = sagemaker.describe_training_job(TrainingJobName=job["TrainingJobName"])
    artifact = done["ModelArtifacts"]["S3ModelArtifacts"]
    container = ContainerDefinition(image=given.image, model_data_url=artifact)
    Model.create(model_name="fitted", primary_container=container, execution_role_arn=given.role)
    variant = ProductionVariant(
        variant_name="all", model_name="fitted", initial_instance_count=1, instance_type="ml.m5.large"
    )
    EndpointConfig.create(endpoint_config_name="fitted", production_variants=[variant])
    endpoint = Endpoint.create(endpoint_name="fitted", endpoint_config_name="fitted")
    sagemaker.get_waiter("endpoint_in_service").wait(
        EndpointName="fitted", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    answer = endpoint.invoke(body=given.records.read_bytes(), content_type="text/csv", accept="text/csv")
    return answer.body.read().decode()


if __name__ == "__main__":
    main(plain, with_a_command, with_a_script, account)
