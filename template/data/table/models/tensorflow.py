"""Your model: this is the one file to edit.

SageMaker runs `train` once, and then `load` and `predict` in every worker of an endpoint. The sample tells
three species of penguins apart by their measurements, their island and their sex.
"""

import shutil
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tensorflow as tf
from pydantic import BaseModel, Field

from byoc import distributed
from byoc.channels import csv_rows
from byoc.inputs import Table, category, number
from byoc.job import Job

{% include "template/data/table/inputs.py" %}
{% include "template/sample/metrics.py" %}
# The artifact is a SavedModel in a numbered folder, as TensorFlow Serving wants it too.
MODEL_VERSION = "1"


class Hyperparameters(BaseModel):
    """What a training job may set; SageMaker's strings arrive here as these types."""

    epochs: int = Field(20, ge=1, description="Passes over the training data")
    learning_rate: float = Field(0.03, gt=0, description="Step size of gradient descent")
    momentum: float = Field(0.9, ge=0, lt=1, description="Share of a step that carries over into the next")
    batch_size: int = Field(32, ge=1, description="Rows per step")
    hidden_units: int = Field(16, ge=1, description="Width of the hidden layer")
    seed: int = Field(0, ge=0, description="Of the initial weights and the order of the data")


class Classifier(tf.Module):
    """A small network that standardises its own inputs, so that the artifact is all that serving needs."""

    def __init__(self, x: np.ndarray, hp: Hyperparameters) -> None:
        super().__init__()
        mean, variance = distributed.moments(x)
        self.mean = tf.Variable(mean, trainable=False)
        # A column of one value stays as it is.
        self.std = tf.Variable(np.sqrt(np.where(variance > 0, variance, 1)), trainable=False)
        widths = (WIDTH, hp.hidden_units, len(LABELS))
        self.weights = [
            tf.Variable(tf.random.stateless_normal([a, b], seed=[hp.seed, layer], stddev=a**-0.5))
            for layer, (a, b) in enumerate(pairwise(widths))
        ]
        self.biases = [tf.Variable(tf.zeros(width)) for width in widths[1:]]

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Scores of shape [rows, species]."""
        hidden = tf.nn.relu((x - self.mean) / self.std @ self.weights[0] + self.biases[0])
        return hidden @ self.weights[1] + self.biases[1]

    @tf.function(input_signature=[tf.TensorSpec([None, WIDTH], tf.float32, name="inputs")])
    def serve(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """The artifact's signature: probabilities of shape [rows, species], for any number of rows."""
        return {"probabilities": tf.nn.softmax(self(inputs))}


{% include "template/frameworks/tensorflow/training.py" %}


def predict(model: Any, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Name the species of each row; `inputs` has the columns of INPUTS, each of shape [rows]."""
    return classify(model, features(inputs))


{% include "template/data/table/arrays.py" %}


{% include "template/sample/evaluate.py" %}
