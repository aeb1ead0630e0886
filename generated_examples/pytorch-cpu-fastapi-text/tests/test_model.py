"""Your model's tests: they train on the sample data, without Docker, in seconds.

What your model does not have, such as checkpoints, is skipped with the reason.
"""

import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

try:
    from byoc import framework, hooks, inputs, job, metrics, paths, payloads
    from byoc.errors import JobError

    framework.prepare(threads=1)
except ModuleNotFoundError as missing:
    why = f"{missing.name} is not installed here; `make setup` installs what requirements.txt lists"
    pytest.skip(why, allow_module_level=True)

from compare import same

import model  # not in `try`: what this does not find is an error

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


def start(should_stop: Callable[[], bool] = lambda: False) -> job.Job[Any]:
    """The training job of local_test/opt_ml/input."""
    schema = inputs.schema(inputs.declared(model))
    return job.read(model.Hyperparameters, should_stop, schema)


@dataclass(frozen=True)
class Trained:
    """What a training on the sample data printed and reported, and its artifact as an endpoint loads it."""

    log: str
    report: dict[str, Any] | None
    folder: Path
    model: Any

    def predict(self, *records: bytes) -> list[Any]:
        """The predictions for some lines of records.jsonl, in one request."""
        decode = payloads.decoder(inputs.declared(model), getattr(model, "ACCEPTS_MISSING", False))
        predictions = model.predict(self.model, decode(b"\n".join(records), payloads.JSON_LINES))
        return list(payloads.normalised(predictions, len(records)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Trained once for all tests that only look."""
    log = io.StringIO()
    with sagemaker_folders(tmp_path_factory.mktemp("trained")), redirect_stdout(log):
        model.train(start())
        report = paths.output_data() / "evaluation.json"
        read = json.loads(report.read_text()) if report.exists() else None
        return Trained(log.getvalue(), read, paths.model(), model.load(paths.model()))


@pytest.fixture(scope="module")
def records() -> list[bytes]:
    """The lines of records.jsonl, each a request."""
    file = PAYLOADS / "records.jsonl"
    if hooks.decoder(model) or not file.exists():
        pytest.skip("the model decodes requests itself, or local_test/payloads has no records.jsonl")
    return file.read_bytes().splitlines()


def test_a_trained_model_is_accurate_on_data_it_has_not_seen(trained: Trained) -> None:
    if "accuracy" not in (trained.report or {}):
        pytest.skip("train() writes no accuracy into evaluation.json")
    assert trained.report["accuracy"] >= 0.8


def test_every_metric_definition_finds_a_number_in_the_training_log(trained: Trained) -> None:
    definitions = metrics.definitions(getattr(model, "METRICS", ()))
    if not definitions:
        pytest.skip("model.py declares no METRICS")
    assert len(definitions) <= 40  # T-75
    for definition in definitions:
        assert len(definition["Regex"]) <= 500
        values = re.findall(definition["Regex"], trained.log)
        assert values, f"no line of the log matches {definition['Regex']}:\n{trained.log}"
        assert all(math.isfinite(float(value)) for value in values)


def test_a_saved_model_predicts_what_the_sample_requests_expect(
    trained: Trained, records: list[bytes]
) -> None:
    if not (expected := PAYLOADS / "expected.csv").exists():
        pytest.skip("local_test/payloads has no expected.csv; tests/test_container.py compares other answers")
    assert same(payloads.encode(trained.predict(*records), payloads.CSV), expected.read_bytes())


def test_a_prediction_does_not_depend_on_what_else_is_in_the_request(
    trained: Trained, records: list[bytes]
) -> None:
    together = payloads.encode(trained.predict(*records), payloads.JSON)
    alone = payloads.encode([trained.predict(record)[0] for record in records], payloads.JSON)
    assert same(alone, together)


class Killed(BaseException):
    """Ends train() where a kill would; no `except Exception` catches it."""


@pytest.mark.parametrize("end", ["killed", "stopped"])
def test_an_interrupted_training_goes_on_after_its_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    saved: list[int] = []
    saving = job.Checkpoints.saving

    @contextmanager
    def noted(self: job.Checkpoints, number: int) -> Iterator[Path]:
        with saving(self, number) as path:
            yield path
        saved.append(number)
        if end == "killed" and len(saved) == 2:
            raise Killed

    def interrupted() -> list[int]:
        """The numbers of the checkpoints of a run that ends after two of them."""
        saved.clear()
        with suppress(Killed):
            model.train(start(should_stop=lambda: end == "stopped" and len(saved) >= 2))
        return saved.copy()

    monkeypatch.setattr(job.Checkpoints, "saving", noted)
    with sagemaker_folders(tmp_path):
        first = interrupted()
        if not first and any(paths.checkpoints().glob("*")):
            pytest.skip("train() saves checkpoints without job.checkpoints(); `make check` kills it (T-64)")
        if len(first) < 2:
            pytest.skip(f"train() saves {len(first) or 'no'} checkpoints; an interruption needs two")
        if len(first) > 2:
            pytest.skip("train() does not ask job.should_stop() after each checkpoint")
        assert not set(first) & set(interrupted()), f"train() does not go on after checkpoint {first[-1]}"


# What follows is about the sample's read(channel) and goes with its data: replace it with yours.
SAMPLE = LOCAL_TEST / "opt_ml/input/data/train/definitions.csv"
of_the_sample = pytest.mark.skipif(
    not (SAMPLE.exists() and hasattr(model, "read")),
    reason="the sample's training data are gone, or its read()",
)


reports_losses = pytest.mark.skipif(
    not {"train_loss", "validation_loss"} <= set(getattr(model, "METRICS", ())),
    reason="model.py does not report the sample's losses",
)


def losses(name: str, log: str) -> list[float]:
    """The values of this metric, one for each epoch."""
    [definition] = metrics.definitions([name])
    return [float(value) for value in re.findall(definition["Regex"], log)]


@of_the_sample
@reports_losses
def test_a_job_goes_on_from_the_model_of_an_earlier_one(trained: Trained, tmp_path: Path) -> None:
    log = io.StringIO()
    with sagemaker_folders(tmp_path), redirect_stdout(log):
        shutil.copytree(trained.folder, paths.channel("model"))
        model.train(start())
    assert losses("train_loss", log.getvalue())[0] < losses("train_loss", trained.log)[0] / 2


@of_the_sample
@reports_losses
@pytest.mark.skipif(sys.platform != "linux", reason="byoc's commands run on Linux, as the image does")
def test_two_processes_learn_what_one_learns(trained: Trained, tmp_path: Path) -> None:
    """As two hosts of a job do it: both get equally many rows of each batch, so the losses are the same."""
    with sagemaker_folders(tmp_path):
        paths.config("hyperparameters").write_text('{"epochs": "2"}')  # later, rounding adds up
        done = subprocess.run(
            [sys.executable, "-m", "byoc", "train"],
            cwd=Path(paths.__file__).parent.parent,
            env={**os.environ, "PROCESSES_PER_HOST": "2"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    assert done.returncode == 0, done.stdout
    for name in ("train_loss", "validation_loss"):
        one, two = losses(name, trained.log)[:2], losses(name, done.stdout)
        assert two == pytest.approx(one, rel=1e-6, abs=1e-6), done.stdout


@of_the_sample
def test_a_wrong_row_ends_the_job_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("source,text\njargon,A fix.\nDevil,A wall.\n", encoding="utf-8")
    with pytest.raises(JobError, match=re.escape("a.csv, line 3: source is 'Devil'")):
        model.read(tmp_path)
