"""How SageMaker runs a container that serves a model."""

from __future__ import annotations

from collections.abc import Mapping

from sagegen.engine import Spec, Volume

PORT = 8080
MODEL = "/opt/ml/model"
HOST = "model.aws.local"
#: A transform job's strategies: as its request names them, and as its container is told.
STRATEGIES = {"MultiRecord": "MULTI_RECORD", "SingleRecord": "SINGLE_RECORD"}


def serving(model: str | None, network: str, environment: Mapping[str, str] | None = None) -> Spec:
    """An endpoint's container: the volume of its model is read-only; its environment is the model's own."""
    return Spec(
        command=("serve",),
        volumes=(Volume(model, MODEL, read_only=True),) if model else (),
        network=network,
        hostname=HOST,
        environment=environment or {},
    )


def transform_environment(
    strategy: str | None = "MultiRecord", payload_megabytes: int | None = 6, concurrent: int | None = 1
) -> dict[str, str]:
    """What the container of a transform job is told; None where the job does not set it (B-02, B-03)."""
    told = {
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": payload_megabytes,
        "SAGEMAKER_BATCH_STRATEGY": strategy and STRATEGIES[strategy],
        "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": concurrent,
    }
    return {
        "SAGEMAKER_BATCH": "true",
        **{name: str(value) for name, value in told.items() if value is not None},
    }
