"""A training job: what model.py gets, what the job leaves, and how a failure is told."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from byoc import framework, job, manifest, paths
from byoc.errors import JobError
from byoc.training import child, outcome
from pydantic import BaseModel


class Settings(BaseModel):
    epochs: int = 3


Train = Callable[[job.Job[Settings]], object]


class NeverAsked:
    """In place of a StopRequest, whose handlers would stay in this process."""

    received = False

    def __init__(self, on_stop: object) -> None:
        pass

    def listen(self) -> None:
        pass

    def ignore(self) -> None:
        pass

    def __bool__(self) -> bool:
        return False


@pytest.fixture
def run(opt_ml: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Train], int]:
    """Run a training job whose model.py is this function, without a framework. Returns the exit code."""
    monkeypatch.setattr(framework, "prepare", lambda threads: "no framework")
    monkeypatch.setattr(child, "StopRequest", NeverAsked)

    def run(train: Train) -> int:
        outcome.begin()
        monkeypatch.setitem(sys.modules, "model", SimpleNamespace(Hyperparameters=Settings, train=train))
        return child.run()

    return run


def save(current: job.Job[Settings]) -> None:
    (current.model_dir / "model").write_text("x")


def fail(error: BaseException) -> Train:
    def train(current: job.Job[Settings]) -> None:
        raise error

    return train


def test_a_model_is_left_with_a_manifest_and_no_failure(run: Callable[[Train], int]) -> None:
    assert run(save) == 0
    assert {p.name for p in paths.model().iterdir()} == {"model", manifest.FILE}
    assert not paths.failure().exists()


def test_the_users_own_manifest_is_not_touched(run: Callable[[Train], int]) -> None:
    def train(current: job.Job[Settings]) -> None:
        (current.model_dir / "manifest.json").write_text('{"labels": ["cat"]}')

    assert run(train) == 0
    assert (paths.model() / "manifest.json").read_text() == '{"labels": ["cat"]}'


def test_garbage_is_collected_again_once_training_begins(run: Callable[[Train], int]) -> None:
    assert run(lambda current: (current.model_dir / "collects").write_text(str(gc.isenabled()))) == 0
    assert (paths.model() / "collects").read_text() == "True"


def test_a_training_that_leaves_no_model_fails(run: Callable[[Train], int]) -> None:
    assert run(lambda current: None) == 1
    assert paths.failure().read_text().startswith("training left nothing")


def test_the_failure_file_begins_with_the_cause_and_is_short(run: Callable[[Train], int]) -> None:
    assert run(fail(ValueError("the cause " * 500))) == 1
    text = paths.failure().read_text()
    assert text.startswith("ValueError: the cause")
    assert "test_training.py" in text  # the place of a long error is not what is cut
    assert len(text) <= 1024  # T-51


def test_an_error_of_the_input_is_told_without_a_traceback(
    run: Callable[[Train], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(fail(JobError("send CSV"))) == 1
    assert paths.failure().read_text() == "send CSV"
    log = capsys.readouterr().err
    assert "training failed: send CSV" in log
    assert "Traceback" not in log


def test_a_wrong_hyperparameter_as_long_as_allowed_is_named_first_in_the_failure_file(
    run: Callable[[Train], int],
) -> None:
    paths.config("hyperparameters").parent.mkdir(parents=True)
    paths.config("hyperparameters").write_text(json.dumps({"epochs": "x" * 2500}))  # T-21
    assert run(save) == 1
    reason = paths.failure().read_text()
    assert reason.startswith("hyperparameter 'epochs'")
    assert len(reason) <= 1024  # T-51


def test_only_the_first_host_leads_and_ranks_follow_the_sorted_hosts() -> None:
    hosts = ("algo-1", "algo-10", "algo-2")
    ranks = {h: job.Job(hyperparameters=Settings(), hosts=hosts, current_host=h).rank for h in hosts}
    assert ranks == {"algo-1": 0, "algo-10": 1, "algo-2": 2}


def test_a_missing_channel_is_named_with_those_that_the_job_has(opt_ml: Path) -> None:
    for name in ("validation", "test"):
        paths.channel(name).mkdir(parents=True)
    with pytest.raises(JobError, match=r"channel 'train' is missing.*test, validation"):
        job.read(Settings).channel("train")


@pytest.mark.parametrize(
    "text, reason",
    [("{", "cannot be read"), ("[1]", "must hold a JSON object"), ("\ud800", "cannot be read")],
)
def test_a_damaged_configuration_is_named(opt_ml: Path, text: str, reason: str) -> None:
    paths.config("hyperparameters").parent.mkdir(parents=True)
    paths.config("hyperparameters").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(JobError, match=reason):
        job.read(Settings)


def test_checkpoints_resume_from_the_last_complete_one(opt_ml: Path) -> None:
    checkpoints = job.read(Settings).checkpoints(".bin")
    assert checkpoints.latest() is None
    for epoch in (1, 2, 10):
        with checkpoints.saving(epoch) as file:
            file.write_text(str(epoch))
    (paths.checkpoints() / f"{paths.TEMPORARY}half.bin").write_text("half")
    latest = job.read(Settings).checkpoints(".bin").latest()
    assert latest is not None
    assert latest[0] == 10
    assert sorted(p.name for p in paths.checkpoints().iterdir()) == ["epoch-000002.bin", "epoch-000010.bin"]


@pytest.mark.parametrize("damage", [b"", b"3"], ids=["empty", "cut"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_used(
    opt_ml: Path, capsys: pytest.CaptureFixture[str], damage: bytes
) -> None:
    checkpoints = job.read(Settings).checkpoints(".json")
    for epoch in (8, 9):
        with checkpoints.saving(epoch) as file:
            file.write_text(f'{{"epoch": {epoch}}}')
    (paths.checkpoints() / "epoch-000009.json").write_bytes(damage)
    assert checkpoints.resume(lambda file: json.loads(file.read_text())["epoch"]) == (8, 8)
    assert "epoch-000009.json cannot be read" in capsys.readouterr().err


def test_without_a_readable_checkpoint_training_starts_afresh_and_its_own_are_kept(
    opt_ml: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = job.read(Settings).checkpoints(".json")
    for epoch in (8, 9):
        with checkpoints.saving(epoch) as file:
            file.write_text("")
    assert checkpoints.resume(lambda file: json.loads(file.read_text())) is None
    assert "training starts afresh" in capsys.readouterr().err
    with checkpoints.saving(1) as file:
        file.write_text("{}")
    assert checkpoints.resume(lambda file: json.loads(file.read_text())) == (1, {})
    assert capsys.readouterr().err == ""


def test_an_interrupted_write_leaves_nothing_behind(tmp_path: Path) -> None:
    def save_half() -> None:
        with paths.atomic(tmp_path / "model.bin") as file:
            file.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_half()
    assert list(tmp_path.iterdir()) == []
