"""Your model: this is the one file to edit.

SageMaker runs `train` once, and then `load` and `predict` in every worker of an endpoint. The sample tells
handwritten digits apart.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image
from pydantic import BaseModel, Field

from byoc import distributed
from byoc.channels import files
from byoc.errors import JobError
from byoc.inputs import Images
from byoc.job import Job

{% include "template/data/image/inputs.py" %}
{% include "template/sample/metrics.py" %}
# The artifact is a SavedModel in a numbered folder, as TensorFlow Serving wants it too.
MODEL_VERSION = "1"


class Hyperparameters(BaseModel):
    """What a training job may set; SageMaker's strings arrive here as these types."""

    epochs: int = Field(20, ge=1, description="Passes over the training data")
    learning_rate: float = Field(0.05, gt=0, description="Step size of gradient descent")
    momentum: float = Field(0.9, ge=0, lt=1, description="Share of a step that carries over into the next")
    batch_size: int = Field(32, ge=1, description="Images per step")
    hidden_units: int = Field(16, ge=1, description="Channels of the convolution")
    seed: int = Field(0, ge=0, description="Of the initial weights and the order of the data")


class Classifier(tf.Module):
    """A convolution, and a layer that decides."""

    def __init__(self, x: np.ndarray, hp: Hyperparameters) -> None:
        super().__init__()
        width = (SIDE // 2) ** 2 * hp.hidden_units
        normal = tf.random.stateless_normal
        self.filters = tf.Variable(normal([3, 3, 1, hp.hidden_units], seed=[hp.seed, 0], stddev=1 / 3))
        self.weights = tf.Variable(normal([width, len(LABELS)], seed=[hp.seed, 1], stddev=width**-0.5))
        self.biases = [tf.Variable(tf.zeros(hp.hidden_units)), tf.Variable(tf.zeros(len(LABELS)))]

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Scores of shape [images, digits]."""
        images = tf.reshape(x, [-1, SIDE, SIDE, 1])
        convolved = tf.nn.conv2d(images, self.filters, strides=1, padding="SAME")
        pooled = tf.nn.max_pool2d(tf.nn.relu(convolved + self.biases[0]), 2, 2, "VALID")
        return tf.reshape(pooled, [-1, self.weights.shape[0]]) @ self.weights + self.biases[1]

    @tf.function(input_signature=[tf.TensorSpec([None, SIDE * SIDE], tf.float32, name="inputs")])
    def serve(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """The artifact's signature: probabilities of shape [images, digits], for any number of images."""
        return {"probabilities": tf.nn.softmax(self(inputs))}


{% include "template/frameworks/tensorflow/training.py" %}


def predict(model: Any, inputs: list[Image.Image]) -> np.ndarray:
    """Name the digit in each image."""
    return classify(model, features(inputs))


{% include "template/data/image/pixels.py" %}


{% include "template/sample/evaluate.py" %}
