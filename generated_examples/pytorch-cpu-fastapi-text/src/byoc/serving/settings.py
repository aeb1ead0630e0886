"""Every setting of `serve`, read from the environment in one place. An empty variable counts as unset.

The limits follow SageMaker's table per way of hosting. The workers are planned from what the container was
given, not from what the host has.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from byoc import machine, paths
from byoc.framework import WORKER_MEMORY_MIB
from byoc.machine import MIB

# Largest request body in MiB, and how many seconds SageMaker waits for an answer.
MODES = {
    "realtime": (25, 60),  # S-22, S-23
    "serverless": (4, 60),  # SV-03
    "batch": (100, 3600),  # B-06, B-07
    "async": (1024, 3600),
}
# The value of SAGEMAKER_MAX_PAYLOAD_IN_MB with which a transform job sends bodies of any size (B-08).
UNLIMITED = 0

# `serve` tells its processes where the folder of this run is. In it are the socket on which workers report,
# one on which PID 1 answers a proxy, one for requests that no worker accepted and, when the container stops,
# a file that says so.
RUN_DIR_VARIABLE = "BYOC_RUN_DIR"
REPORTS, HEALTH, SIDE_DOOR, DRAINING = "reports.sock", "health.sock", "side-door.sock", "draining"
READY, FAILED = "ready", "failed"

# SageMaker sends SIGKILL 30 s after SIGTERM (S-03). Requests in flight get this long to finish.
DRAIN_SECONDS = 24

# A loaded model takes about twice the bytes of its artifact.
LOADED_FACTOR = 2
# The rest is for the system, for the proxy, and for bodies that wait until a worker has memory for them.
USABLE_SHARE = 0.8
# A body takes up to this many times its size while it is decoded and predicted: JSON takes the most.
EXPANSION = 16
REQUEST_THREADS = 4


class SettingError(ValueError):
    """A setting that cannot work: the message names the variable and says what it may be."""


@dataclass(frozen=True)
class Settings:
    """What this container serves with. Sizes are in bytes; those of memory are per worker."""

    port: int
    payload_bytes: int  # 0 where there is no limit
    timeout_seconds: int
    workers: int
    request_threads: int  # requests that a worker answers at a time
    compute_threads: int  # CPU threads that one prediction may use
    reason: str  # why so many workers
    working_bytes: int  # request bodies that are decoded and predicted at a time
    waiting_bytes: int  # request bodies that are kept until they can be
    execution_parameters: Mapping[str, int | str]  # the answer to GET /execution-parameters (B-04)

    def __str__(self) -> str:
        return (
            f"{self.workers} worker(s) x {self.request_threads} requests,"
            f" {self.compute_threads} compute thread(s) each ({self.reason})"
        )


def read(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read and check all settings. Raises SettingError for the first one that cannot work."""
    if program := environment.get("SAGEMAKER_PROGRAM"):  # of SDK v2's Model(entry_point=...)
        raise SettingError(
            f"SAGEMAKER_PROGRAM is {program[:100]!r}, and this image serves its own model.py: leave out"
            " entry_point, or copy the functions into src/model.py"
        )
    is_batch = environment.get("SAGEMAKER_BATCH", "").lower() == "true"  # B-02
    mode = environment.get("HOSTING_MODE") or ("batch" if is_batch else "realtime")
    if mode not in MODES:
        raise SettingError(f"HOSTING_MODE is {mode!r}; it must be one of {', '.join(MODES)}")
    megabytes, seconds = MODES[mode]
    payload = _whole(environment, "SAGEMAKER_MAX_PAYLOAD_IN_MB", megabytes, least=UNLIMITED)
    if payload == UNLIMITED and mode != "batch":
        payload = megabytes
    workers, reason = _workers(mode)
    workers = _whole(environment, "SAGEMAKER_MODEL_SERVER_WORKERS", workers)
    threads = _whole(environment, "SAGEMAKER_MODEL_SERVER_THREADS", REQUEST_THREADS)
    memory = machine.memory_bytes()
    working = max(0, int(memory * USABLE_SHARE) - workers * _worker_bytes()) // workers // EXPANSION
    return Settings(
        port=_whole(environment, "SAGEMAKER_BIND_TO_PORT", 8080, most=65535),  # S-50
        payload_bytes=payload * MIB,
        timeout_seconds=_whole(environment, "SAGEMAKER_MODEL_SERVER_TIMEOUT", seconds),
        workers=workers,
        request_threads=threads,
        compute_threads=_whole(environment, "OMP_NUM_THREADS", max(1, machine.cpus() // workers)),
        reason=reason,
        working_bytes=working,
        waiting_bytes=int(memory * (1 - USABLE_SHARE)) // workers,
        execution_parameters=_execution_parameters(environment, workers * threads),
    )


def run_dir() -> Path | None:
    """The folder of the `serve` that this process belongs to; None where there is none, as in a unit test."""
    folder = os.environ.get(RUN_DIR_VARIABLE)
    return Path(folder) if folder else None


def _worker_bytes() -> int:
    """Memory of one worker with its model, without requests."""
    model = sum(path.stat().st_size for path in paths.model().rglob("*") if path.is_file())
    return WORKER_MEMORY_MIB * MIB + LOADED_FACTOR * model


def _workers(mode: str) -> tuple[int, str]:
    """How many workers, and why: one per GPU, else one per CPU as far as memory holds a model in each."""
    if mode == "serverless":
        return 1, "serverless wants one model copy"  # SV-06
    if gpus := machine.gpus():
        return gpus, f"{gpus} GPU(s)"
    cpus, memory, need = machine.cpus(), machine.memory_bytes(), _worker_bytes()
    reason = f"{cpus} CPU(s), {memory // MIB} MiB of which a worker needs about {need // MIB}"
    return min(cpus, max(1, int(memory * USABLE_SHARE) // need)), reason


def _execution_parameters(environment: Mapping[str, str], concurrency: int) -> dict[str, int | str]:
    """What a transform job uses unless its user chose otherwise (B-03, B-04).

    The strategy is left to SageMaker's default: its local mode refuses the documented spelling.
    """
    payload = _whole(environment, "SAGEMAKER_MAX_PAYLOAD_IN_MB", 6, least=UNLIMITED)
    # SageMaker refuses more than 100 MB in flight (B-07).
    fitting = max(1, min(concurrency, 100 // payload)) if payload else 1
    transforms = _whole(environment, "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS", fitting)
    strategy = environment.get("SAGEMAKER_BATCH_STRATEGY")
    chosen = {"BatchStrategy": strategy} if strategy else {}
    return {"MaxConcurrentTransforms": transforms, "MaxPayloadInMB": payload, **chosen}


def _whole(environment: Mapping[str, str], name: str, default: int, least: int = 1, most: int = 10**9) -> int:
    """A whole number within bounds from the environment; the default where the variable is unset or empty."""
    text = environment.get(name, "").strip()
    # isdecimal() also accepts the digits of other scripts, and int() limits the length of what it reads.
    is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(most))
    if text and not (is_number and least <= int(text) <= most):
        raise SettingError(f"{name} is {text[:100]!r}; it must be a whole number from {least} to {most}")
    return int(text) if text else default
