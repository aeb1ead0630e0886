"""`make record` writes the requests that a model accepts and its answers, for the user to commit."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import byoc
import pytest
from test_items import BLUE, RED

REPOSITORY = Path(byoc.__path__[0]).parents[1]
HEAD = "def load(folder): return None\n"
Record = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a trained model and nothing recorded yet."""
    for name in ("compare.py", "predict.sh", "record.py", "record.sh"):
        target = tmp_path / "local_test" / name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes((REPOSITORY / "local_test" / name).read_bytes())
        target.chmod(0o755)
    shutil.copytree(REPOSITORY / "src/byoc", tmp_path / "src/byoc")
    with (tmp_path / "src/byoc/framework.py").open("a") as framework:  # scikit-learn is not installed here
        framework.write("\ndef prepare(threads): return ''\n")
    (tmp_path / "local_test/opt_ml/model").mkdir(parents=True)
    (tmp_path / "local_test/opt_ml/model/weights").touch()
    return tmp_path


@pytest.fixture
def record(repository: Path) -> Record:
    """`record.sh ARGUMENTS` for a model.py of this text, on this machine's Python."""

    def run(model: str, *arguments: str, reply: str = "") -> subprocess.CompletedProcess[str]:
        (repository / "src/model.py").write_text(HEAD + model)
        return subprocess.run(
            [repository / "local_test/record.sh", "--no-docker", *arguments],
            # Two texts of one length within a second would share their bytecode.
            env={"PATH": "/usr/bin:/bin", "VENV": sys.prefix, "PYTHONDONTWRITEBYTECODE": "1"},
            input=reply,
            capture_output=True,
            text=True,
        )

    return run


def recorded(repository: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (repository / "local_test/payloads").iterdir()}


LISTS = ["records.json", "records.jsonl"]
TABLES = ["records.csv", *LISTS, "records.parquet"]
TABLE = """
from byoc.inputs import *
INPUTS = Table({"a b": number(optional=True), "n": whole_number(optional=True), "t": text(), "ok": boolean(),
    "c": category("x", optional=True), "d": date(optional=True)}, dataframe=True)
def predict(model, inputs): return [" ".join(map(str, row)) for row in inputs.itertuples(index=False)]
"""
COUNT = "def predict(model, inputs): return [len(inputs)] * len(inputs)\n"
ECHO = "def predict(model, inputs): return [str(row.tolist()) for row in inputs]\n"
MODELS = {
    "numbers": (
        "from byoc.inputs import Numbers\nINPUTS = Numbers('a', 'b', missing=True)\n" + ECHO,
        ("records.csv", b"1,2.5\n,3\n"),
        ["expected.csv", "records.npy", *TABLES],
    ),
    "features": (
        "FEATURES = ('a', 'b')\n" + ECHO, ("some.jsonl", b'["x", 2.5]\n["y", 3]'), ["expected.csv", *TABLES],
    ),
    "table": (
        TABLE,
        ("x.csv", b'a b,n,t,ok,c,d\n1.5,,"a, ""b""",true,x,2026-01-31\n,3,y,false,,\n'),
        ["expected.csv", *TABLES],
    ),
    "text": (
        "from byoc.inputs import Text\nINPUTS = Text()\n"
        "def predict(model, inputs): return [text.split() for text in inputs]",
        ("x.jsonl", '"Größe, \\"x\\"\\nzwei"\n"eins"'.encode()),
        ["expected.json", "one.txt", "one.txt.expected.json", "records.csv", *LISTS],
    ),
    "undeclared numbers": (ECHO, ("x.csv", b"1,2\n3,4.5\n"), ["expected.csv", "records.npy", *TABLES]),
    "undeclared text": (
        "def predict(model, inputs): return [text.upper() for text in inputs]",
        ("x.json", b'["a", "b"]'),
        ["expected.csv", "one.txt", "one.txt.expected.csv", *LISTS],
    ),
    "undeclared records": (ECHO, ("x.json", b'[{"b": null, "a": "x"}]'), ["expected.csv", *LISTS]),
    "undeclared image": (COUNT, ("x.png", RED), ["expected.csv", "x.png"]),
    "own decode and encode": (
        "def decode(request): return [request.body]\n"
        "def predict(model, inputs): return inputs\n"
        "def encode(predictions, accept): return str(predictions), 'text/x'",
        ("x.pdf", b"%PDF"),
        ["expected.bin", "x.pdf"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("model, example, files", MODELS.values(), ids=MODELS)
def test_example_inputs_become_requests_in_every_form_with_one_answer(
    repository: Path, record: Record, model: str, example: tuple[str, bytes], files: list[str]
) -> None:
    (repository / example[0]).write_bytes(example[1])
    done = record(model, "--yes", str(repository / example[0]))
    assert done.returncode == 0, done.stderr
    assert sorted(recorded(repository)) == sorted(files)
    again = record(model, "--check")
    assert (again.returncode, "nothing changed" in again.stdout) == (0, True), again.stdout


def test_a_folder_of_images_becomes_one_request_for_one_and_others_for_all(
    repository: Path, record: Record
) -> None:
    (repository / "images").mkdir()
    (repository / "images/a.png").write_bytes(RED)
    (repository / "images/b.gif").write_bytes(BLUE)
    model = "from byoc.inputs import Images\nINPUTS = Images()\n" + COUNT
    done = record(model, "--yes", str(repository / "images"))
    assert done.returncode == 0, done.stderr
    found = recorded(repository)
    assert sorted(found) == ["expected.csv", "one.png", "one.png.expected.csv", *LISTS]
    assert (found["expected.csv"], found["one.png.expected.csv"]) == (b"2\n2\n", b"1\n")


def test_nothing_is_written_unless_the_user_agrees(repository: Path, record: Record) -> None:
    (repository / "x.json").write_text('["a", "b"]')
    model, other = COUNT, COUNT.replace("[len(inputs)]", "[7]")
    assert record(model, "--yes", str(repository / "x.json")).returncode == 0
    before = recorded(repository)
    for arguments, reply in (["--check"], ""), ([], "n\n"), ([], ""):
        declined = record(other, *arguments, reply=reply)
        assert declined.returncode == 1
        assert "-2\n-2\n+7\n+7\n" in declined.stdout  # the readable diff
        assert recorded(repository) == before
    assert record(other, reply="y\n").returncode == 0
    assert recorded(repository)["expected.csv"] == b"7\n7\n"


def test_an_answer_that_differs_in_its_last_digits_is_the_same(repository: Path, record: Record) -> None:
    (repository / "x.json").write_text("[1]")
    model = "def predict(model, inputs): return [{'label': 'b1', 'p': 0.12345678}]"
    assert record(model, "--yes", str(repository / "x.json")).returncode == 0
    before = recorded(repository)
    assert record(model.replace("5678", "5679"), "--check").returncode == 0
    assert recorded(repository) == before
    for other in (model.replace("0.12", "0.13"), model.replace("b1", "b2")):
        assert record(other, "--check").returncode == 1


@pytest.mark.parametrize(
    "model, example, reason",
    [
        (COUNT, '[{"a": 1}, 2]', "the examples are no request to this model: row 2 must be a record"),
        ("def predict(model, inputs): raise KeyError", "[1]", "records.json (application/json) gets 500"),
        ("import random\ndef predict(model, inputs): return [random.random()]", "[1]", "different answers"),
        ("import nothing_of_this_name", "[1]", "nothing_of_this_name"),
    ],
)
def test_what_cannot_be_recorded_is_one_line_and_nothing_is_written(
    repository: Path, record: Record, model: str, example: str, reason: str
) -> None:
    (repository / "x.json").write_text(example)
    done = record(model, "--yes", str(repository / "x.json"))
    assert done.returncode != 0
    assert reason in done.stderr.splitlines()[-1]
    assert not (repository / "local_test/payloads").exists()
