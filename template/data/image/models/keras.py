"""Your model: this is the one file to edit.

SageMaker runs `train` once, and then `load` and `predict` in every worker of an endpoint. The sample tells
handwritten digits apart.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from threading import Lock

import keras
import numpy as np
from PIL import Image
from pydantic import BaseModel, Field

from byoc import distributed
from byoc.channels import files
from byoc.errors import JobError
from byoc.inputs import Images
from byoc.job import Checkpoints, Job
from byoc.paths import atomic

{% include "template/data/image/inputs.py" %}
{% include "template/sample/metrics.py" %}
MODEL_FILE = "model.keras"
# Requests are answered in several threads, and a Keras model must not predict in two at once.
PREDICTING = Lock()


class Hyperparameters(BaseModel):
    """What a training job may set; SageMaker's strings arrive here as these types."""

    epochs: int = Field(20, ge=1, description="Passes over the training data")
    learning_rate: float = Field(0.01, gt=0, description="Step size of Adam")
    batch_size: int = Field(32, ge=1, description="Images per step")
    hidden_units: int = Field(16, ge=1, description="Channels of the first convolution")
    seed: int = Field(0, ge=0, description="Of the initial weights and the order of the data")


def build(x: np.ndarray, hp: Hyperparameters) -> keras.Model:
    """Two convolutions, and a layer that decides."""
    return keras.Sequential(
        [
            keras.Input([SIDE * SIDE]),
            keras.layers.Reshape([SIDE, SIDE, 1]),
            keras.layers.Conv2D(hp.hidden_units, 3, padding="same", activation="relu"),
            keras.layers.Conv2D(2 * hp.hidden_units, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(len(LABELS), activation="softmax"),
        ]
    )


{% include "template/frameworks/keras/training.py" %}


def predict(model: keras.Model, inputs: list[Image.Image]) -> np.ndarray:
    """Name the digit in each image."""
    return classify(model, features(inputs))


{% include "template/data/image/pixels.py" %}


{% include "template/sample/evaluate.py" %}
