"""Your model: this is the one file to edit.

SageMaker runs `train` once, and then `load` and `predict` in every worker of an endpoint. The sample tells
three species of penguins apart by their measurements.
"""

import csv
import shutil
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tensorflow as tf
from pydantic import BaseModel, Field

from byoc.errors import JobError
from byoc.job import Job

FEATURES = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g")
SPECIES = ("Adelie", "Chinstrap", "Gentoo")
# Printed by log_metrics once per epoch; `make metrics` gives the regexes for create_training_job.
METRICS = ("epoch", "train_loss", "validation_loss", "validation_accuracy", "test_accuracy")

# The artifact is a SavedModel in a numbered folder, as TensorFlow Serving wants it too.
MODEL_VERSION = "1"


class Hyperparameters(BaseModel):
    """What a training job may set; SageMaker's strings arrive here as these types."""

    epochs: int = Field(20, ge=1, description="Passes over the training data")
    learning_rate: float = Field(0.03, gt=0, description="Step size of gradient descent")
    momentum: float = Field(0.9, ge=0, lt=1, description="Share of a step that carries over into the next")
    batch_size: int = Field(32, ge=1, description="Rows per step")
    hidden_units: int = Field(16, ge=1, description="Width of the hidden layer")
    seed: int = Field(0, ge=0, description="Of the initial weights and the order of rows")


class Classifier(tf.Module):
    """A small network that standardises its own inputs, so that the artifact is all that serving needs."""

    def __init__(self, x: np.ndarray, hp: Hyperparameters) -> None:
        super().__init__()
        self.mean = tf.Variable(x.mean(axis=0), trainable=False)
        self.std = tf.Variable(np.maximum(x.std(axis=0), 1e-6), trainable=False)
        widths = (len(FEATURES), hp.hidden_units, len(SPECIES))
        self.weights = [
            tf.Variable(tf.random.stateless_normal([a, b], seed=[hp.seed, layer], stddev=a**-0.5))
            for layer, (a, b) in enumerate(pairwise(widths))
        ]
        self.biases = [tf.Variable(tf.zeros(width)) for width in widths[1:]]

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Scores of shape [rows, species]."""
        hidden = tf.nn.relu((x - self.mean) / self.std @ self.weights[0] + self.biases[0])
        return hidden @ self.weights[1] + self.biases[1]

    @tf.function(input_signature=[tf.TensorSpec([None, len(FEATURES)], tf.float32, name="inputs")])
    def serve(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """The artifact's signature: probabilities of shape [rows, species], for any number of rows."""
        return {"probabilities": tf.nn.softmax(self(inputs))}


class Trainer(tf.Module):
    """Gradient descent with momentum. Its variables are all that a checkpoint has to hold."""

    def __init__(self, model: Classifier, hp: Hyperparameters) -> None:
        super().__init__()
        self.model = model
        self.velocities = [tf.Variable(tf.zeros_like(v), trainable=False) for v in model.trainable_variables]
        self.learning_rate, self.momentum = hp.learning_rate, hp.momentum

    @tf.function(reduce_retracing=True)
    def step(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """Take one step down the slope of a batch's mean loss, and return that loss."""
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            loss = mean_loss(self.model(x), y)
        for variable, velocity, gradient in zip(
            variables, self.velocities, tape.gradient(loss, variables), strict=True
        ):
            velocity.assign(self.momentum * velocity - self.learning_rate * gradient)
            variable.assign_add(velocity)
        return loss


def train(job: Job[Hyperparameters]) -> None:
    """Fit for some epochs, with a checkpoint after each, and save the model with a report."""
    hp = job.hyperparameters
    x, y = read(job.channel("train"))
    x_validation, y_validation = read(job.channel("validation")) if job.has_channel("validation") else (x, y)
    model = Classifier(x, hp)
    trainer = Trainer(model, hp)
    checkpoints = job.checkpoints(".npz")
    epoch = 0
    if found := checkpoints.latest():
        epoch, file = found
        with np.load(file) as saved:
            for variable, name in zip(trainer.variables, saved.files, strict=True):
                variable.assign(saved[name])
        print(f"resumed after epoch {epoch}", flush=True)

    while epoch < hp.epochs and not job.should_stop():
        epoch += 1
        # Each epoch has its own order of rows, the same when a job resumes there.
        order = np.random.default_rng((hp.seed, epoch)).permutation(len(y))
        batches = [order[start : start + hp.batch_size] for start in range(0, len(y), hp.batch_size)]
        losses = [trainer.step(tf.constant(x[rows]), tf.constant(y[rows])) for rows in batches]
        scores = model(x_validation)
        job.log_metrics(
            epoch=epoch,
            train_loss=np.average(losses, weights=[len(rows) for rows in batches]),
            validation_loss=float(mean_loss(scores, y_validation)),
            validation_accuracy=float(np.mean(np.argmax(scores, axis=1) == y_validation)),
        )
        if job.is_leader:
            with checkpoints.saving(epoch) as path:
                np.savez(path, *(variable.numpy() for variable in trainer.variables))

    if job.is_leader and epoch > 0:
        save(model, job.model_dir / MODEL_VERSION)
        evaluate(job, load(job.model_dir), epoch)


def mean_loss(scores: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Cross entropy of the scores, averaged over the rows."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, scores))


def save(model: Classifier, folder: Path) -> None:
    """Export a SavedModel; the folder appears when it is complete."""
    with TemporaryDirectory(prefix=".tmp-", dir=folder.parent) as parent:
        complete = Path(parent, folder.name)
        tf.saved_model.save(model, complete, signatures={"serving_default": model.serve})
        shutil.rmtree(folder, ignore_errors=True)
        complete.replace(folder)


def load(model_dir: Path) -> Any:
    """Load what `train` saved. The folder is read-only on an endpoint."""
    return tf.saved_model.load(model_dir / MODEL_VERSION)


def predict(model: Any, inputs: np.ndarray) -> np.ndarray:
    """Name the species of each row; inputs has shape [rows, 4] in the order of FEATURES."""
    outputs = model.signatures["serving_default"](inputs=tf.constant(inputs, tf.float32))
    return np.take(SPECIES, np.argmax(outputs["probabilities"], axis=1))


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
