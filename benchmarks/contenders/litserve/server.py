"""The documentation's server for this model: setup, decode, predict, encode; all else by default."""

import os

import joblib
import litserve
import numpy as np


class Iris(litserve.LitAPI):
    def setup(self, device):
        self.model = joblib.load("/opt/ml/model/model.joblib")

    def decode_request(self, request):
        return np.asarray(request["input"])

    def predict(self, x):
        return self.model.predict(x)

    def encode_response(self, output):
        return {"output": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(
        Iris(), accelerator="cpu", workers_per_device=int(os.environ.get("WORKERS", "1"))
    )
    server.run(port=8080, generate_client_file=False)
