"""Your model: this is the one file to edit.

SageMaker runs `train` once, and then `load` and `predict` in every worker of an endpoint. The sample tells
handwritten digits apart.
"""

from collections.abc import Sequence
from pathlib import Path

import joblib
import numpy as np
from PIL import Image
from pydantic import BaseModel, Field
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from byoc.channels import files
from byoc.errors import JobError
from byoc.inputs import Images
from byoc.job import Job
from byoc.paths import atomic

{% include "template/data/image/inputs.py" %}
{% include "template/sample/metrics.py" %}
MODEL_FILE = "model.joblib"


class Hyperparameters(BaseModel):
    """What a training job may set; SageMaker's strings arrive here as these types."""

    epochs: int = Field(30, ge=1, description="Steps on the path from strong to weak regularisation")
    first_c: float = Field(0.01, gt=0, description="Inverse regularisation strength of the first step")
    growth: float = Field(1.5, gt=1, le=10, description="Factor between steps")


def pipeline(c: float) -> Pipeline:
    """Everything between the features of images and a digit."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=500))


{% include "template/frameworks/sklearn/training.py" %}


def predict(model: Pipeline, inputs: list[Image.Image]) -> np.ndarray:
    """Name the digit in each image."""
    return np.take(LABELS, model.predict(features(inputs)))


{% include "template/data/image/pixels.py" %}


{% include "template/sample/evaluate.py" %}
