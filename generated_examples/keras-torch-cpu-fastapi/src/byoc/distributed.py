"""Several processes that train one Keras model with torch.distributed; one process needs none of it."""

import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import keras
import numpy as np
import torch
from torch import distributed

RANK, PROCESSES = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def join() -> None:
    """Make this process one of the job's. A process that hangs ends the job after the timeout."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        cuda = torch.cuda.is_available()
        if cuda:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        timeout = timedelta(seconds=int(os.environ.get("COLLECTIVE_TIMEOUT_SECONDS", "600")))
        distributed.init_process_group("nccl" if cuda else "gloo", timeout=timeout)


def agree(flag: bool) -> bool:
    """Whether the flag is true in any process. Every process must ask at the same step."""
    return bool(total(torch.tensor(int(flag))))


def total(value: Any) -> torch.Tensor:
    """The sum over all processes of a tensor or array."""
    value = torch.as_tensor(value)
    if not distributed.is_initialized():
        return value
    summed = value.to("cuda") if torch.cuda.is_available() else value.clone()
    distributed.all_reduce(summed)
    return summed.to(value.device)


def from_leader(value: Any) -> Any:
    """What the leader has, in every process: SageMaker may restore a checkpoint on one host alone."""
    values = [value]
    if distributed.is_initialized():
        distributed.broadcast_object_list(values)
    return values[0]


# A process that saves needs no other one.
alone = nullcontext


def is_symptom(error: BaseException) -> bool:
    """Whether an error only says that another process is gone, or hangs."""
    text = str(error)
    names = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "gloo", "NCCL")
    return isinstance(error, RuntimeError) and any(name in text for name in names)


def average(gradients: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Each gradient's mean over all processes."""
    averaged = [gradient.contiguous() for gradient in gradients]
    for work in [distributed.all_reduce(gradient, async_op=True) for gradient in averaged]:
        work.wait()
    return [gradient / PROCESSES for gradient in averaged]


_apply = keras.optimizers.Optimizer.apply


def _averaged(optimizer: Any, grads: Sequence[Any], trainable_variables: Any = None) -> Any:
    return _apply(optimizer, average(grads), trainable_variables)


if PROCESSES > 1:
    # fit() needs no change for it, nor does a model that was loaded.
    keras.optimizers.Optimizer.apply = _averaged


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
