"""Your model: this is the one file to edit.

SageMaker runs `train` once, and then `load` and `predict` in every worker of an endpoint. The sample tells
three species of penguins apart by their measurements.
"""

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tensorflow as tf
from pydantic import BaseModel, Field

{% include "template/sample/imports.py" %}

{% include "template/sample/columns.py" %}

# A SavedModel in a numbered folder, which is what TensorFlow Serving looks for too.
MODEL_VERSION = "1"


class Hyperparameters(BaseModel):
    """What a training job may set; SageMaker's strings arrive here as these types."""

    epochs: int = Field(40, ge=1, description="Passes over the training data")
    learning_rate: float = Field(0.03, gt=0, description="Step size of gradient descent")
    momentum: float = Field(0.9, ge=0, lt=1, description="Share of the last step in the next one")
    batch_size: int = Field(32, ge=1, description="Rows per step")
    hidden_units: int = Field(16, ge=1, description="Width of the hidden layer")
    seed: int = Field(0, ge=0, description="Of the initial weights and the order of rows")


class Classifier(tf.Module):
    """A small network that standardises its own inputs, so that the artifact is all that serving needs."""

    def __init__(self, x: np.ndarray, hidden_units: int, seed: int) -> None:
        super().__init__()
        self.mean = tf.Variable(x.mean(axis=0), trainable=False)
        self.std = tf.Variable(x.std(axis=0), trainable=False)
        glorot = tf.initializers.GlorotUniform(seed)
        self.hidden_weights = tf.Variable(glorot([len(FEATURES), hidden_units]))
        self.hidden_bias = tf.Variable(tf.zeros(hidden_units))
        self.weights = tf.Variable(glorot([hidden_units, len(SPECIES)]))
        self.bias = tf.Variable(tf.zeros(len(SPECIES)))

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Scores of shape [rows, species]."""
        hidden = tf.nn.relu((x - self.mean) / self.std @ self.hidden_weights + self.hidden_bias)
        return hidden @ self.weights + self.bias

    @tf.function(input_signature=[tf.TensorSpec([None, len(FEATURES)], tf.float32, name="inputs")])
    def serve(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """The artifact's signature: probabilities of shape [rows, species], for any number of rows."""
        return {"probabilities": tf.nn.softmax(self(inputs))}
