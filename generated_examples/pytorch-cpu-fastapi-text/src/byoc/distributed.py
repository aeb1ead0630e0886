"""Several processes that train one model with torch.distributed; one process needs none of it."""

import os
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


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


def parallel(model: nn.Module) -> nn.Module:
    """The model with gradients that are averaged over all processes. Save `model`, not what this returns."""
    return DistributedDataParallel(model) if distributed.is_initialized() else model


def batches(
    parallel: nn.Module, order: torch.Tensor, batch_size: int, sharded: bool = False
) -> Iterator[torch.Tensor]:
    """Each batch of `order`, or this process's part of it. Of a sharded channel, `order` is its own rows.

    Processes may have different numbers of batches.
    """
    if not isinstance(parallel, DistributedDataParallel):
        yield from order.split(batch_size)
        return
    rank, size = distributed.get_rank(), distributed.get_world_size()
    with parallel.join():
        if sharded:
            yield from order.split(max(1, batch_size // size))
        else:
            parts = (batch.tensor_split(size)[rank] for batch in order.split(batch_size))
            yield from (part for part in parts if len(part))
