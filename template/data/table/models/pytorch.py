"""Your model: this is the one file to edit.

SageMaker runs `train` once, and then `load` and `predict` in every worker of an endpoint. The sample tells
three species of penguins apart by their measurements, their island and their sex.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, Field
from torch import nn

from byoc import distributed
from byoc.channels import csv_rows
from byoc.inputs import Table, category, number
from byoc.job import Job
from byoc.paths import atomic

{% include "template/data/table/inputs.py" %}
{% include "template/sample/metrics.py" %}
MODEL_FILE = "model.pt"
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Hyperparameters(BaseModel):
    """What a training job may set; SageMaker's strings arrive here as these types."""

    epochs: int = Field(20, ge=1, description="Passes over the training data")
    learning_rate: float = Field(0.01, gt=0, description="Step size of Adam")
    batch_size: int = Field(32, ge=1, description="Rows per step")
    hidden_units: int = Field(16, ge=1, description="Width of the hidden layer")
    seed: int = Field(0, ge=0, description="Of the initial weights and the order of the data")


class Standardise(nn.Module):
    """Brings each column to mean 0 and deviation 1, so that the artifact is all that serving needs."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(WIDTH))
        self.register_buffer("std", torch.ones(WIDTH))

    def adapt(self, x: torch.Tensor) -> None:
        """Take the mean and deviation of x, of shape [rows, WIDTH]; a column of one value stays as it is."""
        x = x.double()
        # Of the rows of all processes: of a sharded channel, each has its own.
        own = torch.tensor(len(x)), x.sum(dim=0), x.square().sum(dim=0)
        count, sums, squares = map(distributed.total, own)
        mean = sums / count
        std = (squares / count - mean.square()).clamp(min=0).sqrt()
        self.mean, self.std = mean.float(), torch.where(std > 1e-6 * mean.abs(), std, 1).float()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same shape."""
        return (x - self.mean) / self.std


def network(hidden_units: int) -> nn.Sequential:
    """From features to a score for each species."""
    return nn.Sequential(
        Standardise(),
        nn.Linear(WIDTH, hidden_units),
        nn.ReLU(),
        nn.Linear(hidden_units, len(LABELS)),
    )


def build(x: torch.Tensor, hp: Hyperparameters) -> nn.Sequential:
    """A new network for features like x."""
    torch.manual_seed(hp.seed)
    model = network(hp.hidden_units).to(DEVICE)
    model[0].adapt(x)
    return model


{% include "template/frameworks/pytorch/training.py" %}


def predict(model: nn.Sequential, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Name the species of each row; `inputs` has the columns of INPUTS, each of shape [rows]."""
    return classify(model, features(inputs))


{% include "template/data/table/arrays.py" %}


{% include "template/sample/evaluate.py" %}
