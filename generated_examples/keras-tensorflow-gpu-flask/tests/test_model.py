"""Your model's tests: they train on the sample data, without Docker, in seconds."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from byoc import codecs, framework, job, paths

try:
    framework.prepare(threads=1)
    import model
except ModuleNotFoundError as missing:
    pytest.skip(f"{missing.name} is not installed here; `make setup` installs it", allow_module_level=True)

LOCAL_TEST = Path(__file__).parent.parent / "local_test"
PAYLOADS = LOCAL_TEST / "payloads"


def start(
    base: Path, should_stop: Callable[[], bool] = lambda: False, **hyperparameters: Any
) -> job.Job[Any]:
    """A training job on the sample data, in a folder of its own."""
    if not (base / "input").exists():
        shutil.copytree(LOCAL_TEST / "opt_ml" / "input", base / "input")
    current = job.read(model.Hyperparameters, should_stop)
    settings = current.hyperparameters.model_copy(update=hyperparameters)
    return job.Job(hyperparameters=settings, should_stop=should_stop)


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    paths.model().mkdir()
    return tmp_path


def sample() -> np.ndarray:
    return codecs.decode((PAYLOADS / "rows.csv").read_bytes(), codecs.CSV, model.FEATURES)


def test_a_trained_model_is_accurate_on_data_it_has_not_seen(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model.train(start(base))
    metrics = capsys.readouterr().out
    accuracy = float(metrics.rpartition("test_accuracy=")[2].partition(";")[0])
    assert accuracy >= 0.95


def test_a_saved_model_is_loaded_again_and_predicts_what_the_samples_expect(base: Path) -> None:
    model.train(start(base))
    predictions = model.predict(model.load(paths.model()), sample())
    assert list(predictions) == (PAYLOADS / "expected.csv").read_text().split()


def test_a_prediction_does_not_depend_on_what_else_is_in_the_request(base: Path) -> None:
    model.train(start(base, epochs=3))
    loaded = model.load(paths.model())
    rows = sample()
    together = list(model.predict(loaded, rows))
    assert together == [model.predict(loaded, row[None])[0] for row in rows]


def test_a_stopped_training_goes_on_where_it_stopped(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = iter([False, False, True])
    model.train(start(base, should_stop=lambda: next(asked, True)))
    assert "epoch=2;" in capsys.readouterr().out

    model.train(start(base, epochs=4))
    second_run = capsys.readouterr().out
    assert "resumed after epoch 2" in second_run
    assert "epoch=2;" not in second_run
    assert "epoch=4;" in second_run
