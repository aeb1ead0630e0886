"""Discs and squares in an image: boxes, labels and scores, as many as there are (a small CenterNet)."""

import json

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, Field
from torch import nn

from byoc.inputs import Images
from byoc.job import Job
from byoc.paths import atomic

INPUTS = Images()
METRICS = ("loss",)
CLASSES = ("disc", "square")
SIZE = 48  # pixels of an image's side
AT_ONCE = 64  # images in one call of the network
STRIDE = 4  # pixels of a cell's side
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Hyperparameters(BaseModel):
    epochs: int = Field(40, ge=1)
    lr: float = Field(0.005, gt=0)
    seed: int = 0


def network():
    """From [n, 3, SIZE, SIZE] to [n, classes + 4, cells, cells]: heat of each class, size and offset."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, len(CLASSES) + 4, 1),
    ).to(DEVICE)


def train(job: Job[Hyperparameters]):
    hp = job.hyperparameters
    torch.manual_seed(hp.seed)
    images, truth, present = read(job.channel("train"))
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=hp.lr)
    checkpoints = job.checkpoints(".pt")
    done = 0
    if found := checkpoints.latest():
        done, file = found
        state = torch.load(file, map_location=DEVICE, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    for epoch in range(done + 1, hp.epochs + 1):
        if job.should_stop():
            break
        for batch in torch.arange(len(images)).split(8):
            out = model(images[batch])
            n = len(CLASSES)
            heat = nn.functional.binary_cross_entropy_with_logits(
                out[:, :n], truth[batch, :n], pos_weight=torch.tensor(20.0, device=DEVICE)
            )
            where = present[batch]
            boxes = ((out[:, n:] - truth[batch, n:]).abs() * where).sum() / where.sum().clamp(min=1)
            loss = heat + 0.1 * boxes
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        job.log_metrics(loss=loss.item())
        with checkpoints.saving(epoch) as path:
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, path)
    with atomic(job.model_dir / "detector.pt") as path:
        torch.save(model.state_dict(), path)


def load(model_dir):
    model = network()
    model.load_state_dict(torch.load(model_dir / "detector.pt", map_location=DEVICE, weights_only=True))
    return model.eval()


@torch.inference_mode()
def predict(model, inputs):
    answers = []
    # A request may hold thousands of images: all at once would take gigabytes.
    for start in range(0, len(inputs), AT_ONCE):
        images = inputs[start : start + AT_ONCE]
        out = model(torch.stack([pixels(image) for image in images]))
        heat, geometry = out[:, : len(CLASSES)].sigmoid(), out[:, len(CLASSES) :].cpu()
        peaks = (heat == nn.functional.max_pool2d(heat, 3, stride=1, padding=1)) & (heat > 0.5)
        answers += [
            found(image, heat[i], geometry[i], peaks[i].nonzero().tolist()) for i, image in enumerate(images)
        ]
    return answers


def found(image, heat, geometry, peaks):
    """One image's boxes (left, top, right, bottom, in its own pixels), best first."""
    scale = torch.tensor([image.width / SIZE, image.height / SIZE] * 2)
    objects = []
    for label, row, column in peaks:
        width, height, dx, dy = (geometry[:, row, column] * STRIDE).tolist()
        x, y = column * STRIDE + dx, row * STRIDE + dy
        box = torch.tensor([x - width / 2, y - height / 2, x + width / 2, y + height / 2]) * scale
        score = round(float(heat[label, row, column]), 2)
        objects.append((score, CLASSES[label], box.round().int().tolist()))
    objects.sort(reverse=True)
    return {
        "boxes": [box for _, _, box in objects],
        "labels": [label for _, label, _ in objects],
        "scores": [score for score, _, _ in objects],
    }


def pixels(image):
    small = np.asarray(image.convert("RGB").resize((SIZE, SIZE)), dtype=np.float32) / 255 - 0.5
    return torch.from_numpy(small).permute(2, 0, 1).to(DEVICE)


def read(channel):
    """Images, what the network should say of them, and the cells in which an object's centre lies."""
    boxes = json.loads((channel / "boxes.json").read_text())
    cells, n = SIZE // STRIDE, len(CLASSES)
    images = torch.stack([pixels(Image.open(channel / name)) for name in boxes])
    truth = torch.zeros(len(boxes), n + 4, cells, cells, device=DEVICE)
    present = torch.zeros(len(boxes), 1, cells, cells, device=DEVICE)
    for i, objects in enumerate(boxes.values()):
        for label, (left, top, right, bottom) in objects:
            x, y = (left + right) / 2 / STRIDE, (top + bottom) / 2 / STRIDE
            row, column = int(y), int(x)
            truth[i, CLASSES.index(label), row, column] = present[i, 0, row, column] = 1
            geometry = [(right - left) / STRIDE, (bottom - top) / STRIDE, x - column, y - row]
            truth[i, n:, row, column] = torch.tensor(geometry)
    return images, truth, present
