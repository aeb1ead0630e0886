"""Which pixels of a picture are road, grass or water: a mask of the picture's size, as lists or as a PNG."""

import io
import json

import joblib
import numpy as np
from PIL import Image, ImageFilter
from pydantic import BaseModel
from sklearn.tree import DecisionTreeClassifier

from byoc.errors import RequestError
from byoc.hooks import Response
from byoc.inputs import Images

INPUTS = Images()
CLASSES = ("grass", "road", "water")


class Hyperparameters(BaseModel):
    max_depth: int = 6


def train(job):
    pictures = sorted(job.channel("train").glob("*.jpg"))
    x, y = [], []
    for picture in pictures:
        x.append(features(Image.open(picture)))
        y.append(np.asarray(Image.open(picture.with_suffix(".mask.png"))).ravel())
    model = DecisionTreeClassifier(max_depth=job.hyperparameters.max_depth, random_state=0)
    model.fit(np.concatenate(x), np.concatenate(y))
    joblib.dump(model, job.model_dir / "pixels.joblib")


def load(model_dir):
    return joblib.load(model_dir / "pixels.joblib")


def predict(model, inputs):
    return [model.predict(features(image)).reshape(image.height, image.width) for image in inputs]


def encode(predictions, accept):
    if accept == "image/png":
        if len(predictions) != 1:
            raise RequestError(406, "image/png holds one mask; send one picture, or accept application/json")
        png = io.BytesIO()
        Image.fromarray(predictions[0].astype(np.uint8)).save(png, "PNG")
        return Response(png.getvalue(), "image/png", {"X-Classes": ",".join(CLASSES)})
    return Response(json.dumps({"masks": [mask.tolist() for mask in predictions]}), "application/json")


def features(image):
    """Colour of each pixel and of its neighbourhood: [pixels, 6]."""
    image = image.convert("RGB")
    blurred = image.filter(ImageFilter.BoxBlur(2))
    return np.concatenate([np.asarray(part, dtype=float) for part in (image, blurred)], axis=2).reshape(-1, 6)
