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


def mean(value: Any) -> float:
    """The mean over all processes of a number."""
    return float(total(np.float64(value))) / PROCESSES


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the columns of x, of shape [rows, columns], over the rows of all processes."""
    rows = float(total(np.float64(len(x))))
    means = np.asarray(total(x.sum(axis=0, dtype=np.float64))) / rows
    squares = np.asarray(total(np.square(x - means).sum(axis=0)))
    return means.astype(x.dtype), (squares / rows).astype(x.dtype)


class Batches:
    """Deals the rows of each batch out among the processes, which all take the same number of steps."""

    def __init__(self, rows: int, batch_size: int, sharded: bool = False) -> None:
        """`rows` are those that this process has: all there are or, of a sharded channel, its own."""
        self.sharded = sharded and PROCESSES > 1
        self.size = max(1, batch_size // PROCESSES) if self.sharded else batch_size
        own = np.zeros(PROCESSES, np.int32)
        own[RANK] = rows
        # Of each process, if they have different ones.
        self.rows = [int(count) for count in total(own)] if self.sharded else [rows]
        starts = range(0, max(self.rows), self.size)
        # Of each step, the rows of all processes.
        self.sizes = [sum(min(max(rows - start, 0), self.size) for rows in self.rows) for start in starts]

    def __call__(self, order: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """This process's rows of each batch, and their weights.

        A part that is shorter than another's is filled up with rows of weight 0. The mean of all processes'
        means of weighted losses is the mean of the whole batch.
        """
        for step, size in enumerate(self.sizes):
            batch = order[step * self.size : (step + 1) * self.size]
            rows = batch if self.sharded else np.array_split(batch, PROCESSES)[RANK]
            length = self.size if self.sharded else -(-len(batch) // PROCESSES)
            weights = np.zeros(length, np.float32)
            weights[: len(rows)] = PROCESSES * length / size
            yield np.concatenate([rows, np.full(length - len(rows), order[0])]), weights
