"""Several processes that train one model with Keras' distribution on JAX; one process needs none of it."""

import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import keras
import numpy as np
from jax.experimental import multihost_utils

RANK, PROCESSES = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def join() -> None:
    """Make this process one of the job's. On CPU, a process that hangs ends the job after the timeout."""
    if PROCESSES > 1:
        timeout = int(os.environ.get("COLLECTIVE_TIMEOUT_SECONDS", "600"))
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_collective_timeout_seconds={timeout}"
        address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        jax.distributed.initialize(address, PROCESSES, RANK, int(os.environ["LOCAL_RANK"]))
        distribution = keras.distribution.DataParallel(auto_shard_dataset=False)
        keras.distribution.set_distribution(distribution)


def agree(flag: bool) -> bool:
    """Whether the flag is true in any process. Every process must ask at the same step."""
    return bool(total(np.int32(flag)))


def total(value: Any) -> np.ndarray:
    """The sum over all processes of a number or array."""
    if PROCESSES == 1:
        return np.asarray(value)
    summed: np.ndarray = np.asarray(multihost_utils.process_allgather(np.asarray(value))).sum(axis=0)
    return summed


def from_leader(value: Any) -> Any:
    """What the leader has, in every process: SageMaker may restore a checkpoint on one host alone."""
    if PROCESSES == 1:
        return value
    with alone():
        pickled = pickle.dumps(value) if RANK == 0 else b""
    padded = np.frombuffer(pickled.ljust(int(total(len(pickled))), b"\0"), np.uint8)
    sent = np.asarray(multihost_utils.broadcast_one_to_all(padded)).tobytes()
    if sent == pickle.dumps(None):
        return None
    # The model's layers draw initial values before they get the leader's: all processes must draw the same.
    keras.utils.set_random_seed(0)
    return pickle.loads(sent)


@contextmanager
def alone() -> Iterator[None]:
    """Compute and save in this process alone: with a distribution, all must do it together."""
    distribution = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(distribution)


def is_symptom(error: BaseException) -> bool:
    """Whether an error only says that another process is gone, or hangs."""
    names = ("Gloo", "NCCL", "Connection reset", "Connection closed", "coordination service")
    return any(name in str(error) for name in names)
