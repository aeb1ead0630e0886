"""Sky, grass or brick: the kind of surface in a JPEG, by its colours and edges."""

import io

import joblib
import numpy as np
from PIL import Image
from pydantic import BaseModel
from sklearn.ensemble import RandomForestClassifier

from byoc.inputs import Media

INPUTS = Media("image/jpeg")


class Hyperparameters(BaseModel):
    trees: int = 50
    random_state: int = 0


def train(job):
    photos = sorted(job.channel("train").glob("*/*.jpg"))
    hp = job.hyperparameters
    model = RandomForestClassifier(hp.trees, random_state=hp.random_state)
    model.fit([features(photo.read_bytes()) for photo in photos], [photo.parent.name for photo in photos])
    print(f"trained on {len(photos)} photos")
    joblib.dump(model, job.model_dir / "surfaces.joblib")


def load(model_dir):
    return joblib.load(model_dir / "surfaces.joblib")


def predict(model, inputs):
    return model.predict([features(photo) for photo in inputs])


def features(photo):
    """JPEG bytes: mean and spread of each colour, and how much neighbouring pixels differ."""
    pixels = np.asarray(Image.open(io.BytesIO(photo)).convert("RGB").resize((32, 32)), dtype=float) / 255
    colours = [*pixels.mean(axis=(0, 1)), *pixels.std(axis=(0, 1))]
    edges = [np.abs(np.diff(pixels, axis=axis)).mean() for axis in (0, 1)]
    return [*colours, *edges]
