"""A service as the documentation writes it; one worker is its default."""

import os

import bentoml
import joblib
import numpy as np


@bentoml.service(workers=int(os.environ.get("WORKERS", "1")))
class Iris:
    def __init__(self) -> None:
        self.model = joblib.load("/opt/ml/model/model.joblib")

    @bentoml.api
    def predict(self, inputs: np.ndarray) -> np.ndarray:
        return self.model.predict(inputs)
