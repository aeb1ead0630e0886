"""Your model's tests: they train on the sample data, without Docker, in seconds."""

import io
import math
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

try:
    import numpy as np

    from byoc import framework, job, metrics, paths, payloads

    framework.prepare(threads=1)
    import model
except ModuleNotFoundError as missing:
    why = f"{missing.name} is not installed here; `make setup` installs what requirements.txt lists"
    pytest.skip(why, allow_module_level=True)

LOCAL_TEST = Path(__file__).parent.parent / "local_test"
PAYLOADS = LOCAL_TEST / "payloads"


@contextmanager
def sagemaker_folders(base: Path) -> Iterator[None]:
    """An /opt/ml of its own with the sample data."""
    shutil.copytree(LOCAL_TEST / "opt_ml" / "input", base / "input")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAGEMAKER_BASE_DIR", str(base))
        paths.model().mkdir()
        yield


def start(should_stop: Callable[[], bool] = lambda: False, **hyperparameters: Any) -> job.Job[Any]:
    """The sample's training job, with other hyperparameters where given."""
    current = job.read(model.Hyperparameters, should_stop)
    settings = current.hyperparameters.model_copy(update=hyperparameters)
    return job.Job(hyperparameters=settings, should_stop=should_stop)


@dataclass(frozen=True)
class Trained:
    """What a training on the sample data printed, and its artifact as an endpoint loads it."""

    log: str
    model: Any


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Trained once for all tests that only look."""
    log = io.StringIO()
    with sagemaker_folders(tmp_path_factory.mktemp("trained")), redirect_stdout(log):
        model.train(start())
        return Trained(log.getvalue(), model.load(paths.model()))


def sample() -> np.ndarray:
    return payloads.decode((PAYLOADS / "rows.csv").read_bytes(), payloads.CSV, model.FEATURES)


def test_a_trained_model_is_accurate_on_data_it_has_not_seen(trained: Trained) -> None:
    accuracy = float(trained.log.rpartition("test_accuracy=")[2].partition(";")[0])
    assert accuracy >= 0.95


def test_every_metric_definition_finds_a_number_in_the_training_log(trained: Trained) -> None:
    definitions = metrics.definitions(model.METRICS)
    assert 1 <= len(definitions) <= 40  # T-75
    for definition in definitions:
        assert len(definition["Regex"]) <= 500
        values = re.findall(definition["Regex"], trained.log)
        assert values, f"no line of the log matches {definition['Regex']}:\n{trained.log}"
        assert all(math.isfinite(float(value)) for value in values)


def test_a_saved_model_is_loaded_again_and_predicts_what_the_samples_expect(trained: Trained) -> None:
    predictions = model.predict(trained.model, sample())
    assert list(predictions) == (PAYLOADS / "expected.csv").read_text().split()


def test_a_prediction_does_not_depend_on_what_else_is_in_the_request(trained: Trained) -> None:
    rows = sample()
    together = list(model.predict(trained.model, rows))
    assert together == [model.predict(trained.model, row[None])[0] for row in rows]


def test_a_stopped_training_goes_on_where_it_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = iter([False, False, True])
    with sagemaker_folders(tmp_path):
        model.train(start(should_stop=lambda: next(asked, True)))
        assert "epoch=2;" in capsys.readouterr().out
        model.train(start(epochs=4))
    second_run = capsys.readouterr().out
    assert "resumed after epoch 2" in second_run
    assert "epoch=2;" not in second_run
    assert "epoch=4;" in second_run
