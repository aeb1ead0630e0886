"""Your model: this is the one file to edit.

SageMaker runs `train` once, and then `load` and `predict` in every worker of an endpoint. The sample tells
three species of penguins apart by their measurements.
"""

import csv
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from threading import Lock

import keras
import numpy as np
from pydantic import BaseModel, Field

from byoc.errors import JobError
from byoc.job import Checkpoints, Job
from byoc.paths import atomic

FEATURES = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g")
SPECIES = ("Adelie", "Chinstrap", "Gentoo")
# Printed by log_metrics once per epoch; `make metrics` gives the regexes for create_training_job.
METRICS = ("epoch", "train_loss", "validation_loss", "validation_accuracy", "test_accuracy")

MODEL_FILE = "model.keras"
# Requests are answered in several threads, and a Keras model must not predict in two at once.
PREDICTING = Lock()


class Hyperparameters(BaseModel):
    """What a training job may set; SageMaker's strings arrive here as these types."""

    epochs: int = Field(20, ge=1, description="Passes over the training data")
    learning_rate: float = Field(0.01, gt=0, description="Step size of Adam")
    batch_size: int = Field(32, ge=1, description="Rows per step")
    hidden_units: int = Field(16, ge=1, description="Width of the hidden layer")
    seed: int = Field(0, ge=0, description="Of the initial weights and the order of rows")


def build(x: np.ndarray, hp: Hyperparameters) -> keras.Model:
    """A small network that standardises its own inputs, so that the artifact is all that serving needs."""
    keras.utils.set_random_seed(hp.seed)
    standardise = keras.layers.Normalization()
    standardise.adapt(x)
    model = keras.Sequential(
        [
            keras.Input([len(FEATURES)]),
            standardise,
            keras.layers.Dense(hp.hidden_units, activation="relu"),
            keras.layers.Dense(len(SPECIES), activation="softmax"),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(hp.learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


class EndOfEpoch(keras.callbacks.Callback):
    """Prints the metrics, saves a checkpoint, and ends training where SageMaker wants it to stop."""

    def __init__(self, job: Job[Hyperparameters], checkpoints: Checkpoints) -> None:
        super().__init__()
        self.job = job
        self.checkpoints = checkpoints

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Keras counts epochs from 0 and calls this after each."""
        self.job.log_metrics(
            epoch=epoch + 1,
            train_loss=logs["loss"],
            validation_loss=logs["val_loss"],
            validation_accuracy=logs["val_accuracy"],
        )
        if self.job.is_leader:
            with self.checkpoints.saving(epoch + 1) as path:
                self.model.save(path)
        self.model.stop_training = self.job.should_stop()


def train(job: Job[Hyperparameters]) -> None:
    """Fit for some epochs, with a checkpoint after each, and save the model with a report."""
    hp = job.hyperparameters
    x, y = read(job.channel("train"))
    validation = read(job.channel("validation")) if job.has_channel("validation") else (x, y)
    checkpoints = job.checkpoints(".keras")
    epoch = 0
    if found := checkpoints.latest():
        epoch, file = found
        model = keras.saving.load_model(file)
        print(f"resumed after epoch {epoch}", flush=True)
    else:
        model = build(x, hp)

    if not job.should_stop():
        history = model.fit(
            batches(x, y, hp, epoch),
            steps_per_epoch=-(-len(y) // hp.batch_size),
            validation_data=validation,
            initial_epoch=epoch,
            epochs=hp.epochs,
            shuffle=False,  # the generator did it
            callbacks=[EndOfEpoch(job, checkpoints)],
            verbose=0,
        )
        epoch += len(history.epoch)

    if job.is_leader and epoch > 0:
        with atomic(job.model_dir / MODEL_FILE) as path:
            model.save(path, include_optimizer=False)
        evaluate(job, model, epoch)


def batches(
    x: np.ndarray, y: np.ndarray, hp: Hyperparameters, epoch: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows in a new order for each epoch, which is the same order when a job resumes there."""
    for current in count(epoch):
        order = np.random.default_rng((hp.seed, current)).permutation(len(y))
        for start in range(0, len(y), hp.batch_size):
            rows = order[start : start + hp.batch_size]
            yield x[rows], y[rows]


def load(model_dir: Path) -> keras.Model:
    """Load what `train` saved. The folder is read-only on an endpoint."""
    return keras.saving.load_model(model_dir / MODEL_FILE, compile=False)


def predict(model: keras.Model, inputs: np.ndarray) -> np.ndarray:
    """Name the species of each row; inputs has shape [rows, 4] in the order of FEATURES."""
    # Filled up to a power of two rows: a backend may compile anew for every number of rows that it meets.
    batch = np.zeros((1 << (len(inputs) - 1).bit_length(), len(FEATURES)), dtype=np.float32)
    batch[: len(inputs)] = inputs
    with PREDICTING:
        probabilities = model.predict_on_batch(batch)
    return np.take(SPECIES, probabilities[: len(inputs)].argmax(axis=1))


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
