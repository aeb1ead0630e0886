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

NUMBERS = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g")
CATEGORIES = {"island": ("Biscoe", "Dream", "Torgersen"), "sex": ("female", "male")}
LABELS = ("Adelie", "Chinstrap", "Gentoo")
# What a request must carry: these columns, by name or in this order. A category may be missing.
INPUTS = Table(
    **{name: number() for name in NUMBERS},
    **{name: category(*values, optional=True) for name, values in CATEGORIES.items()},
    dataframe=True,
)
# Printed by log_metrics once per epoch; `make metrics` gives the regexes for create_training_job.
METRICS = ("epoch", "train_loss", "validation_loss", "validation_accuracy", "test_accuracy")
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


def train(job: Job[Hyperparameters]) -> None:
    """Fit one model per step, keep the one with the lowest validation loss, and save it with a report.

    A previous model takes part: it stays if no new one is better.
    """
    hp = job.hyperparameters
    x, y = read(job.channel("train"))
    x_validation, y_validation = read(job.channel("validation")) if job.has_channel("validation") else (x, y)
    checkpoints = job.checkpoints(".joblib")
    epoch, best, best_loss = 0, None, np.inf
    if found := checkpoints.resume(joblib.load):
        epoch, (best, best_loss) = found
        print(f"resumed after epoch {epoch}", flush=True)
    elif previous := job.previous_model():
        best = load(previous)
        best_loss = log_loss(y_validation, best.predict_proba(x_validation), labels=range(len(LABELS)))
        print(f"the previous model has a validation loss of {best_loss:.6g}", flush=True)

    while epoch < hp.epochs and not job.should_stop():
        epoch += 1
        candidate = pipeline(min(hp.first_c * hp.growth ** min(epoch - 1, 100), 1e6)).fit(x, y)
        loss = log_loss(y_validation, candidate.predict_proba(x_validation), labels=range(len(LABELS)))
        if loss < best_loss:
            best, best_loss = candidate, loss
        job.log_metrics(
            epoch=epoch,
            train_loss=log_loss(y, candidate.predict_proba(x), labels=range(len(LABELS))),
            validation_loss=loss,
            validation_accuracy=candidate.score(x_validation, y_validation),
        )
        if job.is_leader:
            with checkpoints.saving(epoch) as path:
                joblib.dump((best, best_loss), path)

    if job.is_leader and best is not None:
        with atomic(job.model_dir / MODEL_FILE) as path:
            joblib.dump(best, path)
        if job.has_channel("test"):
            x_test, y_test = read(job.channel("test"))
            evaluate(job, y_test, np.take(LABELS, best.predict(x_test)), epoch)


def load(model_dir: Path) -> Pipeline:
    """Load what `train` saved. The folder is read-only on an endpoint."""
    return joblib.load(model_dir / MODEL_FILE)


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


def evaluate(job: Job[Hyperparameters], y: np.ndarray, predicted: np.ndarray, epochs: int) -> None:
    """Log the accuracy on data that the model has not seen, and save a report with the job's outputs."""
    accuracy = float(np.mean(predicted == np.take(LABELS, y)))
    job.log_metrics(test_accuracy=accuracy)
    confusion = {
        actual: {p: int(np.sum(predicted[y == i] == p)) for p in LABELS} for i, actual in enumerate(LABELS)
    }
    report = {"rows": len(y), "epochs": epochs, "accuracy": accuracy, "confusion": confusion}
    job.write_report("evaluation.json", report)
