"""Your model: this is the one file to edit.

SageMaker runs `train` once, and then `load` and `predict` in every worker of an endpoint. The sample tells
handwritten digits apart.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, Field
from torch import nn

from byoc import distributed
from byoc.channels import files
from byoc.errors import JobError
from byoc.inputs import Images
from byoc.job import Job
from byoc.paths import atomic

{% include "template/data/image/inputs.py" %}
{% include "template/sample/metrics.py" %}
MODEL_FILE = "model.pt"
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Hyperparameters(BaseModel):
    """What a training job may set; SageMaker's strings arrive here as these types."""

    epochs: int = Field(20, ge=1, description="Passes over the training data")
    learning_rate: float = Field(0.01, gt=0, description="Step size of Adam")
    batch_size: int = Field(32, ge=1, description="Images per step")
    hidden_units: int = Field(16, ge=1, description="Channels of the first convolution")
    seed: int = Field(0, ge=0, description="Of the initial weights and the order of the data")


def network(hidden_units: int) -> nn.Sequential:
    """From features to a score for each digit."""
    return nn.Sequential(
        nn.Unflatten(1, (1, SIDE, SIDE)),
        nn.Conv2d(1, hidden_units, 3, padding="same"),
        nn.ReLU(),
        nn.Conv2d(hidden_units, 2 * hidden_units, 3, padding="same"),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(2 * hidden_units * (SIDE // 2) ** 2, len(LABELS)),
    )


def build(x: torch.Tensor, hp: Hyperparameters) -> nn.Sequential:
    """A new network."""
    torch.manual_seed(hp.seed)
    return network(hp.hidden_units).to(DEVICE)


{% include "template/frameworks/pytorch/training.py" %}


def predict(model: nn.Sequential, inputs: list[Image.Image]) -> np.ndarray:
    """Name the digit in each image."""
    return classify(model, features(inputs))


{% include "template/data/image/pixels.py" %}


{% include "template/sample/evaluate.py" %}
