"""How many workers serve, planned from what the container was given, not from what the host has."""

import os
from collections.abc import Mapping
from typing import NamedTuple

from byoc import gpu, paths
from byoc.framework import WORKER_MEMORY_MIB
from byoc.resources import MIB, cpus, memory_mib

# An artifact grows when it is loaded; and the system, the proxy and request bodies want room too.
LOADED_FACTOR = 2
USABLE_SHARE = 0.8
REQUEST_THREADS = 4


class Plan(NamedTuple):
    """Worker processes, concurrent requests in each, and the CPU threads that one prediction may use."""

    workers: int
    request_threads: int
    compute_threads: int
    reason: str

    def __str__(self) -> str:
        return (
            f"{self.workers} worker(s) x {self.request_threads} requests,"
            f" {self.compute_threads} compute thread(s) each ({self.reason})"
        )


def plan(environment: Mapping[str, str] = os.environ) -> Plan:
    """Plan the workers of `serve`.

    One per GPU, else one per CPU as far as memory holds a model copy in each.
    SAGEMAKER_MODEL_SERVER_WORKERS, SAGEMAKER_MODEL_SERVER_THREADS and OMP_NUM_THREADS override the plan.
    """
    cores, memory, gpus = cpus(), memory_mib(), gpu.count()
    model_mib = sum(p.stat().st_size for p in paths.model().rglob("*") if p.is_file()) // MIB
    need = WORKER_MEMORY_MIB + LOADED_FACTOR * model_mib
    fitting = max(1, int(memory * USABLE_SHARE) // need)
    if environment.get("HOSTING_MODE") == "serverless":
        workers, why = 1, "serverless wants one model copy"  # SV-06
    elif gpus:
        workers, why = gpus, f"{gpus} GPU(s)"
    else:
        workers = min(cores, fitting)
        why = f"{cores} CPU(s), {memory} MiB of which a worker needs about {need}"
    workers = int(environment.get("SAGEMAKER_MODEL_SERVER_WORKERS") or workers)
    threads = int(environment.get("SAGEMAKER_MODEL_SERVER_THREADS") or REQUEST_THREADS)
    compute = int(environment.get("OMP_NUM_THREADS") or max(1, cores // workers))
    return Plan(workers, threads, compute, why)
