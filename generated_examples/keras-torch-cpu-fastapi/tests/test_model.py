"""Your model's tests: they train on the sample data, without Docker, in seconds."""

import io
import json
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
    from byoc import framework, job, metrics, paths, payloads
    from byoc.errors import JobError

    framework.prepare(threads=1)
except ModuleNotFoundError as missing:
    why = f"{missing.name} is not installed here; `make setup` installs what requirements.txt lists"
    pytest.skip(why, allow_module_level=True)

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


def start(should_stop: Callable[[], bool] = lambda: False, **hyperparameters: Any) -> job.Job[Any]:
    """The sample's training job, with other hyperparameters where given."""
    current = job.read(model.Hyperparameters, should_stop)
    settings = current.hyperparameters.model_copy(update=hyperparameters)
    return job.Job(hyperparameters=settings, should_stop=should_stop)


@dataclass(frozen=True)
class Trained:
    """What a training on the sample data printed and reported, and its artifact as an endpoint loads it."""

    log: str
    report: dict[str, Any]
    model: Any

    def predict(self, *records: bytes) -> list[Any]:
        """The predictions for some lines of records.jsonl, in one request."""
        inputs = payloads.decoder(model.INPUTS)(b"\n".join(records), payloads.JSON_LINES)
        return list(model.predict(self.model, inputs))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Trained once for all tests that only look."""
    log = io.StringIO()
    with sagemaker_folders(tmp_path_factory.mktemp("trained")), redirect_stdout(log):
        model.train(start())
        report = json.loads((paths.output_data() / "evaluation.json").read_text())
        return Trained(log.getvalue(), report, model.load(paths.model()))


def test_a_trained_model_is_accurate_on_data_it_has_not_seen(trained: Trained) -> None:
    assert trained.report["accuracy"] >= 0.95


def test_every_metric_definition_finds_a_number_in_the_training_log(trained: Trained) -> None:
    definitions = metrics.definitions(model.METRICS)
    assert 1 <= len(definitions) <= 40  # T-75
    for definition in definitions:
        assert len(definition["Regex"]) <= 500
        values = re.findall(definition["Regex"], trained.log)
        assert values, f"no line of the log matches {definition['Regex']}:\n{trained.log}"
        assert all(math.isfinite(float(value)) for value in values)


def test_a_saved_model_predicts_what_the_sample_requests_expect(trained: Trained) -> None:
    records = (PAYLOADS / "records.jsonl").read_bytes().splitlines()
    assert trained.predict(*records) == (PAYLOADS / "expected.csv").read_text().split()


def test_a_prediction_does_not_depend_on_what_else_is_in_the_request(trained: Trained) -> None:
    records = (PAYLOADS / "records.jsonl").read_bytes().splitlines()
    assert trained.predict(*records) == [trained.predict(record)[0] for record in records]


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


HEADER = "species,bill_length_mm,bill_depth_mm,flipper_length_mm,body_mass_g,sex\n"
ROW = "Adelie,39.1,18.7,181,3750,male\n"


def test_a_training_file_may_lack_optional_columns_and_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"\ufeff{HEADER}{ROW}Gentoo,46.1,13.2,211,4500,\n", encoding="utf-8")
    x, y = model.read(tmp_path)
    assert len(x) == 2
    assert [model.LABELS[label] for label in y] == ["Adelie", "Gentoo"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("Adelie,,18.7,181,3750,male", "a.csv, line 3: bill_length_mm is ''"),
        ("Adelie,39.1,18.7,181,heavy,male", "a.csv, line 3: body_mass_g is 'heavy'"),
        ("adelie,39.1,18.7,181,3750,male", "a.csv, line 3: species is 'adelie'"),
        ("Adelie,39.1,18.7,181,3750,unknown", "a.csv, line 3: sex is 'unknown'"),
    ],
)
def test_a_wrong_row_ends_the_job_with_its_place(tmp_path: Path, row: str, reason: str) -> None:
    (tmp_path / "a.csv").write_text(f"{HEADER}{ROW}{row}\n", encoding="utf-8")
    with pytest.raises(JobError, match=re.escape(reason)):
        model.read(tmp_path)
