"""Your model: this is the one file to edit.

SageMaker runs `train` once, and then `load` and `predict` in every worker of an endpoint. The sample tells
definitions of The Devil's Dictionary from definitions of the Jargon File.
"""

import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from threading import Lock

import keras
import numpy as np
from pydantic import BaseModel, Field

from byoc import distributed
from byoc.channels import csv_rows
from byoc.inputs import Text
from byoc.job import Checkpoints, Job
from byoc.paths import atomic

{% include "template/data/text/inputs.py" %}
{% include "template/sample/metrics.py" %}
MODEL_FILE = "model.keras"
# Requests are answered in several threads, and a Keras model must not predict in two at once.
PREDICTING = Lock()


class Hyperparameters(BaseModel):
    """What a training job may set; SageMaker's strings arrive here as these types."""

    epochs: int = Field(20, ge=1, description="Passes over the training data")
    learning_rate: float = Field(0.01, gt=0, description="Step size of Adam")
    batch_size: int = Field(32, ge=1, description="Texts per step")
    hidden_units: int = Field(16, ge=1, description="Numbers that stand for a word")
    seed: int = Field(0, ge=0, description="Of the initial weights and the order of the data")


def build(x: np.ndarray, hp: Hyperparameters) -> keras.Model:
    """The mean of a text's word embeddings decides."""
    return keras.Sequential(
        [
            keras.Input([WORDS], dtype="int32"),
            keras.layers.Embedding(VOCABULARY, hp.hidden_units, mask_zero=True),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(len(LABELS), activation="softmax"),
        ]
    )


{% include "template/frameworks/keras/training.py" %}


def predict(model: keras.Model, inputs: list[str]) -> np.ndarray:
    """Name the source of each text."""
    return classify(model, features(inputs))


{% include "template/data/text/words.py" %}


{% include "template/sample/evaluate.py" %}
