"""The monthly rent of a flat, by ridge regression with penalty α on three numbers."""

import joblib
import pandas as pd
from pydantic import BaseModel
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from byoc.inputs import Numbers

INPUTS = Numbers("area", "rooms", "age")


class Hyperparameters(BaseModel):
    alpha: float = 1.0


def train(job):
    flats = pd.read_csv(job.channel("train") / "flats.csv")
    model = make_pipeline(StandardScaler(), Ridge(job.hyperparameters.alpha))
    model.fit(flats[list(INPUTS.names)].to_numpy(), flats["rent"])
    joblib.dump(model, job.model_dir / "rent.joblib")


def load(model_dir):
    return joblib.load(model_dir / "rent.joblib")


def predict(model, inputs):
    return model.predict(inputs).round(2)
