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


{% include "template/frameworks/pytorch/collectives.py" %}


def average(gradients: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Each gradient's mean over all processes."""
    averaged = [gradient.contiguous() for gradient in gradients]
    for work in [distributed.all_reduce(gradient, async_op=True) for gradient in averaged]:
        work.wait()
    return [gradient / PROCESSES for gradient in averaged]


{% include "template/frameworks/keras/averaging.py" %}
