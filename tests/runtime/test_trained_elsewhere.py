"""A model that was trained elsewhere, along the way that the generated README describes."""

from __future__ import annotations

import os
import pickle
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import byoc
import numpy as np
import pytest
from byoc.serving.loaded_model import LoadedModel

REPOSITORY = Path(byoc.__path__[0]).parents[1]
PAGE = Path(__file__).parents[2] / "docs/your-model.md"
MODEL = Path(__file__).parent / "your_model/trained.py"
PICKLED = pickle.dumps({"weights": np.array([1.0, 2.0]), "bias": 0.5})


def test_an_artifact_of_strangers_is_served_and_the_log_says_what_is_not_verified(
    load: Callable[..., LoadedModel], opt_ml: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"```python\n{MODEL.read_text()}```" in PAGE.read_text()
    (opt_ml / "model/model.pkl").write_bytes(PICKLED)
    names: dict[str, Any] = {k: v for k, v in runpy.run_path(str(MODEL)).items() if not k.startswith("_")}
    response = load(**names).invoke(b"39.1,18.7\n", "text/csv", "text/csv")
    assert (response.status, response.body) == (200, b"77.0\n")
    log = capsys.readouterr().err
    assert "no byoc-manifest.json: what wrote it, and for which columns, is not verified" in log


def test_a_model_trained_elsewhere_goes_from_new_to_passing_tests_of_the_model(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    shutil.copytree(REPOSITORY, repository)
    with (repository / "src/byoc/framework.py").open("a") as framework:  # scikit-learn is not installed here
        framework.write("\n\ndef prepare(threads): return ''\nMODULES = ()\n")
    opt_ml, payloads = repository / "local_test/opt_ml", repository / "local_test/payloads"
    shutil.rmtree(opt_ml / "input/data")
    shutil.rmtree(payloads)
    (opt_ml / "input/config/hyperparameters.json").write_text("{}")
    (opt_ml / "input/config/inputdataconfig.json").unlink()
    (opt_ml / "input/data/model").mkdir(parents=True)
    (opt_ml / "input/data/model/model.pkl").write_bytes(PICKLED)
    (repository / "src/model.py").write_bytes(MODEL.read_bytes())
    (repository / "examples.csv").write_text("bill_length_mm,bill_depth_mm\n39.1,18.7\n46.1,13.2\n")

    def run(*command: str | Path, **environment: str) -> str:
        done = subprocess.run(
            command,
            cwd=repository,
            env={**os.environ, "VENV": sys.prefix, "PYTHONPATH": "src:local_test", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    log = run(sys.executable, "-m", "byoc", "train", SAGEMAKER_BASE_DIR=str(opt_ml))
    assert "is not verified" in log
    run("local_test/record.sh", "--no-docker", "--yes", "examples.csv")
    assert (payloads / "expected.csv").read_text() == "77.0\n73.0\n"
    options = ("--noconftest", "-p", "no:cacheprovider", "-p", "no:xdist", "-rs")
    tests = run(sys.executable, "-m", "pytest", *options, "tests/test_model.py")
    assert "2 passed" in tests, tests
    assert "train() saves no checkpoints" in tests
