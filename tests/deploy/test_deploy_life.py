"""The whole life of a repository on AWS, with its own verbs, against `sagegen local`."""

from __future__ import annotations

import io
import json
import signal
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from deployments import Repository, account, leftovers
from emulators import Emulator, wait
from helpers import BASE_IMAGE


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An account with nothing in it."""
    with account(tmp_path_factory.mktemp("account")) as local:
        yield local


@pytest.fixture(scope="module")
def repository(empty: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    build = {"BASE_IMAGE": BASE_IMAGE, "BUILD_ARGS": f"--build-arg PYTHON_IMAGE={BASE_IMAGE}"}
    return Repository(tmp_path_factory.mktemp("life") / "penguins", {**empty.environment, **build})


def changes(account: Emulator) -> Counter[str]:
    """How often each call that changes something was made."""
    calls = [json.loads(line) for line in account.log.read_text().splitlines() if line.startswith("{")]
    names = [str(call.get("operation")) for call in calls]
    return Counter(
        name for name in names if name.startswith(("Create", "Update", "Put", "Delete", "Register"))
    )


def interrupted(repository: Repository, sign: str, verb: str, *arguments: str) -> None:
    """Ctrl-C as soon as the verb has printed `sign`."""
    process = repository.start(verb, *arguments)
    for line in process.stdout:
        if sign in line:
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "the same command goes on from here" in err, err


@contextmanager
def load(account: Emulator, repository: Repository) -> Iterator[list[tuple[str, str]]]:
    """Requests without a pause; what each was answered, and by which model."""
    runtime, answers, stop = account.client("sagemaker-runtime"), [], threading.Event()
    body = (repository.folder / "local_test/payloads/records.csv").read_bytes()

    def ask() -> None:
        while not stop.is_set():
            try:
                got = runtime.invoke_endpoint(EndpointName="penguins", Body=body, ContentType="text/csv")
                answers.append(("ok", got["CustomAttributes"]))
            except Exception as error:
                answers.append((str(error), ""))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def serving(account: Emulator) -> str:
    found = account.client("sagemaker").describe_endpoint(EndpointName="penguins")
    assert found["EndpointStatus"] == "InService"
    return str(found["EndpointConfigName"])


def pack(repository: Repository, name: str, files: dict[str, bytes]) -> None:
    """A model that is trained elsewhere, as the settings' artifact."""
    folder = repository.folder / name
    folder.mkdir()
    for file, content in files.items():
        (folder / file).write_bytes(content)
    repository.set(artifact=f'"{name}"')


def test_from_an_empty_account_to_a_prediction_and_back(empty: Emulator, repository: Repository) -> None:
    # Each verb, interrupted where it can be, goes on; the second run of everything changes nothing.
    repository.set(startup_seconds="60")  # a model that does not load is given up after so long, as on AWS
    assert "s3://penguins-123456789012-us-east-1" in repository.done("up")
    repository.done("upload")
    assert "there is nobody to ask – add --yes" in repository.refused("train")
    interrupted(repository, "create    training job", "train", "--yes")
    assert "test_accuracy=" in repository.done("train", "--yes")
    interrupted(repository, "create    endpoint penguins", "deploy", "--yes")
    assert "answers the sample requests as expected" in repository.done("deploy", "--yes")
    assert "are answered as expected" in repository.done("invoke")
    expected = (repository.folder / "local_test/payloads/expected.csv").read_bytes()
    repository.done("transform", "--yes")
    assert (repository.folder / "transformed/records.csv.out").read_bytes() == expected
    before = changes(empty)
    for verb in ("up", "upload", "train", "deploy", "transform"):
        repository.done(verb, "--yes")
    assert changes(empty) == before
    first = serving(empty)

    # A good new model under load: no request fails, and none is answered by the old one afterwards.
    ledger = next(repository.folder.glob("deploy/ledger/*.json"))
    artifact = json.loads(ledger.read_text())["facts"]["artifact"]
    with tarfile.open(fileobj=io.BytesIO(empty.get(artifact))) as archive:
        good = {one.name: archive.extractfile(one).read() for one in archive if one.isfile()}  # type: ignore[union-attr]
    pack(repository, "good", {**good, "notes.txt": b"the same model, packed anew"})
    repository.done("upload")
    with load(empty, repository) as answers:
        said = repository.done("deploy", "--yes")
        after = len(answers)
        wait(lambda: len(answers) >= after + 50)
    new = said.splitlines()[-1].split()[3].rstrip(",")
    assert Counter(word for word, _ in answers) == {"ok": len(answers)}
    assert {model for _, model in answers[after + 2 :]} == {new}
    second = serving(empty)
    assert second != first

    # A model that does not load, and one whose answers are wrong: the one before goes on serving.
    pack(repository, "broken", dict.fromkeys(good, b"no model"))
    repository.done("upload")
    assert "the new model did not start" in repository.refused("deploy", "--yes")
    assert serving(empty) == second
    pack(repository, "wrong", {**good, "notes.txt": b"its answers are not what is expected"})
    repository.done("upload")
    sample = repository.folder / "local_test/payloads/expected.csv"
    sample.write_bytes(b"unicorn\n" + expected)
    said = repository.refused("deploy", "--yes")
    assert (
        "the answer is not expected.csv" in said
        and f"rolled back: penguins serves {second} as before" in said
    )
    sample.write_bytes(expected)
    assert serving(empty) == second
    assert f"serves {first}" in repository.done("rollback") and serving(empty) == first

    repository.done("scale", "--yes")
    before = changes(empty)
    assert "nothing to do" in repository.done("scale", "--yes") and changes(empty) == before

    # A job that fails says why; nothing but what the ledger knows is removed.
    hyperparameters = repository.folder / "local_test/opt_ml/input/config/hyperparameters.json"
    hyperparameters.write_text('{"epochs": "many"}')
    said = repository.refused("train", "--yes")
    assert "epochs" in said and "--retry" in said
    empty.client("s3").put_object(Bucket="penguins-123456789012-us-east-1", Key="mine", Body=b"mine")
    interrupted(repository, "removed", "down")
    code, out, _ = repository.run("down")
    assert code == 1 and "has 1 objects from elsewhere, such as mine" in out
    empty.client("s3").delete_object(Bucket="penguins-123456789012-us-east-1", Key="mine")
    repository.done("down")
    assert leftovers(empty, "penguins") == {}
    assert "0 things are there" in repository.done("status")
