"""Several processes that train a Keras model with TensorFlow's collectives; one process needs none."""

import os
import pickle
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import keras
import numpy as np
import tensorflow as tf

TIMEOUT_SECONDS = float(os.environ.get("COLLECTIVE_TIMEOUT_SECONDS", "600"))
RANK, PROCESSES = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
# Of the strategy only its collectives are used; None in a job of one process.
_strategy: Any = None


def join() -> None:
    """Make this process one of the job's. A process that hangs ends the job after the timeout."""
    global _strategy
    if PROCESSES > 1:
        if gpus := tf.config.list_physical_devices("GPU"):
            tf.config.set_visible_devices(gpus[int(os.environ["LOCAL_RANK"])], "GPU")
        _strategy = tf.distribute.MultiWorkerMirroredStrategy(communication_options=_options())


def agree(flag: bool) -> bool:
    """Whether the flag is true in any process. Every process must ask at the same step."""
    return bool(total(np.int32(flag)))


def total(value: Any) -> Any:
    """The sum over all processes of an array or tensor."""
    return value if _strategy is None else _all_reduce([tf.convert_to_tensor(value)])[0].numpy()


def average(gradients: Sequence[Any]) -> list[Any]:
    """Each gradient's mean over all processes."""
    if _strategy is None:
        return list(gradients)
    return [total / PROCESSES for total in _all_reduce([tf.convert_to_tensor(g) for g in gradients])]


def from_leader(value: Any) -> Any:
    """What the leader has, in every process: SageMaker may restore a checkpoint on one host alone."""
    if _strategy is None:
        return value
    pickled = pickle.dumps(value) if RANK == 0 else b""
    length = int(total(np.int32(len(pickled))))
    # Sums of 32 bits travel: the others add zeros.
    padded = np.frombuffer(pickled.ljust(length + -length % 4, b"\0"), np.int32)
    return pickle.loads(total(padded).tobytes())


# A process that saves needs no other one.
alone = nullcontext


def is_symptom(error: BaseException) -> bool:
    """Whether an error only says that another process is gone, or hangs."""
    errors = tf.errors
    gone = (errors.UnavailableError, errors.AbortedError, errors.CancelledError, errors.DeadlineExceededError)
    return isinstance(error, gone) or "Collective ops is aborted" in str(error)


def _sums(tensors: list[Any]) -> list[Any]:
    def inside() -> Any:
        # Copies of this replica: a collective takes nothing that lies elsewhere.
        own = [tf.identity(tensor) for tensor in tensors]
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, own, _options())

    return [_strategy.experimental_local_results(total)[0] for total in _strategy.run(inside)]


def _options() -> Any:
    return tf.distribute.experimental.CommunicationOptions(timeout_seconds=TIMEOUT_SECONDS)


# TensorFlow warns of collectives outside of a graph.
_all_reduce: Any = tf.function(_sums, reduce_retracing=True)


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
