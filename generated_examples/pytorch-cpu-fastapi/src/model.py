"""Your model: this is the one file to edit.

SageMaker runs `train` once, and then `load` and `predict` in every worker of an endpoint. The sample tells
three species of penguins apart by their measurements.
"""

import csv
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, Field
from torch import nn

from byoc.errors import JobError
from byoc.job import Job
from byoc.paths import atomic

FEATURES = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g")
SPECIES = ("Adelie", "Chinstrap", "Gentoo")
# Printed by log_metrics once per epoch; `make metrics` gives the regexes for create_training_job.
METRICS = ("epoch", "train_loss", "validation_loss", "validation_accuracy", "test_accuracy")

MODEL_FILE = "model.pt"
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Hyperparameters(BaseModel):
    """What a training job may set; SageMaker's strings arrive here as these types."""

    epochs: int = Field(20, ge=1, description="Passes over the training data")
    learning_rate: float = Field(0.01, gt=0, description="Step size of Adam")
    batch_size: int = Field(32, ge=1, description="Rows per step")
    hidden_units: int = Field(16, ge=1, description="Width of the hidden layer")
    seed: int = Field(0, ge=0, description="Of the initial weights and the order of rows")


class Classifier(nn.Module):
    """A small network that standardises its own inputs, so that the artifact is all that serving needs."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, hidden_units: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(len(FEATURES)))
        self.register_buffer("std", torch.ones(len(FEATURES)))
        self.layers = nn.Sequential(
            nn.Linear(len(FEATURES), hidden_units),
            nn.ReLU(),
            nn.Linear(hidden_units, len(SPECIES)),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores of shape [rows, species]."""
        return self.layers((x - self.mean) / self.std)


def train(job: Job[Hyperparameters]) -> None:
    """Fit for some epochs, with a checkpoint after each, and save the model with a report."""
    hp = job.hyperparameters
    x, y = tensors(job.channel("train"))
    has_validation = job.has_channel("validation")
    x_validation, y_validation = tensors(job.channel("validation")) if has_validation else (x, y)
    torch.manual_seed(hp.seed)
    model = Classifier(hp.hidden_units).to(DEVICE)
    model.mean.copy_(x.mean(dim=0))
    model.std.copy_(x.std(dim=0).clamp(min=1e-6))
    loss_of = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=hp.learning_rate)
    checkpoints = job.checkpoints(".pt")
    epoch = 0
    if found := checkpoints.latest():
        epoch, file = found
        state = torch.load(file, map_location="cpu", weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])
        print(f"resumed after epoch {epoch}", flush=True)

    while epoch < hp.epochs and not job.should_stop():
        epoch += 1
        train_loss = torch.zeros((), device=DEVICE)
        for rows in torch.randperm(len(y)).split(hp.batch_size):
            loss = loss_of(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            train_loss += loss.detach() * len(rows) / len(y)
        with torch.inference_mode():
            scores = model(x_validation)
        job.log_metrics(
            epoch=epoch,
            train_loss=train_loss.item(),
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
        evaluate(job, model, epoch)


def load(model_dir: Path) -> Classifier:
    """Load what `train` saved. The folder is read-only on an endpoint."""
    saved = torch.load(model_dir / MODEL_FILE, map_location=DEVICE, weights_only=True)
    model = Classifier(saved["hidden_units"]).to(DEVICE)
    model.load_state_dict(saved["weights"])
    return model.eval()


@torch.inference_mode()
def predict(model: Classifier, inputs: np.ndarray) -> np.ndarray:
    """Name the species of each row; inputs has shape [rows, 4] in the order of FEATURES."""
    scores = model(torch.from_numpy(inputs.astype(np.float32)).to(DEVICE))
    return np.take(SPECIES, scores.argmax(dim=1).cpu().numpy())


def tensors(channel: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """A channel's features and species, where the model is."""
    x, y = read(channel)
    return torch.from_numpy(x).to(DEVICE), torch.from_numpy(y).to(DEVICE)


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
