"""The contract's small print, tested without Docker and without the framework."""

import gc
import io
import json
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from pydantic import BaseModel

from byoc import payloads
from byoc.common import framework, gpu, manifest, paths
from byoc.common.errors import JobError, RequestError
from byoc.serving import gunicorn_hooks, limits
from byoc.serving.batching import Batcher, Batching
from byoc.serving.costs import Costs
from byoc.serving.plan import Plan
from byoc.training import command, failure, hyperparameters, job, metric_definitions

FEATURES = ("a", "b")
ROWS = [[1.0, 2.0], [3.0, 4.5]]


class Settings(BaseModel):
    epochs: int = 3
    rate: float = 0.1
    shuffle: bool = True
    optimizer: str = "adam"
    layers: list[int] = [8]


def npy(array: object, **options: bool) -> bytes:
    out = io.BytesIO()
    np.save(out, np.asarray(array), **options)
    return out.getvalue()


def parquet(columns: dict[str, list[float]]) -> bytes:
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), out)
    return out.getvalue()


def run_training(monkeypatch: pytest.MonkeyPatch, train: Callable[[job.Job[Settings]], None]) -> int:
    """The exit code of a training job whose model.py is no more than this, on no framework."""
    monkeypatch.setattr(framework, "prepare", lambda threads: "no framework")
    monkeypatch.setattr(command, "StopRequest", lambda on_stop: None)
    monkeypatch.setitem(sys.modules, "model", SimpleNamespace(Hyperparameters=Settings, train=train))
    return command.run()


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/csv", b"1,2\n3,4.5\n"),
        ("text/csv", b"1,2\r\n3,4.5"),
        ("text/csv; charset=utf-8", b"a,b\n1,2\n3,4.5\n"),
        ("text/csv", b"b,other,a\n2,9,1\n4.5,9,3\n"),
        ("text/csv", b'"1","2"\n"3","4.5"\n'),
        ("text/csv; charset=utf-16", "1,2\n3,4.5\n".encode("utf-16")),
        ("TEXT/CSV", b"\xef\xbb\xbfa,b\n1,2\n3,4.5\n"),
        (None, b"1,2\n3,4.5\n"),
        ("application/json", b'{"instances": [[1, 2], [3, 4.5]]}'),
        ("application/json", b'{"inputs": [{"b": 2, "a": 1}, {"a": 3, "b": 4.5}]}'),
        ("application/json", b'{"columns": ["b", "a"], "data": [[2, 1], [4.5, 3]]}'),
        ("application/json", b'[{"a": 1, "b": 2}, {"a": 3, "b": 4.5}]'),
        ("application/json", b'{"a": [1, 3], "b": [2, 4.5]}'),
        ("application/jsonlines", b"[1, 2]\n[3, 4.5]\n"),
        ("application/jsonlines", b'{"a": 1, "b": 2}\n{"a": 3, "b": 4.5}'),
        ("application/jsonlines", b'{"features": [1, 2]}\n{"features": [3, 4.5]}'),
        ("application/x-npy", npy(ROWS)),
        ("application/x-parquet", parquet({"b": [2, 4.5], "a": [1, 3]})),
    ],
)
def test_every_form_of_a_request_gives_the_same_rows(content_type: str | None, body: bytes) -> None:
    assert payloads.decode(body, content_type, FEATURES).tolist() == ROWS


@pytest.mark.parametrize(
    ("content_type", "body", "status", "reason"),
    [
        ("text/csv", b"", 400, "no body"),
        ("text/csv", b"1,2,3\n", 400, "2 values"),
        ("text/csv", b"1,x\n", 400, "'x'"),
        ("text/csv", b"1,2\n3\n", 400, "same number"),
        ("text/csv", b"a,c\n1,2\n", 400, "'b' is missing"),
        ("text/csv", b"\xff\xfe\xfd", 400, "not valid utf-8"),
        ("text/csv; charset=klingon", b"1,2", 415, "klingon"),
        ("application/json", b"{", 400, "not valid application/json"),
        ("application/json", b'{"instances": []}', 400, "no rows"),
        ("application/json", b'{"instances": [[1, NaN]]}', 400, "NaN"),
        ("application/json", b'{"nonsense": 1}', 400, "instances"),
        ("application/json", b'[{"a": 1}]', 400, "no 'b'"),
        ("application/x-npy", npy([{"a": 1}], allow_pickle=True), 400, "not valid"),
        ("application/x-npy", b"\x93NUMPY", 400, "not valid"),
        ("application/x-parquet", b"PAR1", 400, "not valid"),
        ("text/csv", b"1,2\n3,nan\n", 400, "row 2 has no finite number for 'b'"),
        ("application/json", b"[[1, null]]", 400, "row 1 has no finite number for 'b'"),
        ("application/x-npy", npy([["1", "2"]]), 400, "send numbers"),
        ("application/x-npy", npy([[1j, 2]]), 400, "send numbers"),
        ("application/x-npy", npy(np.zeros((10**9, 2), "V0")), 400, "send numbers"),
        ("application/x-parquet", parquet({"a": ["x"], "b": [1]}), 400, "'a' holds string"),
        ("application/x-parquet", parquet({"a": [0.0] * 10**7, "b": [0.0] * 10**7}), 413, "smaller batches"),
        ("text/csv; charset=punycode", b"1,2\n", 415, "punycode"),
        ("image/png", b"1,2", 415, "text/csv"),
    ],
)
def test_a_bad_request_is_refused_with_its_reason(
    content_type: str, body: bytes, status: int, reason: str
) -> None:
    with pytest.raises(RequestError, match=reason) as refused:
        payloads.decode(body, content_type, FEATURES)
    assert refused.value.status == status
    assert "\n" not in refused.value.reason


@pytest.mark.parametrize("header", ["", "b,a\n"])
def test_a_large_csv_gives_the_same_rows_as_a_small_one(header: str) -> None:
    count = 20_000
    line = "2,1\n" if header else "1,2\n"
    assert payloads.decode((header + line * count).encode(), "text/csv", FEATURES).tolist() == [[1, 2]] * count
    with pytest.raises(RequestError, match=f"row {count + 1}") as refused:
        payloads.decode((header + line * count + "1,x\n").encode(), "text/csv", FEATURES)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("accept", "content_type", "chosen"),
    [
        (None, "text/csv", "text/csv"),
        ("*/*", "application/json", "application/json"),
        ("application/json", "text/csv", "application/json"),
        ("text/csv;q=0.5, application/json;q=0.9", "text/csv", "application/json"),
        ("application/*, text/csv;q=0.1", "text/csv", "application/json"),
        ("image/png, */*;q=0.1", "application/jsonlines", "application/jsonlines"),
        ("text/csv;q=0, */*", "text/csv", "application/json"),
    ],
)
def test_the_answer_has_the_type_that_the_client_prefers(
    accept: str | None, content_type: str, chosen: str
) -> None:
    assert payloads.negotiate(accept, content_type) == chosen


@pytest.mark.parametrize("accept", ["image/png", "text/csv;q=0"])
def test_an_answer_that_the_client_cannot_read_is_refused(accept: str) -> None:
    with pytest.raises(RequestError) as refused:
        payloads.negotiate(accept, "text/csv")
    assert refused.value.status == 406


def test_predictions_keep_their_order_and_number_in_every_type() -> None:
    labels = np.array(["x", "y"])
    assert payloads.encode(labels, payloads.CSV) == b"x\ny\n"
    assert json.loads(payloads.encode(labels, payloads.JSON)) == {"predictions": ["x", "y"]}
    assert payloads.encode(labels, payloads.JSON_LINES) == b'"x"\n"y"\n'
    assert np.load(io.BytesIO(payloads.encode(labels, payloads.NPY))).tolist() == ["x", "y"]
    table = pyarrow.parquet.read_table(io.BytesIO(payloads.encode(labels, payloads.PARQUET)))
    assert table.to_pydict() == {"prediction": ["x", "y"]}


@pytest.mark.parametrize("dtype", ["int8", "uint64", ">i8", "bool", "float64", "str"])
def test_many_predictions_are_written_as_few_are(dtype: str) -> None:
    few = np.array([0, 1, 100], dtype=dtype)
    assert payloads.encode(np.tile(few, 5_000), payloads.CSV) == payloads.encode(few, payloads.CSV) * 5_000


def test_csv_quotes_what_would_break_its_lines() -> None:
    assert payloads.encode(np.array(["a,b", 'c"d', "e\nf", "g"]), payloads.CSV) == b'"a,b"\n"c""d"\n"e\nf"\ng\n'


def test_hyperparameters_arrive_as_the_types_that_the_model_declares() -> None:
    parsed = hyperparameters.parse(
        {
            "epochs": "7",
            "rate": "1e-3",
            "shuffle": "false",
            "optimizer": '"sgd"',
            "layers": "[16, 8]",
            "sagemaker_program": "train.py",
            "_tuning_objective_metric": "loss",
        },
        Settings,
    )
    assert parsed == Settings(epochs=7, rate=0.001, shuffle=False, optimizer="sgd", layers=[16, 8])


def test_a_wrong_hyperparameter_is_named() -> None:
    with pytest.raises(JobError, match=r"'epochs'.*'many'"):
        hyperparameters.parse({"epochs": "many"}, Settings)


def test_a_misspelt_hyperparameter_is_pointed_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert hyperparameters.parse({"epoch": "7"}, Settings) == Settings()
    assert "did you mean 'epochs'" in capsys.readouterr().out


@pytest.mark.parametrize("value", [3.0, -0.25, 1e-9, 1.5e12, float("nan"), float("inf"), float("-inf")])
def test_every_metric_that_is_printed_is_found_by_its_regex(value: float) -> None:
    printed = metric_definitions.line({"loss": value, "validation_loss": 9.0})
    [definition] = metric_definitions.definitions(["loss"])
    found = re.search(definition["Regex"], printed)
    assert found
    assert float(found[1]) == pytest.approx(value, nan_ok=True)


def test_the_failure_file_begins_with_the_cause_and_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    failure.write(failure.describe(ValueError("the cause " * 500)))
    text = paths.failure().read_text()
    assert text.startswith("ValueError: the cause")
    assert len(text) <= 1024


@pytest.mark.parametrize(
    ("environment", "payload", "timeout"),
    [
        ({}, 25, 60),
        ({"HOSTING_MODE": "serverless"}, 4, 60),
        ({"SAGEMAKER_BATCH": "True"}, 100, 3600),
        ({"HOSTING_MODE": "async"}, 1024, 3600),
        ({"SAGEMAKER_BATCH": "true", "SAGEMAKER_MAX_PAYLOAD_IN_MB": "12"}, 12, 3600),
        ({"SAGEMAKER_MODEL_SERVER_TIMEOUT": "90"}, 25, 90),
    ],
)
def test_limits_follow_the_way_of_hosting(environment: dict[str, str], payload: int, timeout: int) -> None:
    assert limits.current(environment) == limits.Limits(payload * limits.MIB, timeout)


def test_a_transform_job_never_has_more_than_100_mb_in_flight() -> None:
    answer = limits.execution_parameters(concurrency=64, environment={"SAGEMAKER_MAX_PAYLOAD_IN_MB": "30"})
    assert answer == {"MaxConcurrentTransforms": 3, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": 30}


def test_only_the_first_host_leads_and_ranks_follow_the_sorted_hosts() -> None:
    hosts = ("algo-1", "algo-10", "algo-2")
    ranks = {h: job.Job(hyperparameters=Settings(), hosts=hosts, current_host=h).rank for h in hosts}
    assert ranks == {"algo-1": 0, "algo-10": 1, "algo-2": 2}


def test_a_wrong_hyperparameter_as_long_as_allowed_is_named_first_in_the_failure_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    paths.config("hyperparameters").parent.mkdir(parents=True)
    paths.config("hyperparameters").write_text(json.dumps({"epochs": "x" * 2500}))  # T-21
    assert run_training(monkeypatch, lambda current: None) == 1
    reason = paths.failure().read_text()
    assert reason.startswith("hyperparameter 'epochs'")
    assert len(reason) <= 1024  # T-51


def test_a_missing_channel_is_named_with_those_that_the_job_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    for name in ("validation", "test"):
        paths.channel(name).mkdir(parents=True)
    with pytest.raises(JobError, match=r"channel 'train' is missing.*test, validation"):
        job.read(Settings).channel("train")


def test_garbage_is_collected_again_once_training_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(current: job.Job[Settings]) -> None:
        (current.model_dir / "collects").write_text(str(gc.isenabled()))

    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    assert run_training(monkeypatch, train) == 0
    assert (paths.model() / "collects").read_text() == "True"


def test_batched_requests_get_their_own_rows_in_order_from_one_prediction() -> None:
    calls: list[int] = []
    begun = threading.Event()

    def predict(inputs: np.ndarray) -> np.ndarray:
        calls.append(len(inputs))
        begun.wait()
        return inputs.sum(axis=1)

    batcher = Batcher(predict, Batching(max_rows=8, max_delay_seconds=0))
    first = batcher.submit(np.zeros((1, 2)))  # keeps the batcher busy while the others queue up
    others = [batcher.submit(np.full((2, 2), n)) for n in range(5)]
    begun.set()
    assert list(first.result(5)) == [0]
    assert [list(answer.result(5)) for answer in others] == [[2 * n, 2 * n] for n in range(5)]
    assert calls == [1, 8, 2]


def test_a_request_that_spoils_its_batch_fails_alone() -> None:
    def predict(inputs: np.ndarray) -> np.ndarray:
        if inputs.min() < 0:
            raise ValueError("negative")
        return inputs[:, 0]

    batcher = Batcher(predict, Batching(max_rows=64, max_delay_seconds=0.2))
    good, bad, other = (batcher.submit(np.full((1, 2), n)) for n in (1.0, -1.0, 2.0))
    assert list(good.result(5)) == [1.0]
    assert list(other.result(5)) == [2.0]
    with pytest.raises(ValueError, match="negative"):
        bad.result(5)


def test_rows_of_another_shape_are_never_stacked() -> None:
    batcher = Batcher(lambda inputs: [inputs.shape[1]] * len(inputs), Batching(max_delay_seconds=0.2))
    answers = [batcher.submit(np.zeros((1, columns))) for columns in (2, 3, 2)]
    assert [list(answer.result(5)) for answer in answers] == [[2], [3], [2]]


def test_a_prediction_is_called_short_only_after_cheap_ones_of_its_size() -> None:
    seen = Costs()
    assert not seen.is_short(100)
    seen.learn(100, seconds=0.0001)
    assert seen.is_short(100)
    assert not seen.is_short(100_000)
    seen.learn(100, seconds=1.0)
    assert not seen.is_short(100)
    for _ in range(100):
        seen.learn(100, seconds=0.0001)
    assert seen.is_short(100)


def damage(text: str) -> str:
    return text[: len(text) // 2]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (damage, "damaged"),
        (lambda text: text.replace(manifest.MODULES[0], "cobol"), "the artifact is for cobol"),
        (lambda text: text.replace('"b"', '"c"'), "columns"),
        (lambda text: re.sub(r'("versions": {\s*"\w+": )"[^"]+"', r'\1"0.1"', text), "written by"),
    ],
)
def test_an_artifact_made_for_another_image_is_refused_with_its_reason(
    tmp_path: Path, change: Callable[[str], str], reason: str
) -> None:
    manifest.write(tmp_path, FEATURES)
    manifest.verify(tmp_path, FEATURES)
    file = tmp_path / manifest.FILE
    file.write_text(change(file.read_text()))
    with pytest.raises(manifest.ManifestError, match=reason):
        manifest.verify(tmp_path, FEATURES)


def test_a_model_is_loaded_once_for_all_workers_only_where_a_fork_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one_thread, two_threads = (
        Plan(workers=2, request_threads=4, compute_threads=n, reason="") for n in (1, 2)
    )
    assert gunicorn_hooks.is_shared(one_thread) == framework.SURVIVES_FORK
    assert not gunicorn_hooks.is_shared(two_threads)
    monkeypatch.setenv(gunicorn_hooks.EACH_VARIABLE, "1")
    assert not gunicorn_hooks.is_shared(one_thread)


def test_workers_take_one_gpu_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpu.COUNT_VARIABLE, "2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # and put back afterwards
    assert [gpu.claim(tmp_path) for _ in range(3)] == [0, 1, None]


def test_an_interrupted_write_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), paths.atomic(tmp_path / "model.bin") as file:
        file.write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
