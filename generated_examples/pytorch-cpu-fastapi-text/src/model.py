"""Your model: this is the one file to edit.

SageMaker runs `train` once, and then `load` and `predict` in every worker of an endpoint. The sample tells
definitions of The Devil's Dictionary from definitions of the Jargon File.
"""

import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, Field
from torch import nn

from byoc import distributed
from byoc.channels import csv_rows
from byoc.inputs import Text
from byoc.job import Job
from byoc.paths import atomic

LABELS = ("devil", "jargon")
INPUTS = Text()  # what a request must carry; `predict` gets a list of strings
# Words of a text that count, and how many words are told apart: those with the same hash are one.
WORDS, VOCABULARY = 64, 4096
# Printed by log_metrics once per epoch; `make metrics` gives the regexes for create_training_job.
METRICS = ("epoch", "train_loss", "validation_loss", "validation_accuracy", "test_accuracy")
MODEL_FILE = "model.pt"
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Hyperparameters(BaseModel):
    """What a training job may set; SageMaker's strings arrive here as these types."""

    epochs: int = Field(20, ge=1, description="Passes over the training data")
    learning_rate: float = Field(0.01, gt=0, description="Step size of Adam")
    batch_size: int = Field(32, ge=1, description="Texts per step")
    hidden_units: int = Field(16, ge=1, description="Numbers that stand for a word")
    seed: int = Field(0, ge=0, description="Of the initial weights and the order of the data")


def network(hidden_units: int) -> nn.Sequential:
    """From features to a score for each source: the mean of the words' embeddings decides."""
    return nn.Sequential(
        nn.EmbeddingBag(VOCABULARY, hidden_units, mode="mean", padding_idx=0),
        nn.Linear(hidden_units, len(LABELS)),
    )


def build(x: torch.Tensor, hp: Hyperparameters) -> nn.Sequential:
    """A new network."""
    torch.manual_seed(hp.seed)
    model = network(hp.hidden_units).to(DEVICE)
    nn.init.normal_(model[0].weight, std=0.01)  # a word that training never sees must not count
    return model


def train(job: Job[Hyperparameters]) -> None:
    """Fit for some epochs, with a checkpoint after each, and save the model with a report."""
    hp = job.hyperparameters
    x, y = tensors(job.channel("train"))
    # A part of the rows is no measure: a sharded channel needs another one for validation.
    has_validation = job.has_channel("validation") or job.is_sharded("train")
    x_validation, y_validation = tensors(job.channel("validation")) if has_validation else (x, y)
    model = build(x, hp)
    loss_of = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=hp.learning_rate)
    checkpoints = job.checkpoints(".pt")
    epoch = 0
    if found := checkpoints.resume(lambda file: torch.load(file, map_location="cpu", weights_only=True)):
        epoch, state = found
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])
        print(f"resumed after epoch {epoch}", flush=True)
    elif previous := job.previous_model():
        model.load_state_dict(load(previous).state_dict())

    parallel = distributed.parallel(model)
    row_count = distributed.total(torch.tensor(len(y))) if job.is_sharded("train") else len(y)
    while epoch < hp.epochs and not job.should_stop():
        epoch += 1
        train_loss = torch.zeros((), device=DEVICE)
        order = torch.randperm(len(y))
        for rows in distributed.batches(parallel, order, hp.batch_size, job.is_sharded("train")):
            loss = loss_of(parallel(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            train_loss += loss.detach() * len(rows)
        with torch.inference_mode():
            scores = model(x_validation)
        job.log_metrics(
            epoch=epoch,
            train_loss=(distributed.total(train_loss) / row_count).item(),
            validation_loss=loss_of(scores, y_validation).item(),
            validation_accuracy=(scores.argmax(dim=1) == y_validation).float().mean().item(),
        )
        if job.is_leader:
            state = {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "rng": torch.get_rng_state(),
            }
            with checkpoints.saving(epoch) as path:
                torch.save(state, path)

    if job.is_leader and epoch > 0:
        with atomic(job.model_dir / MODEL_FILE) as path:
            torch.save({"hidden_units": hp.hidden_units, "weights": model.state_dict()}, path)
        if job.has_channel("test"):
            x_test, y_test = read(job.channel("test"))
            evaluate(job, y_test, classify(model, x_test), epoch)


def tensors(channel: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """A channel's features and labels, where the model is."""
    x, y = read(channel)
    return torch.from_numpy(x).to(DEVICE), torch.from_numpy(y).to(DEVICE)


def load(model_dir: Path) -> nn.Sequential:
    """Load what `train` saved. The folder is read-only on an endpoint."""
    saved = torch.load(model_dir / MODEL_FILE, map_location=DEVICE, weights_only=True)
    model = network(saved["hidden_units"]).to(DEVICE)
    model.load_state_dict(saved["weights"])
    return model.eval()


@torch.inference_mode()
def classify(model: nn.Sequential, x: np.ndarray) -> np.ndarray:
    """The label of each row of features."""
    scores = model(torch.from_numpy(x).to(DEVICE))
    return np.take(LABELS, scores.argmax(dim=1).cpu().numpy())


def predict(model: nn.Sequential, inputs: list[str]) -> np.ndarray:
    """Name the source of each text."""
    return classify(model, features(inputs))


def read(channel: Path) -> tuple[np.ndarray, np.ndarray]:
    """A channel's CSV files: features, and sources as indexes of shape [rows]."""
    rows = csv_rows(channel, "source", "text")
    labels = [LABELS.index(row.choice("source", LABELS)) for row in rows]
    return features([row["text"] for row in rows]), np.array(labels)


def features(texts: Sequence[str]) -> np.ndarray:
    """A number from 1 for each of a text's first WORDS words, then 0: int32 of shape [texts, WORDS]."""
    x = np.zeros((len(texts), WORDS), dtype=np.int32)
    for row, text in zip(x, texts, strict=True):
        words = re.findall(r"\w+", text.lower())[:WORDS]
        row[: len(words)] = [1 + zlib.crc32(word.encode()) % (VOCABULARY - 1) for word in words]
    return x


def evaluate(job: Job[Hyperparameters], y: np.ndarray, predicted: np.ndarray, epochs: int) -> None:
    """Log the accuracy on data that the model has not seen, and save a report with the job's outputs."""
    accuracy = float(np.mean(predicted == np.take(LABELS, y)))
    job.log_metrics(test_accuracy=accuracy)
    confusion = {
        actual: {p: int(np.sum(predicted[y == i] == p)) for p in LABELS} for i, actual in enumerate(LABELS)
    }
    report = {"rows": len(y), "epochs": epochs, "accuracy": accuracy, "confusion": confusion}
    job.write_report("evaluation.json", report)
