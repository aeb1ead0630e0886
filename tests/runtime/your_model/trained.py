import pickle
import shutil

from pydantic import BaseModel

from byoc.inputs import Numbers

INPUTS = Numbers("bill_length_mm", "bill_depth_mm")


class Hyperparameters(BaseModel):
    """None: nothing is trained here."""


def train(job):
    shutil.copytree(job.previous_model(), job.model_dir, dirs_exist_ok=True)


def load(model_dir):
    return pickle.loads((model_dir / "model.pkl").read_bytes())


def predict(model, inputs):
    return inputs @ model["weights"] + model["bias"]
