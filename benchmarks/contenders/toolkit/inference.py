"""The two functions that the toolkit asks of a user; decoding and encoding are its own."""

import os

import joblib
import numpy as np


def model_fn(model_dir):
    return joblib.load(os.path.join(model_dir, "model.joblib"))


def predict_fn(data, model):
    return model.predict(np.atleast_2d(data))
