"""Several processes that train one model with torch.distributed; one process needs none of it."""

import os
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


{% include "template/frameworks/pytorch/collectives.py" %}


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
