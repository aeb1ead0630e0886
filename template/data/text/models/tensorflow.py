"""Your model: this is the one file to edit.

SageMaker runs `train` once, and then `load` and `predict` in every worker of an endpoint. The sample tells
definitions of The Devil's Dictionary from definitions of the Jargon File.
"""

import re
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tensorflow as tf
from pydantic import BaseModel, Field

from byoc import distributed
from byoc.channels import csv_rows
from byoc.inputs import Text
from byoc.job import Job

{% include "template/data/text/inputs.py" %}
{% include "template/sample/metrics.py" %}
# The artifact is a SavedModel in a numbered folder, as TensorFlow Serving wants it too.
MODEL_VERSION = "1"


class Hyperparameters(BaseModel):
    """What a training job may set; SageMaker's strings arrive here as these types."""

    epochs: int = Field(20, ge=1, description="Passes over the training data")
    learning_rate: float = Field(0.3, gt=0, description="Step size of gradient descent")
    momentum: float = Field(0.9, ge=0, lt=1, description="Share of a step that carries over into the next")
    batch_size: int = Field(32, ge=1, description="Texts per step")
    hidden_units: int = Field(16, ge=1, description="Numbers that stand for a word")
    seed: int = Field(0, ge=0, description="Of the initial weights and the order of the data")


class Classifier(tf.Module):
    """The mean of a text's word embeddings decides."""

    def __init__(self, x: np.ndarray, hp: Hyperparameters) -> None:
        super().__init__()
        normal = tf.random.stateless_normal
        # Small, for a word that training never sees must not count.
        self.embeddings = tf.Variable(normal([VOCABULARY, hp.hidden_units], [hp.seed, 0], stddev=0.01))
        self.weights = tf.Variable(normal([hp.hidden_units, len(LABELS)], [hp.seed, 1]))
        self.biases = tf.Variable(tf.zeros(len(LABELS)))

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Scores of shape [texts, sources]."""
        is_word = tf.cast(x > 0, tf.float32)[..., tf.newaxis]
        total = tf.reduce_sum(tf.gather(self.embeddings, x) * is_word, axis=1)
        return total / tf.maximum(tf.reduce_sum(is_word, axis=1), 1) @ self.weights + self.biases

    @tf.function(input_signature=[tf.TensorSpec([None, WORDS], tf.int32, name="inputs")])
    def serve(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """The artifact's signature: probabilities of shape [texts, sources], for any number of texts."""
        return {"probabilities": tf.nn.softmax(self(inputs))}


{% include "template/frameworks/tensorflow/training.py" %}


def predict(model: Any, inputs: list[str]) -> np.ndarray:
    """Name the source of each text."""
    return classify(model, features(inputs))


{% include "template/data/text/words.py" %}


{% include "template/sample/evaluate.py" %}
