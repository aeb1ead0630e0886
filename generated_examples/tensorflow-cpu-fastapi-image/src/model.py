"""Your model: this is the one file to edit.

SageMaker runs `train` once, and then `load` and `predict` in every worker of an endpoint. The sample tells
handwritten digits apart.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image
from pydantic import BaseModel, Field

from byoc import distributed
from byoc.channels import files
from byoc.errors import JobError
from byoc.inputs import Images
from byoc.job import Job

LABELS = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
INPUTS = Images()  # what a request must carry; `predict` gets a list of PIL images
# Every image is scaled to SIDE x SIDE pixels.
SIDE = 8
# Printed by log_metrics once per epoch; `make metrics` gives the regexes for create_training_job.
METRICS = ("epoch", "train_loss", "validation_loss", "validation_accuracy", "test_accuracy")
# The artifact is a SavedModel in a numbered folder, as TensorFlow Serving wants it too.
MODEL_VERSION = "1"


class Hyperparameters(BaseModel):
    """What a training job may set; SageMaker's strings arrive here as these types."""

    epochs: int = Field(20, ge=1, description="Passes over the training data")
    learning_rate: float = Field(0.05, gt=0, description="Step size of gradient descent")
    momentum: float = Field(0.9, ge=0, lt=1, description="Share of a step that carries over into the next")
    batch_size: int = Field(32, ge=1, description="Images per step")
    hidden_units: int = Field(16, ge=1, description="Channels of the convolution")
    seed: int = Field(0, ge=0, description="Of the initial weights and the order of the data")


class Classifier(tf.Module):
    """A convolution, and a layer that decides."""

    def __init__(self, x: np.ndarray, hp: Hyperparameters) -> None:
        super().__init__()
        width = (SIDE // 2) ** 2 * hp.hidden_units
        normal = tf.random.stateless_normal
        self.filters = tf.Variable(normal([3, 3, 1, hp.hidden_units], seed=[hp.seed, 0], stddev=1 / 3))
        self.weights = tf.Variable(normal([width, len(LABELS)], seed=[hp.seed, 1], stddev=width**-0.5))
        self.biases = [tf.Variable(tf.zeros(hp.hidden_units)), tf.Variable(tf.zeros(len(LABELS)))]

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Scores of shape [images, digits]."""
        images = tf.reshape(x, [-1, SIDE, SIDE, 1])
        convolved = tf.nn.conv2d(images, self.filters, strides=1, padding="SAME")
        pooled = tf.nn.max_pool2d(tf.nn.relu(convolved + self.biases[0]), 2, 2, "VALID")
        return tf.reshape(pooled, [-1, self.weights.shape[0]]) @ self.weights + self.biases[1]

    @tf.function(input_signature=[tf.TensorSpec([None, SIDE * SIDE], tf.float32, name="inputs")])
    def serve(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """The artifact's signature: probabilities of shape [images, digits], for any number of images."""
        return {"probabilities": tf.nn.softmax(self(inputs))}


class Trainer(tf.Module):
    """Gradient descent with momentum. Its variables are all that a checkpoint has to hold."""

    def __init__(self, model: Classifier, hp: Hyperparameters) -> None:
        super().__init__()
        self.model = model
        self.velocities = [tf.Variable(tf.zeros_like(v), trainable=False) for v in model.trainable_variables]
        self.learning_rate, self.momentum = hp.learning_rate, hp.momentum

    @tf.function(reduce_retracing=True)
    def step(self, x: tf.Tensor, y: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """Take one step down the slope of a batch's mean loss, and return that loss."""
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            loss = mean_loss(self.model(x), y, weights)
        gradients = distributed.average(tape.gradient(loss, variables))
        for variable, velocity, gradient in zip(variables, self.velocities, gradients, strict=True):
            velocity.assign(self.momentum * velocity - self.learning_rate * tf.convert_to_tensor(gradient))
            variable.assign_add(velocity)
        return loss


def train(job: Job[Hyperparameters]) -> None:
    """Fit for some epochs, with a checkpoint after each, and save the model with a report."""
    hp = job.hyperparameters
    x, y = read(job.channel("train"))
    # A part of the rows is no measure: a sharded channel needs another one for validation.
    has_validation = job.has_channel("validation") or job.is_sharded("train")
    x_validation, y_validation = read(job.channel("validation")) if has_validation else (x, y)
    model = Classifier(x, hp)
    trainer = Trainer(model, hp)
    checkpoints = job.checkpoints(".npz")
    epoch = 0
    if found := checkpoints.resume(lambda file: list(np.load(file).values())):
        epoch, values = found
        for variable, value in zip(trainer.variables, values, strict=True):
            variable.assign(value)
        print(f"resumed after epoch {epoch}", flush=True)
    elif previous := job.previous_model():
        variables = previous / MODEL_VERSION / "variables/variables"
        tf.train.Checkpoint(model).read(str(variables)).assert_existing_objects_matched()

    batches = distributed.Batches(len(y), hp.batch_size, job.is_sharded("train"))
    while epoch < hp.epochs and not job.should_stop():
        epoch += 1
        # Each epoch has its own order of rows, the same when a job resumes there.
        order = np.random.default_rng((hp.seed, epoch)).permutation(len(y))
        losses = [
            trainer.step(tf.constant(x[rows]), tf.constant(y[rows]), tf.constant(weights))
            for rows, weights in batches(order)
        ]
        scores = model(x_validation)
        job.log_metrics(
            epoch=epoch,
            train_loss=distributed.mean(np.average(losses, weights=batches.sizes)),
            validation_loss=float(mean_loss(scores, y_validation)),
            validation_accuracy=float(np.mean(np.argmax(scores, axis=1) == y_validation)),
        )
        if job.is_leader:
            with checkpoints.saving(epoch) as path:
                np.savez(path, *(variable.numpy() for variable in trainer.variables))

    if job.is_leader and epoch > 0:
        save(model, job.model_dir / MODEL_VERSION)
        if job.has_channel("test"):
            x_test, y_test = read(job.channel("test"))
            evaluate(job, y_test, classify(load(job.model_dir), x_test), epoch)


def mean_loss(scores: tf.Tensor, y: tf.Tensor, weights: tf.Tensor | float = 1.0) -> tf.Tensor:
    """Cross entropy of the scores, averaged over the rows."""
    return tf.reduce_mean(weights * tf.nn.sparse_softmax_cross_entropy_with_logits(y, scores))


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


def classify(model: Any, x: np.ndarray) -> np.ndarray:
    """The label of each row of features."""
    outputs = model.signatures["serving_default"](inputs=tf.constant(x))
    return np.take(LABELS, np.argmax(outputs["probabilities"], axis=1))


def predict(model: Any, inputs: list[Image.Image]) -> np.ndarray:
    """Name the digit in each image."""
    return classify(model, features(inputs))


def read(channel: Path) -> tuple[np.ndarray, np.ndarray]:
    """A channel's images, in one folder per digit: features, and digits as indexes of shape [images]."""
    images, labels = [], []
    for file in files(channel, ".png", ".jpg", ".jpeg"):
        name = file.relative_to(channel)
        if file.parent.name not in LABELS:
            raise JobError(f"{name} must lie in a folder that is named {', '.join(LABELS)}")
        try:
            with Image.open(file) as image:
                images.append(features([image])[0])
        except OSError as error:
            raise JobError(f"{name} is not an image: {error}") from error
        labels.append(LABELS.index(file.parent.name))
    return np.stack(images), np.array(labels)


def features(images: Sequence[Image.Image]) -> np.ndarray:
    """Grey values from 0 to 1, float32 of shape [images, SIDE * SIDE], of images of any size and mode."""
    small = [grey(image).resize((SIDE, SIDE)) for image in images]
    return np.stack([np.asarray(image, dtype=np.float32).ravel() for image in small]) / 255


def grey(image: Image.Image) -> Image.Image:
    """One byte for each pixel. Of 16 bits, Pillow would make white of all but the darkest."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image.convert("L")


def evaluate(job: Job[Hyperparameters], y: np.ndarray, predicted: np.ndarray, epochs: int) -> None:
    """Log the accuracy on data that the model has not seen, and save a report with the job's outputs."""
    accuracy = float(np.mean(predicted == np.take(LABELS, y)))
    job.log_metrics(test_accuracy=accuracy)
    confusion = {
        actual: {p: int(np.sum(predicted[y == i] == p)) for p in LABELS} for i, actual in enumerate(LABELS)
    }
    report = {"rows": len(y), "epochs": epochs, "accuracy": accuracy, "confusion": confusion}
    job.write_report("evaluation.json", report)
