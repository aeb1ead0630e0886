"""Your model: this is the one file to edit.

SageMaker runs `train` once, and then `load` and `predict` in every worker of an endpoint. The sample tells
three species of penguins apart by their measurements, their island and their sex.
"""

from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from threading import Lock

import keras
import numpy as np
from pydantic import BaseModel, Field

from byoc import distributed
from byoc.channels import csv_rows
from byoc.inputs import Table, category, number
from byoc.job import Checkpoints, Job
from byoc.paths import atomic

{% include "template/data/table/inputs.py" %}
{% include "template/sample/metrics.py" %}
MODEL_FILE = "model.keras"
# Requests are answered in several threads, and a Keras model must not predict in two at once.
PREDICTING = Lock()


class Hyperparameters(BaseModel):
    """What a training job may set; SageMaker's strings arrive here as these types."""

    epochs: int = Field(20, ge=1, description="Passes over the training data")
    learning_rate: float = Field(0.01, gt=0, description="Step size of Adam")
    batch_size: int = Field(32, ge=1, description="Rows per step")
    hidden_units: int = Field(16, ge=1, description="Width of the hidden layer")
    seed: int = Field(0, ge=0, description="Of the initial weights and the order of the data")


def build(x: np.ndarray, hp: Hyperparameters) -> keras.Model:
    """A small network that standardises its own inputs, so that the artifact is all that serving needs."""
    mean, variance = distributed.moments(x)
    return keras.Sequential(
        [
            keras.Input([WIDTH]),
            # A column of one value stays as it is.
            keras.layers.Normalization(mean=mean, variance=np.where(variance > 0, variance, 1)),
            keras.layers.Dense(hp.hidden_units, activation="relu"),
            keras.layers.Dense(len(LABELS), activation="softmax"),
        ]
    )


{% include "template/frameworks/keras/training.py" %}


def predict(model: keras.Model, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Name the species of each row; `inputs` has the columns of INPUTS, each of shape [rows]."""
    return classify(model, features(inputs))


{% include "template/data/table/arrays.py" %}


{% include "template/sample/evaluate.py" %}
