"""Your model: this is the one file to edit.

SageMaker runs `train` once, and then `load` and `predict` in every worker of an endpoint. The sample tells
three species of penguins apart by their measurements, their island and their sex.
"""

from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from threading import Lock

import keras
import numpy as np
from pydantic import BaseModel, Field

from byoc import distributed
from byoc.channels import csv_rows
from byoc.inputs import Table, category, number
from byoc.job import Checkpoints, Job
from byoc.paths import atomic

NUMBERS = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g")
CATEGORIES = {"island": ("Biscoe", "Dream", "Torgersen"), "sex": ("female", "male")}
LABELS = ("Adelie", "Chinstrap", "Gentoo")
# What a request must carry: these columns, by name or in this order. A category may be missing.
INPUTS = Table(
    **{name: number() for name in NUMBERS},
    **{name: category(*values, optional=True) for name, values in CATEGORIES.items()},
)
# Columns of `features`: one for each number, and one for each value of a category.
WIDTH = len(NUMBERS) + sum(len(values) for values in CATEGORIES.values())
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
    seed: int = Field(0, ge=0, description="Of the initial weights and the order of the data")


def build(x: np.ndarray, hp: Hyperparameters) -> keras.Model:
    """A small network that standardises its own inputs, so that the artifact is all that serving needs."""
    mean, variance = distributed.moments(x)
    return keras.Sequential(
        [
            keras.Input([WIDTH]),
            # A column of one value stays as it is.
            keras.layers.Normalization(mean=mean, variance=np.where(variance > 0, variance, 1)),
            keras.layers.Dense(hp.hidden_units, activation="relu"),
            keras.layers.Dense(len(LABELS), activation="softmax"),
        ]
    )


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
            train_loss=distributed.mean(logs["loss"]),
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
    # A part of the rows is no measure: a sharded channel needs another one for validation.
    has_validation = job.has_channel("validation") or job.is_sharded("train")
    validation = read(job.channel("validation")) if has_validation else (x, y)
    checkpoints = job.checkpoints(".keras")
    epoch = 0
    keras.utils.set_random_seed(hp.seed)
    if found := checkpoints.resume(keras.saving.load_model):
        epoch, model = found
        print(f"resumed after epoch {epoch}", flush=True)
    else:
        previous = job.previous_model()
        model = load(previous) if previous else build(x, hp)
        model.compile(
            optimizer=keras.optimizers.Adam(hp.learning_rate),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )

    batches = distributed.Batches(len(y), hp.batch_size, job.is_sharded("train"))
    if not job.should_stop():
        history = model.fit(
            examples(x, y, batches, hp.seed, epoch),
            steps_per_epoch=len(batches.sizes),
            validation_data=validation,
            initial_epoch=epoch,
            epochs=hp.epochs,
            shuffle=False,  # the generator did it
            callbacks=[EndOfEpoch(job, checkpoints)],
            verbose=0,
        )
        epoch += len(history.epoch)

    if job.is_leader and epoch > 0:
        with distributed.alone():
            with atomic(job.model_dir / MODEL_FILE) as path:
                model.save(path, include_optimizer=False)
            if job.has_channel("test"):
                x_test, y_test = read(job.channel("test"))
                evaluate(job, y_test, classify(load(job.model_dir), x_test), epoch)


def examples(
    x: np.ndarray, y: np.ndarray, batches: distributed.Batches, seed: int, epoch: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Rows and their weights, in a new order for each epoch; it is the same when a job resumes there."""
    for current in count(epoch):
        for rows, weights in batches(np.random.default_rng((seed, current)).permutation(len(y))):
            yield x[rows], y[rows], weights


def load(model_dir: Path) -> keras.Model:
    """Load what `train` saved. The folder is read-only on an endpoint."""
    return keras.saving.load_model(model_dir / MODEL_FILE, compile=False)


def classify(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """The label of each row of features."""
    # Filled up to a power of two rows: a backend may compile anew for every number of rows that it meets.
    batch = np.zeros((1 << (len(x) - 1).bit_length(), *x.shape[1:]), dtype=x.dtype)
    batch[: len(x)] = x
    with PREDICTING:
        probabilities = model.predict_on_batch(batch)
    return np.take(LABELS, probabilities[: len(x)].argmax(axis=1))


def predict(model: keras.Model, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Name the species of each row; `inputs` has the columns of INPUTS, each of shape [rows]."""
    return classify(model, features(inputs))


def read(channel: Path) -> tuple[np.ndarray, np.ndarray]:
    """A channel's CSV files: features, and species as indexes of shape [rows]."""
    rows = csv_rows(channel, "species", *NUMBERS)
    table = {name: np.array([row.number(name) for row in rows]) for name in NUMBERS}
    for name, values in CATEGORIES.items():
        table[name] = np.array([row.optional_choice(name, values) for row in rows], dtype=object)
    return features(table), np.array([LABELS.index(row.choice("species", LABELS)) for row in rows])


def features(table: Mapping[str, np.ndarray]) -> np.ndarray:
    """The columns of INPUTS as float32 of shape [rows, WIDTH].

    A category becomes a column for each of its values: 1 where it has the value, else 0.
    """
    columns = [table[name] for name in NUMBERS]
    for name, values in CATEGORIES.items():
        columns += [table[name] == value for value in values]
    return np.stack(columns, axis=1).astype(np.float32)


def evaluate(job: Job[Hyperparameters], y: np.ndarray, predicted: np.ndarray, epochs: int) -> None:
    """Log the accuracy on data that the model has not seen, and save a report with the job's outputs."""
    accuracy = float(np.mean(predicted == np.take(LABELS, y)))
    job.log_metrics(test_accuracy=accuracy)
    confusion = {
        actual: {p: int(np.sum(predicted[y == i] == p)) for p in LABELS} for i, actual in enumerate(LABELS)
    }
    report = {"rows": len(y), "epochs": epochs, "accuracy": accuracy, "confusion": confusion}
    job.write_report("evaluation.json", report)
