"""docs/training.md shows how a scikit-learn model is trained on with partial_fit: here it is."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from conftest import LABEL
from helpers import ROOT

MODEL = """
import joblib
import numpy as np
from pydantic import BaseModel
from sklearn.linear_model import SGDClassifier
from byoc.channels import csv_rows

SPECIES = ["Adelie", "Chinstrap", "Gentoo"]

class Hyperparameters(BaseModel):
    epochs: int = 2

def read(channel):
    rows = csv_rows(channel)
    x = [[row.number("bill_length_mm") / 50, row.number("bill_depth_mm") / 20] for row in rows]
    return np.array(x), [row["species"] for row in rows]

def load(folder):
    return joblib.load(folder / "model.joblib")

"""


def test_a_job_goes_on_with_partial_fit_as_the_page_shows_it(
    image: str, repository: Path, tmp_path: Path
) -> None:
    page = (ROOT / "docs/training.md").read_text()
    [train] = re.findall(r"```python\n(def train.*?partial_fit.*?)```", page, re.DOTALL)
    steps = "    print(f'{model.t_:.0f} rows', flush=True)\n"
    (tmp_path / "model.py").write_text(MODEL + train + steps)

    def seen(name: str, previous: Path | None = None) -> str:
        """What a job prints that has this model in its channel `model`."""
        opt_ml = tmp_path / name
        shutil.copytree(repository / "local_test/opt_ml/input/data/train", opt_ml / "input/data/train")
        if previous:
            shutil.copytree(previous, opt_ml / "input/data/model")
        mounts = ["--volume", f"{opt_ml}:/opt/ml", "--volume", f"{tmp_path}/model.py:/opt/program/model.py"]
        command = ["docker", "run", "--rm", "--label", LABEL, *mounts, image, "train"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    rows = int(re.findall(r"(\d+) rows", seen("first"))[0]) - 1
    assert rows > 0
    assert f"{2 * rows + 1} rows" in seen("second", tmp_path / "first/model")
