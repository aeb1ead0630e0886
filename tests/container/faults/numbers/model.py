# mypy: ignore-errors
# scikit-learn is in the image alone.
"""A model of numbers only, in the sample's place: so every media type, .npy too, can carry its rows."""

from pathlib import Path

import joblib
import numpy as np
from byoc.channels import csv_rows
from byoc.inputs import Numbers
from byoc.job import Job
from byoc.paths import atomic
from pydantic import BaseModel
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

INPUTS = Numbers("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g")
METRICS = ("train_accuracy",)


class Hyperparameters(BaseModel):
    """None."""


def train(job: Job[Hyperparameters]) -> None:
    """Fit once."""
    rows = csv_rows(job.channel("train"), "species", *INPUTS.names)
    x, y = [[row.number(name) for name in INPUTS.names] for row in rows], [row["species"] for row in rows]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(x, y)
    job.log_metrics(train_accuracy=model.score(x, y))
    with atomic(job.model_dir / "model.joblib") as path:
        joblib.dump(model, path)


def load(model_dir: Path) -> Pipeline:
    """Load what `train` saved."""
    return joblib.load(model_dir / "model.joblib")


def predict(model: Pipeline, inputs: np.ndarray) -> np.ndarray:
    """Name the species of each row."""
    return model.predict(inputs)
