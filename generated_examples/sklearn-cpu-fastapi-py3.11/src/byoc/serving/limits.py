"""SageMaker's limits per way of hosting: one table for nginx, the server and /execution-parameters."""

import os
from collections.abc import Mapping
from typing import NamedTuple

MIB = 1024 * 1024


class Limits(NamedTuple):
    """Largest request body, and the longest that SageMaker waits for an answer."""

    payload_bytes: int
    timeout_seconds: int


BY_MODE = {
    "realtime": Limits(25 * MIB, 60),  # S-22, S-23
    "serverless": Limits(4 * MIB, 60),  # SV-03
    "batch": Limits(100 * MIB, 3600),  # B-06, B-07
    "async": Limits(1024 * MIB, 3600),
}

# SageMaker sends SIGKILL 30 s after SIGTERM (S-03): requests in flight get this long to finish.
DRAIN_SECONDS = 25
# SageMaker waits at most so long for the first healthy ping (S-13).
STARTUP_SECONDS = 3600


def current(environment: Mapping[str, str] = os.environ) -> Limits:
    """The limits of this container. HOSTING_MODE chooses; SAGEMAKER_BATCH means batch (B-02).

    SAGEMAKER_MAX_PAYLOAD_IN_MB and SAGEMAKER_MODEL_SERVER_TIMEOUT override single values (B-03).
    """
    is_batch = environment.get("SAGEMAKER_BATCH", "").lower() == "true"
    mode = environment.get("HOSTING_MODE", "batch" if is_batch else "realtime")
    if mode not in BY_MODE:
        raise ValueError(f"HOSTING_MODE is {mode!r}; choose one of {', '.join(BY_MODE)}")
    limits = BY_MODE[mode]
    if megabytes := _positive(environment, "SAGEMAKER_MAX_PAYLOAD_IN_MB"):
        limits = limits._replace(payload_bytes=megabytes * MIB)
    if seconds := _positive(environment, "SAGEMAKER_MODEL_SERVER_TIMEOUT"):
        limits = limits._replace(timeout_seconds=seconds)
    return limits


def execution_parameters(
    concurrency: int, environment: Mapping[str, str] = os.environ
) -> dict[str, int | str]:
    """The answer to GET /execution-parameters: what a transform job uses unless its user said more (B-04)."""
    payload = _positive(environment, "SAGEMAKER_MAX_PAYLOAD_IN_MB") or 6
    # SageMaker refuses more than 100 MB in flight (B-07).
    fitting = max(1, min(concurrency, 100 // payload))
    return {
        "MaxConcurrentTransforms": _positive(environment, "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS") or fitting,
        "BatchStrategy": environment.get("SAGEMAKER_BATCH_STRATEGY") or "MULTI_RECORD",
        "MaxPayloadInMB": payload,
    }


def _positive(environment: Mapping[str, str], name: str) -> int:
    """A whole number from the environment; 0 where it is absent, 0 or empty."""
    text = environment.get(name) or "0"
    if not text.isdecimal():
        raise ValueError(f"{name} is {text!r}; it must be a whole number")
    return int(text)
