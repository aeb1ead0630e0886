"""Your model: this is the one file to edit.

SageMaker runs `train` once, and then `load` and `predict` in every worker of an endpoint. The sample tells
definitions of The Devil's Dictionary from definitions of the Jargon File.
"""

from pathlib import Path

import joblib
import numpy as np
from pydantic import BaseModel, Field
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline, make_pipeline

from byoc.channels import csv_rows
from byoc.inputs import Text
from byoc.job import Job
from byoc.paths import atomic

LABELS = ("devil", "jargon")
INPUTS = Text()  # what a request must carry; `predict` gets a list of strings
{% include "template/sample/metrics.py" %}
MODEL_FILE = "model.joblib"


class Hyperparameters(BaseModel):
    """What a training job may set; SageMaker's strings arrive here as these types."""

    epochs: int = Field(30, ge=1, description="Steps on the path from strong to weak regularisation")
    first_c: float = Field(0.1, gt=0, description="Inverse regularisation strength of the first step")
    growth: float = Field(1.5, gt=1, le=10, description="Factor between steps")


def pipeline(c: float) -> Pipeline:
    """Everything between a list of texts and a source."""
    return make_pipeline(TfidfVectorizer(sublinear_tf=True), LogisticRegression(C=c, max_iter=500))


{% include "template/frameworks/sklearn/training.py" %}


def predict(model: Pipeline, inputs: list[str]) -> np.ndarray:
    """Name the source of each text."""
    return np.take(LABELS, model.predict(inputs))


def read(channel: Path) -> tuple[list[str], np.ndarray]:
    """A channel's CSV files: texts, and their sources as indexes of shape [rows]."""
    rows = csv_rows(channel, "source", "text")
    labels = [LABELS.index(row.choice("source", LABELS)) for row in rows]
    return [row["text"] for row in rows], np.array(labels)


{% include "template/sample/evaluate.py" %}
