"""The image, run as SageMaker runs it: what it promises, tested from outside (T-01 to S-77).

The sample data, its expected predictions and the hyperparameter `epochs` are all that is known of model.py.
"""

import http.client
import io
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import requests
from conftest import FinishedTraining, Training
from docker_tools import (
    INVOCATION_SECONDS,
    PAYLOADS,
    PING_SECONDS,
    PLATFORM,
    POLL_SECONDS,
    REPOSITORY,
    Container,
    Containers,
    Endpoint,
    docker,
    predictions,
    read_failure,
    wait_until,
)
from prometheus_client.parser import text_string_to_metric_families

pytestmark = pytest.mark.usefixtures("head_start")

MIB = 1024 * 1024
ORIGINAL_MESSAGE_BYTES = 2048  # S-28
TRAINING_STOP_SECONDS = 120  # T-60
SERVING_STOP_SECONDS = 30  # S-03

CSV, JSON, JSON_LINES = "text/csv", "application/json", "application/jsonlines"
NPY, PARQUET = "application/x-npy", "application/x-parquet"
MEDIA_TYPES = (CSV, JSON, JSON_LINES, NPY, PARQUET)
# As in local_test/predict.sh.
SAMPLES = {
    "rows.csv": CSV,
    "rows_with_header.csv": f"{CSV}; charset=utf-8",
    "instances.json": JSON,
    "records.json": JSON,
    "rows.jsonl": JSON_LINES,
    "rows.npy": NPY,
    "rows.parquet": PARQUET,
}
EXPECTED = (PAYLOADS / "expected.csv").read_text(encoding="utf-8").splitlines()
RECORDS = json.loads((PAYLOADS / "records.json").read_bytes())
NAMES = list(RECORDS[0])
ROWS = [list(record.values()) for record in RECORDS]


def csv_text(rows: list[list[float]], end: str = "\n") -> str:
    return "".join(",".join(map(str, row)) + end for row in rows)


SAMPLE_CSV = csv_text(ROWS).encode()
SAMPLE_JSON = json.dumps({"instances": ROWS}).encode()


# --- training -------------------------------------------------------------------------------------------


def test_training_on_the_sample_data_ends_well_and_leaves_a_model(training: FinishedTraining) -> None:
    assert training.exit_code == 0, training.log  # T-50
    files = list((training.opt_ml / "model").rglob("*"))
    assert files  # T-53
    assert not [file for file in files if file.is_symlink() or file.name.startswith(".tmp")]  # S-43
    assert not training.failure  # T-51


def test_training_reports_an_accuracy_of_90_percent_on_data_that_it_has_not_seen(
    training: FinishedTraining,
) -> None:
    report = json.loads((training.opt_ml / "output" / "data" / "evaluation.json").read_bytes())  # T-54
    assert report["accuracy"] >= 0.9


def test_a_training_killed_from_outside_still_writes_the_failure_file(
    killed_training: FinishedTraining,
) -> None:
    assert killed_training.exit_code != 0, "T-50"
    assert "SIGKILL" in killed_training.failure
    assert "out of memory" in killed_training.failure


def test_a_restarted_training_goes_on_after_its_last_checkpoint(
    killed_training: FinishedTraining, restarted_training: Training
) -> None:
    restarted_training.container.wait_for("resumed after epoch ")
    restarted_training.container.wait_for("epoch=")
    log = restarted_training.container.log
    resumed = int(log.partition("resumed after epoch ")[2].split()[0])
    last = int(re.findall(r"\bepoch=(\d+);", killed_training.log)[-1])
    assert last - 1 <= resumed <= last + 1  # the kill may have come between a checkpoint and its line
    assert int(re.findall(r"\bepoch=(\d+);", log)[0]) == resumed + 1  # T-64
    assert not read_failure(restarted_training.opt_ml)  # the first run's


def test_a_stopped_training_keeps_its_checkpoint_and_ends_well(restarted_training: Training) -> None:
    container = restarted_training.container
    container.wait_for("resumed after epoch ")
    started = time.monotonic()
    container.send("TERM")
    assert container.wait(TRAINING_STOP_SECONDS) == 0, container.log  # T-60
    assert time.monotonic() - started < TRAINING_STOP_SECONDS
    last = int(re.findall(r"\bepoch=(\d+);", container.log)[-1])
    kept = [int(n) for n in re.findall(r"epoch-(\d+)", listing(restarted_training.opt_ml / "checkpoints"))]
    assert max(kept) == last
    assert not read_failure(restarted_training.opt_ml)


def listing(folder: Path) -> str:
    return " ".join(sorted(path.name for path in folder.iterdir()))


def test_training_accepts_an_old_clients_job_without_network_root_or_a_writable_disk(
    old_style_training: Training,
) -> None:
    """Channel `training`, quoted hyperparameters, host algo-7, and `train` called by its path."""
    assert old_style_training.container.wait() == 0, old_style_training.container.log  # T-12, T-22, T-41
    assert any((old_style_training.opt_ml / "model").iterdir())
    assert re.findall(r"\bepoch=(\d+);", old_style_training.container.log)[-1] == "3"


# --- the image ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["dance"], ["train", "now"], []], ids=["unknown", "too many", "none"])
def test_any_other_command_prints_the_usage_and_exits_64(containers: Containers, command: list[str]) -> None:
    done = containers.run(command=command)
    assert done.returncode == 64
    assert done.stderr.startswith("usage:")
    assert "train" in done.stderr and "serve" in done.stderr


@pytest.mark.parametrize(("command", "exit_code"), [("serve", 78), ("train", 1)])
def test_an_instance_without_a_gpu_is_refused_where_one_is_required(
    containers: Containers, command: str, exit_code: int
) -> None:
    done = containers.run("--env", "REQUIRE_GPU=1", "--env", "NVIDIA_VISIBLE_DEVICES=void", command=[command])
    assert done.returncode == exit_code
    assert "no GPU is visible" in done.stderr


def test_the_entry_point_is_exec_form_and_runs_as_root_on_the_chosen_platform(image: str) -> None:
    facts = json.loads(docker("image", "inspect", image))[0]
    config = facts["Config"]
    program = Path(config["Entrypoint"][0]).name
    assert program not in {"sh", "bash", "tini", "docker-init"}  # T-03, T-04
    assert config.get("User") in {None, "", "root", "0", "0:0"}  # T-10
    assert not [path for path in config.get("Volumes") or {} if path.startswith("/opt/ml")]  # IMG-11
    assert f"{facts['Os']}/{facts['Architecture']}" == PLATFORM  # IMG-04


def test_the_labels_claim_what_the_image_can_do_and_nothing_else(image: str) -> None:
    labels = json.loads(docker("image", "inspect", image))[0]["Config"]["Labels"]
    claims = {
        name.rpartition(".")[2]: value for name, value in labels.items() if "sagemaker.capabilities" in name
    }
    assert claims == {"accept-bind-to-port": "true"}  # S-51; M-01 and S-65 are not offered


def test_nothing_lives_in_opt_ml_which_sagemaker_mounts_over(containers: Containers) -> None:
    done = containers.run("--entrypoint", "sh", command=["-c", "find /opt/ml -mindepth 1 2>/dev/null"])
    assert done.stdout == ""  # T-07


@pytest.mark.parametrize("command", ["train", "serve"])
def test_both_commands_are_executable_scripts_with_unix_line_ends(
    containers: Containers, command: str
) -> None:
    program = f"import shutil; print(open(shutil.which({command!r}), 'rb').read())"
    script = containers.run("--entrypoint", "python3", command=["-c", program]).stdout
    assert script.startswith("b'#!/")  # T-02
    assert r"\r" not in script  # IMG-12


def test_sdk_v3_finds_the_programs_that_it_starts(containers: Containers) -> None:
    done = containers.run(
        "--entrypoint", "/bin/bash", command=["-c", "command -v python3 && command -v pip3"]
    )
    assert done.returncode == 0  # T-82


def test_the_models_own_tests_pass_inside_the_image(containers: Containers) -> None:
    """tests/test_model.py again, with the framework that the image has. pytest itself is lent to it."""
    tools = Path(pytest.__file__).parent.parent
    options = ["--quiet", "--noconftest", "-p", "no:cacheprovider", "-p", "no:docker"]
    arguments = [*options, "/repository/tests/test_model.py"]
    program = f"import sys; sys.path.append('/tools'); import pytest; sys.exit(pytest.main({arguments!r}))"
    mounts = ["--volume", f"{tools}:/tools:ro", "--volume", f"{REPOSITORY}:/repository:ro"]
    done = containers.run(*mounts, "--entrypoint", "python", command=["-c", program])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout


# --- serving --------------------------------------------------------------------------------------------


@pytest.fixture
def served(endpoint: Endpoint) -> Endpoint:
    """The shared endpoint, once it is healthy."""
    endpoint.wait_until_healthy()
    return endpoint


def test_ping_says_503_while_the_model_loads_and_200_after(endpoint: Endpoint) -> None:
    endpoint.wait_until_healthy()
    statuses = [ping.status for ping in endpoint.pings]
    before = statuses[: statuses.index(200)]
    assert 503 in before  # bound first, loaded second
    assert set(before) <= {None, 503}  # S-15


def test_the_first_request_after_the_first_healthy_ping_is_answered(endpoint: Endpoint) -> None:
    wait_until(lambda: endpoint.first_answer is not None, "the first answer")
    assert endpoint.first_answer is not None
    assert predictions(endpoint.first_answer) == EXPECTED  # S-14


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_ping_answers_get_and_post(served: Endpoint, method: str) -> None:
    assert served.ping(method).status == 200  # S-11, S-16


@pytest.mark.parametrize("accept", MEDIA_TYPES)
@pytest.mark.parametrize("sample", SAMPLES)
def test_every_media_type_can_be_sent_and_asked_for(served: Endpoint, sample: str, accept: str) -> None:
    response = served.invoke((PAYLOADS / sample).read_bytes(), SAMPLES[sample], accept)
    assert predictions(response) == EXPECTED  # S-20, B-10
    assert response.headers["Content-Type"].partition(";")[0] == accept  # S-26


def test_predict_sh_agrees_with_the_expected_predictions(served: Endpoint) -> None:
    command = ["env", f"PORT={served.port}", "local_test/predict.sh"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("body", "content_type", "rows"),
    [
        pytest.param(csv_text(ROWS[:1]).encode(), CSV, 1, id="one row"),
        pytest.param(SAMPLE_CSV.rstrip(), CSV, None, id="no trailing newline"),
        pytest.param(csv_text(ROWS, end="\r\n").encode(), CSV, None, id="windows line ends"),
        pytest.param((",".join(NAMES) + "\n").encode() + SAMPLE_CSV, CSV, None, id="header"),
        pytest.param(re.sub(rb"[^,\n]+", rb'"\g<0>"', SAMPLE_CSV), CSV, None, id="quoted"),
        pytest.param(b"\xef\xbb\xbf" + SAMPLE_CSV, CSV, None, id="byte order mark"),
        pytest.param(SAMPLE_CSV.decode().encode("utf-16"), f"{CSV}; charset=utf-16", None, id="charset"),
        pytest.param(SAMPLE_CSV, "Text/CSV; header=absent", None, id="parameters and case"),
        pytest.param(SAMPLE_CSV, None, None, id="no content type"),
        pytest.param(json.dumps({"inputs": ROWS}).encode(), JSON, None, id="inputs"),
        pytest.param(json.dumps({"instances": RECORDS}).encode(), JSON, None, id="instances of records"),
        pytest.param(
            json.dumps({"columns": NAMES, "data": ROWS}).encode(), JSON, None, id="columns and data"
        ),
        pytest.param(json.dumps(ROWS).encode(), JSON, None, id="bare rows"),
        pytest.param(json.dumps(ROWS[0]).encode(), JSON, 1, id="one bare row"),
        pytest.param(json.dumps(RECORDS[0]).encode(), JSON, 1, id="one record"),
        pytest.param("\n".join(map(json.dumps, RECORDS)).encode(), JSON_LINES, None, id="lines of records"),
    ],
)
def test_the_usual_forms_of_a_request_mean_the_same(
    served: Endpoint, body: bytes, content_type: str | None, rows: int | None
) -> None:
    assert predictions(served.invoke(body, content_type)) == EXPECTED[:rows]  # B-09


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("text/csv;q=0.1, application/json;q=0.9", JSON),
        ("image/png, application/jsonlines;q=0.2", JSON_LINES),
        ("text/*", CSV),
        ("*/*", NPY),
        ("application/x-npy;q=0, */*;q=0.1", JSON),
        (None, NPY),
    ],
)
def test_accept_chooses_the_media_type_and_silence_means_the_requests_own(
    served: Endpoint, accept: str | None, chosen: str
) -> None:
    response = served.invoke((PAYLOADS / "rows.npy").read_bytes(), NPY, accept)
    assert response.headers["Content-Type"].partition(";")[0] == chosen  # S-26, B-11
    assert predictions(response) == EXPECTED


def npy(array: object) -> bytes:
    out = io.BytesIO()
    np.save(out, np.asarray(array))
    return out.getvalue()


def damaged(body: bytes) -> bytes:
    """The same size, without the first half of its content."""
    return body[:4] + bytes(len(body) // 2) + body[4 + len(body) // 2 :]


@pytest.mark.parametrize(
    ("status", "body", "content_type", "accept"),
    [
        pytest.param(400, b"", CSV, None, id="no body"),
        pytest.param(400, b"\n\n", CSV, None, id="no rows"),
        pytest.param(400, csv_text([row[:-1] for row in ROWS]).encode(), CSV, None, id="a column too few"),
        pytest.param(400, csv_text([[*row, 1] for row in ROWS]).encode(), CSV, None, id="a column too many"),
        pytest.param(400, csv_text([ROWS[0], ROWS[0][:-1]]).encode(), CSV, None, id="rows of two lengths"),
        pytest.param(400, SAMPLE_CSV.replace(b",", b",x", 1), CSV, None, id="text for a number"),
        pytest.param(400, b"island\n1\n", CSV, None, id="header of other columns"),
        pytest.param(400, b'"1,2', CSV, None, id="open quote"),
        pytest.param(400, b"\xff\xfe\xfa", CSV, None, id="not utf-8"),
        pytest.param(400, b'{"instances": [[1, 2', JSON, None, id="half a json"),
        pytest.param(400, b'{"instances": [[NaN]]}', JSON, None, id="nan"),
        pytest.param(400, b'{"rows": []}', JSON, None, id="unknown json form"),
        pytest.param(400, b"3", JSON, None, id="json number"),
        pytest.param(400, b"[" * 100_000, JSON, None, id="deep json"),
        pytest.param(400, b"[1]\n{", JSON_LINES, None, id="half a json line"),
        pytest.param(400, npy(ROWS)[:-8], NPY, None, id="half an npy"),
        pytest.param(400, b"PK\x03\x04", NPY, None, id="half an archive"),
        pytest.param(400, b"PAR1" * 10, PARQUET, None, id="not parquet"),
        pytest.param(
            400, damaged((PAYLOADS / "rows.parquet").read_bytes()), PARQUET, None, id="damaged parquet"
        ),
        pytest.param(406, SAMPLE_CSV, CSV, "image/png", id="accept image"),
        pytest.param(406, SAMPLE_CSV, CSV, "*/*;q=0", id="accept nothing"),
        pytest.param(406, SAMPLE_CSV, CSV, "x" * 4000, id="accept too long"),
        pytest.param(415, SAMPLE_CSV, "text/xml", None, id="xml"),
        pytest.param(415, SAMPLE_CSV, "text/csv; charset=klingon", None, id="unknown charset"),
        pytest.param(415, SAMPLE_CSV, "x" * 4000, None, id="type too long"),
    ],
)
def test_a_wrong_request_gets_its_status_and_one_line_of_reason(
    served: Endpoint, status: int, body: bytes, content_type: str, accept: str | None
) -> None:
    response = served.invoke(body, content_type, accept)
    assert_refused(response, status)
    if status in (406, 415):
        assert CSV in response.text or "utf-8" in response.text  # what would have been accepted
    assert predictions(served.invoke(SAMPLE_CSV)) == EXPECTED  # still healthy


def assert_refused(response: requests.Response, status: int) -> None:
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"].startswith("text/plain")
    assert 0 < len(response.content) <= ORIGINAL_MESSAGE_BYTES  # S-28
    assert response.text.count("\n") == 1 and response.text.endswith("\n")
    assert "Traceback" not in response.text


class Intruder:
    """Makes a folder where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, ("/tmp/intruder",)


def test_an_npy_body_is_never_unpickled(served: Endpoint) -> None:
    body = npy(np.array([Intruder()], dtype=object))
    assert_refused(served.invoke(body, NPY), 400)
    assert served.container.python("import os; print(os.path.exists('/tmp/intruder'))") == "False"


def test_what_does_not_exist_is_404_and_a_wrong_method_405(served: Endpoint) -> None:
    assert served.ask("/models").status_code == 404
    assert served.ask("/invocations").status_code == 405


def test_unknown_headers_are_ignored(served: Endpoint) -> None:
    known = (
        "Custom-Attributes",
        "Target-Model",
        "Target-Variant",
        "Inference-Id",
        "Session-Id",
        "Forwarded-Api",
    )
    headers = {f"X-Amzn-SageMaker-{name}": "value" for name in (*known, *(f"New-{n}" for n in range(20)))}
    assert predictions(served.invoke(SAMPLE_CSV, **headers)) == EXPECTED  # S-24, S-25


def test_a_chunked_upload_is_put_together_again(served: Endpoint) -> None:
    pieces = (SAMPLE_CSV[start : start + 7] for start in range(0, len(SAMPLE_CSV), 7))
    assert predictions(served.invoke(pieces)) == EXPECTED  # B-08, S-29


def test_a_connection_is_kept_for_many_requests_also_after_a_refused_one(served: Endpoint) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=INVOCATION_SECONDS)
    connection.connect()
    kept = connection.sock
    for body, status in [(SAMPLE_CSV, 200), (b"", 400), (SAMPLE_CSV, 200)]:
        connection.request("POST", "/invocations", body, {"Content-Type": CSV})
        response = connection.getresponse()
        response.read()
        assert response.status == status
        assert connection.sock is kept  # S-29
    connection.close()


def test_concurrent_requests_do_not_mix_up_their_answers(served: Endpoint) -> None:
    def ask(row: int) -> list[str]:
        return predictions(served.invoke(csv_text([ROWS[row]]).encode()))

    rows = [n % len(ROWS) for n in range(64)]
    with ThreadPoolExecutor(16) as clients:
        assert list(clients.map(ask, rows)) == [[EXPECTED[row]] for row in rows]  # S-29


def test_a_realtime_body_may_have_25_mb_and_not_a_byte_more(served: Endpoint) -> None:
    assert_limit(served, 25 * MIB)  # S-23


def test_a_batch_body_may_be_as_large_as_the_transform_job_says(pipeline_endpoint: Endpoint) -> None:
    pipeline_endpoint.wait_until_healthy()
    assert_limit(pipeline_endpoint, MIB)  # B-03


def assert_limit(endpoint: Endpoint, limit: int) -> None:
    largest = SAMPLE_JSON.ljust(limit)  # JSON may end in spaces
    assert predictions(endpoint.invoke(largest, JSON)) == EXPECTED
    assert_refused(endpoint.invoke(largest + b" ", JSON), 413)
    assert_refused(endpoint.invoke(iter([largest, b" "]), JSON), 413)  # chunked: no length was declared
    assert predictions(endpoint.invoke(SAMPLE_CSV)) == EXPECTED


def test_execution_parameters_are_what_batch_transform_accepts(served: Endpoint) -> None:
    parameters = served.ask("/execution-parameters").json()
    assert parameters["BatchStrategy"] in {"MULTI_RECORD", "SINGLE_RECORD"}  # B-04
    assert parameters["MaxConcurrentTransforms"] >= 1
    assert 0 <= parameters["MaxPayloadInMB"] <= 100
    assert parameters["MaxConcurrentTransforms"] * parameters["MaxPayloadInMB"] <= 100  # B-07


def test_execution_parameters_repeat_what_the_transform_job_says(pipeline_endpoint: Endpoint) -> None:
    pipeline_endpoint.wait_until_healthy()
    assert pipeline_endpoint.ask("/execution-parameters").json() == {
        "MaxConcurrentTransforms": 3,
        "BatchStrategy": "SINGLE_RECORD",
        "MaxPayloadInMB": 1,
    }  # B-03


def test_metrics_count_the_requests_of_all_workers(served: Endpoint) -> None:
    before = counted(served, "invocations_total", status="200")
    with ThreadPoolExecutor(16) as clients:  # enough for each worker to get some
        list(clients.map(lambda _: predictions(served.invoke(SAMPLE_CSV)), range(128)))
    assert counted(served, "invocations_total", status="200") == before + 128


def counted(endpoint: Endpoint, name: str, **labels: str) -> float:
    """A counter's value over all workers, from /metrics in Prometheus' text format (S-77)."""
    families = text_string_to_metric_families(endpoint.ask("/metrics").text)
    samples = [s for family in families for s in family.samples if s.name == name and s.labels == labels]
    return sum(s.value for s in samples)


def test_a_pipelines_port_is_obeyed_and_no_other_is_open(pipeline_endpoint: Endpoint) -> None:
    pipeline_endpoint.wait_until_healthy()  # S-50, on 9123
    assert predictions(pipeline_endpoint.invoke(SAMPLE_CSV)) == EXPECTED
    program = "print(open('/proc/net/tcp').read(), open('/proc/net/tcp6').read())"
    sockets = [line.split() for line in pipeline_endpoint.container.python(program).splitlines()]
    listening = {
        int(parts[1].rpartition(":")[2], 16) for parts in sockets if len(parts) > 3 and parts[3] == "0A"
    }
    assert listening == {9123}  # S-52


ASK_INSIDE = """
import sys
from urllib.request import Request, urlopen

headers = {"Content-Type": "text/csv", "Accept": "text/csv"}
print(urlopen(Request("http://127.0.0.1:8080/invocations", sys.stdin.buffer.read(), headers)).read().decode())
"""


def test_an_endpoint_needs_no_root_no_writable_disk_and_no_network(serverless_container: Container) -> None:
    serverless_container.wait_for("ready: the model answers")
    answer = serverless_container.python(ASK_INSIDE, stdin=SAMPLE_CSV)  # SV-04, S-41, SEC-01
    assert answer.splitlines() == EXPECTED
    assert "1 worker(s)" in serverless_container.log  # SV-06


Answer = Future[requests.Response]


def slow_row(seconds: float) -> bytes:
    """A row for slow_model.py."""
    return csv_text([[seconds, *ROWS[0][1:]]]).encode()


@contextmanager
def slow_requests(
    endpoint: Endpoint, count: int, seconds: float, begun: int = 2
) -> Iterator[list[Future[requests.Response]]]:
    """Slow predictions, of which the first ones have begun; answered at the end."""
    line = f"a prediction takes {seconds:g} s"
    endpoint.wait_until_healthy()
    with ThreadPoolExecutor(count) as clients:
        answers = [clients.submit(endpoint.invoke, slow_row(seconds)) for _ in range(count)]
        endpoint.container.wait_for(line, times=begun)
        yield answers
    assert [answer.result().status_code for answer in answers] == [200] * count


def test_ping_is_answered_while_predictions_keep_the_only_worker_busy(slow_endpoint: Endpoint) -> None:
    slow_endpoint.wait_until_healthy()
    for _ in range(20):  # who has only seen quick predictions may not take the next one for quick
        assert slow_endpoint.invoke(slow_row(0.0)).status_code == 200
    pings = []
    # Twice as many as a worker has threads: whoever waits in line, /ping does not.
    with slow_requests(slow_endpoint, count=8, seconds=1.5) as answers:
        while wait(answers, timeout=POLL_SECONDS).not_done:
            pings.append(slow_endpoint.ping())
    assert {ping.status for ping in pings} == {200}
    assert max(ping.seconds for ping in pings) < PING_SECONDS  # S-12, S-17


def test_ping_is_answered_also_when_a_prediction_was_thought_to_be_short(slow_endpoint: Endpoint) -> None:
    """The only worker has learnt that rows of this size are cheap, and waits for one that is not."""

    def inline() -> float:
        return counted(slow_endpoint, "invocations_inline_total")

    slow_endpoint.wait_until_healthy()
    for _ in range(5):  # a busy machine may have made the last cheap one dear
        teach(slow_endpoint, inline)
        before = inline()
        with slow_requests(slow_endpoint, count=1, seconds=2.5, begun=1) as answers:
            pings = []
            while wait(answers, timeout=POLL_SECONDS).not_done:
                pings.append(slow_endpoint.ping())
        assert {ping.status for ping in pings} == {200}
        assert max(ping.seconds for ping in pings) < PING_SECONDS  # S-12, S-17
        if inline() > before:
            return
    pytest.fail("no slow prediction was ever taken for a short one")


def teach(endpoint: Endpoint, inline: Callable[[], float]) -> None:
    """Ask for predictions that cost nothing until the worker lets everything else wait for them."""
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=INVOCATION_SECONDS)

    def some() -> bool:
        before = inline()
        for _ in range(50):
            connection.request("POST", "/invocations", slow_row(0), {"Content-Type": CSV})
            assert connection.getresponse().read()
        return inline() >= before + 25

    wait_until(some, "predictions that need no thread")
    connection.close()


def test_sigterm_lets_the_requests_in_flight_finish_and_ends_well(slow_endpoint: Endpoint) -> None:
    slow_endpoint.wait_until_healthy()
    idle = http.client.HTTPConnection("127.0.0.1", slow_endpoint.port, timeout=INVOCATION_SECONDS)
    idle.request("GET", "/execution-parameters")
    idle.getresponse().read()  # stays open, which may not delay the end
    with slow_requests(slow_endpoint, count=2, seconds=1.5) as answers:
        slow_endpoint.container.send("TERM")
        assert not any(answer.done() for answer in answers)
    assert slow_endpoint.container.wait(SERVING_STOP_SECONDS) == 0, slow_endpoint.container.log  # S-03
    idle.close()


KILL_WORKERS = """
import os, signal

processes = {int(pid) for pid in os.listdir("/proc") if pid.isdigit()} - {1, os.getpid()}
parents = {int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1]) for pid in processes}
for pid in processes - parents:
    os.kill(pid, signal.SIGKILL)
"""


def test_killed_workers_are_replaced_or_the_container_ends_with_an_error(pipeline_endpoint: Endpoint) -> None:
    def answers() -> bool:
        with suppress(requests.RequestException):
            return pipeline_endpoint.invoke(SAMPLE_CSV).status_code == 200
        return False

    pipeline_endpoint.wait_until_healthy()
    pipeline_endpoint.container.python(KILL_WORKERS)
    wait_until(lambda: pipeline_endpoint.container.has_ended or answers(), "an end or a recovery")
    assert pipeline_endpoint.container.exit_code != 0  # S-06


def test_a_container_whose_server_is_killed_ends_with_an_error(pipeline_endpoint: Endpoint) -> None:
    if not pipeline_endpoint.container.has_ended:
        pipeline_endpoint.container.kill_all_but_pid_1()
    assert pipeline_endpoint.container.wait() not in (0, 137), pipeline_endpoint.container.log  # S-06


def test_a_corrupt_model_never_becomes_healthy_and_ping_says_why(corrupt_endpoint: Endpoint) -> None:
    assert_never_healthy(corrupt_endpoint, "the model cannot be loaded")


def test_a_missing_model_never_becomes_healthy_and_ping_says_why(empty_endpoint: Endpoint) -> None:
    assert_never_healthy(empty_endpoint, "/opt/ml/model is empty")


def assert_never_healthy(endpoint: Endpoint, reason: str) -> None:
    wait_until(lambda: endpoint.ping().status == 500, "the load to fail")  # S-14
    for path, method in [("/ping", "GET"), ("/invocations", "POST")]:
        response = endpoint.ask(path, method)
        assert_refused(response, 500)
        assert reason in response.text
    assert {ping.status for ping in endpoint.pings} <= {None, 503, 500}
    assert not endpoint.container.has_ended


def test_ping_was_healthy_and_quick_through_all_of_these_tests(served: Endpoint) -> None:
    statuses = [ping.status for ping in served.pings]
    assert set(statuses[statuses.index(200) :]) == {200}  # S-13
    assert max(ping.seconds for ping in served.pings) < PING_SECONDS  # S-12
