"""Your model: this is the one file to edit.

SageMaker runs `train` once, and then `load` and `predict` in every worker of an endpoint. The sample tells
definitions of The Devil's Dictionary from definitions of the Jargon File.
"""

import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, Field
from torch import nn

from byoc import distributed
from byoc.channels import csv_rows
from byoc.inputs import Text
from byoc.job import Job
from byoc.paths import atomic

{% include "template/data/text/inputs.py" %}
{% include "template/sample/metrics.py" %}
MODEL_FILE = "model.pt"
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Hyperparameters(BaseModel):
    """What a training job may set; SageMaker's strings arrive here as these types."""

    epochs: int = Field(20, ge=1, description="Passes over the training data")
    learning_rate: float = Field(0.01, gt=0, description="Step size of Adam")
    batch_size: int = Field(32, ge=1, description="Texts per step")
    hidden_units: int = Field(16, ge=1, description="Numbers that stand for a word")
    seed: int = Field(0, ge=0, description="Of the initial weights and the order of the data")


def network(hidden_units: int) -> nn.Sequential:
    """From features to a score for each source: the mean of the words' embeddings decides."""
    return nn.Sequential(
        nn.EmbeddingBag(VOCABULARY, hidden_units, mode="mean", padding_idx=0),
        nn.Linear(hidden_units, len(LABELS)),
    )


def build(x: torch.Tensor, hp: Hyperparameters) -> nn.Sequential:
    """A new network."""
    torch.manual_seed(hp.seed)
    model = network(hp.hidden_units).to(DEVICE)
    nn.init.normal_(model[0].weight, std=0.01)  # a word that training never sees must not count
    return model


{% include "template/frameworks/pytorch/training.py" %}


def predict(model: nn.Sequential, inputs: list[str]) -> np.ndarray:
    """Name the source of each text."""
    return classify(model, features(inputs))


{% include "template/data/text/words.py" %}


{% include "template/sample/evaluate.py" %}
