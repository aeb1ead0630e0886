"""Your model: this is the one file to edit.

SageMaker runs `train` once, and then `load` and `predict` in every worker of an endpoint. The sample tells
three species of penguins apart by their measurements, their island and their sex.
"""

from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from pydantic import BaseModel, Field
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from byoc.channels import csv_rows
from byoc.inputs import Table, category, number
from byoc.job import Job
from byoc.paths import atomic

{% include "template/data/table/columns.py" %}
# What a request must carry: these columns, by name or in this order. A category may be missing.
INPUTS = Table(
    **{name: number() for name in NUMBERS},
    **{name: category(*values, optional=True) for name, values in CATEGORIES.items()},
    dataframe=True,
)
{% include "template/sample/metrics.py" %}
MODEL_FILE = "model.joblib"


class Hyperparameters(BaseModel):
    """What a training job may set; SageMaker's strings arrive here as these types."""

    epochs: int = Field(30, ge=1, description="Steps on the path from strong to weak regularisation")
    first_c: float = Field(0.001, gt=0, description="Inverse regularisation strength of the first step")
    growth: float = Field(1.5, gt=1, le=10, description="Factor between steps")


def pipeline(c: float) -> Pipeline:
    """Everything between a DataFrame and a species; a missing category is a value of its own."""
    columns = make_column_transformer(
        (StandardScaler(), list(NUMBERS)),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), list(CATEGORIES)),
    )
    return make_pipeline(columns, LogisticRegression(C=c, max_iter=500))


{% include "template/frameworks/sklearn/training.py" %}


def predict(model: Pipeline, inputs: pd.DataFrame) -> np.ndarray:
    """Name the species of each row; `inputs` has the columns of INPUTS."""
    return np.take(LABELS, model.predict(inputs))


def read(channel: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """A channel's CSV files: the columns of INPUTS, and species as indexes of shape [rows]."""
    rows = csv_rows(channel, "species", *NUMBERS)
    table = pd.DataFrame({name: [row.number(name) for row in rows] for name in NUMBERS})
    for name, values in CATEGORIES.items():
        table[name] = pd.Categorical([row.optional_choice(name, values) for row in rows], categories=values)
    return table, np.array([LABELS.index(row.choice("species", LABELS)) for row in rows])


{% include "template/sample/evaluate.py" %}
