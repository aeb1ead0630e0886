"""Your model: this is the one file to edit.

SageMaker runs `train` once, and then `load` and `predict` in every worker of an endpoint. The sample tells
three species of penguins apart by their measurements.
"""

import csv
from pathlib import Path

import joblib
import numpy as np
from pydantic import BaseModel, Field
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from byoc.errors import JobError
from byoc.job import Job
from byoc.paths import atomic

FEATURES = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g")
SPECIES = ("Adelie", "Chinstrap", "Gentoo")
# Printed by log_metrics once per epoch; `make metrics` gives the regexes for create_training_job.
METRICS = ("epoch", "train_loss", "validation_loss", "validation_accuracy", "test_accuracy")

MODEL_FILE = "model.joblib"


class Hyperparameters(BaseModel):
    """What a training job may set; SageMaker's strings arrive here as these types."""

    epochs: int = Field(30, ge=1, description="Steps on the path from strong to weak regularisation")
    first_c: float = Field(0.001, gt=0, description="Inverse regularisation strength of the first step")
    growth: float = Field(1.5, gt=1, le=10, description="Factor between steps")


def train(job: Job[Hyperparameters]) -> None:
    """Fit one model per step, keep the one with the lowest validation loss, and save it with a report."""
    hp = job.hyperparameters
    x, y = read(job.channel("train"))
    x_validation, y_validation = read(job.channel("validation")) if job.has_channel("validation") else (x, y)
    checkpoints = job.checkpoints(".joblib")
    epoch, best, best_loss = 0, None, np.inf
    if found := checkpoints.latest():
        epoch, file = found
        best, best_loss = joblib.load(file)
        print(f"resumed after epoch {epoch}", flush=True)

    while epoch < hp.epochs and not job.should_stop():
        epoch += 1
        c = min(hp.first_c * hp.growth ** min(epoch - 1, 100), 1e6)
        candidate = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=500)).fit(x, y)
        loss = log_loss(y_validation, candidate.predict_proba(x_validation), labels=range(len(SPECIES)))
        if loss < best_loss:
            best, best_loss = candidate, loss
        job.log_metrics(
            epoch=epoch,
            train_loss=log_loss(y, candidate.predict_proba(x), labels=range(len(SPECIES))),
            validation_loss=loss,
            validation_accuracy=candidate.score(x_validation, y_validation),
        )
        if job.is_leader:
            with checkpoints.saving(epoch) as path:
                joblib.dump((best, best_loss), path)

    if job.is_leader and best is not None:
        with atomic(job.model_dir / MODEL_FILE) as path:
            joblib.dump(best, path)
        evaluate(job, best, epoch)


def load(model_dir: Path) -> Pipeline:
    """Load what `train` saved. The folder is read-only on an endpoint."""
    return joblib.load(model_dir / MODEL_FILE)


def predict(model: Pipeline, inputs: np.ndarray) -> np.ndarray:
    """Name the species of each row; inputs has shape [rows, 4] in the order of FEATURES."""
    return np.take(SPECIES, model.predict(inputs))


def read(channel: Path) -> tuple[np.ndarray, np.ndarray]:
    """All CSV files of a channel: features of shape [rows, 4] and species as indexes of shape [rows].

    Hidden files and folders are left out. Raises JobError that names the file, the line and what is in it.
    """
    features: list[list[float]] = []
    labels: list[int] = []
    files = [f.relative_to(channel) for f in sorted(channel.rglob("*")) if f.is_file()]
    for file in files:
        if file.suffix != ".csv" or any(part.startswith(".") for part in file.parts):
            continue
        with (channel / file).open(newline="", encoding="utf-8-sig") as lines:  # some begin with a mark
            table = csv.DictReader(lines)
            if missing := {"species", *FEATURES} - {*(table.fieldnames or ())}:
                raise JobError(f"{file} has the columns {table.fieldnames}, but not {sorted(missing)}")
            for row in table:
                try:
                    features.append([float(row[name]) for name in FEATURES])
                    labels.append(SPECIES.index(row["species"]))
                except (ValueError, TypeError):
                    raise JobError(
                        f"{file}, line {table.line_num}: needs a species of {SPECIES} and numbers, has {row}"
                    ) from None
    if not labels:
        found = ", ".join(map(str, files[:10])) or "no file"
        raise JobError(f"channel {channel.name!r} has no rows in .csv files; it holds {found}")
    return np.array(features, dtype=np.float32), np.array(labels)


def evaluate(job: Job[Hyperparameters], model: object, epochs: int) -> None:
    """Score the model on data that it has not seen, and save the report with the job's outputs."""
    if not job.has_channel("test"):
        return
    x, y = read(job.channel("test"))
    predicted = predict(model, x)
    accuracy = float(np.mean(predicted == np.array(SPECIES)[y]))
    job.log_metrics(test_accuracy=accuracy)
    confusion = {
        actual: {p: int(np.sum(predicted[y == i] == p)) for p in SPECIES} for i, actual in enumerate(SPECIES)
    }
    report = {"rows": len(y), "epochs": epochs, "accuracy": accuracy, "confusion": confusion}
    job.write_report("evaluation.json", report)
