"""Each verb that changes something is hit at each of its calls, and the next run goes on."""

from __future__ import annotations

import itertools
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deployments import Tiny, Verbs, account, leftovers
from emulators import Emulator


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with account(tmp_path_factory.mktemp("account")) as local:
        yield local


#: Whoever kills the process may do so before a call too; Ctrl-C would show the same.
MOMENTS = {signal.SIGINT: ("after",), signal.SIGKILL: ("before", "after")}


def survived(verbs: Verbs, sign: int, *arguments: str, ends: int = 0) -> str:
    """Hit a verb at its first call of each kind, until a run comes to its end; what that one said."""
    hit: dict[str, list[str]] = {when: [] for when in MOMENTS[sign]}  # type: ignore[index]
    for when in itertools.cycle(hit):
        code, out, err, at = verbs.run(*arguments, "--yes", hit=[sign, when, hit[when]])
        if not at:
            assert code == ends, f"{arguments}: {out}{err}"
            assert hit["after"], f"{arguments} was never hit"
            return out + err
        assert code == (130 if sign == signal.SIGINT else -sign), f"{arguments} at {at}: {out}{err}"
        hit[when].append(at)
    raise AssertionError


@pytest.mark.parametrize("sign", MOMENTS, ids=lambda sign: sign.name)
def test_a_verb_that_is_interrupted_at_any_call_goes_on(local: Emulator, tmp_path: Path, sign: int) -> None:
    name = f"penguins-{sign.name.lower()}"  # type: ignore[attr-defined]
    repository = Tiny(tmp_path / "repository", local.environment, project_name=name)
    with Verbs(repository) as verbs:
        survived(verbs, sign, "up")
        survived(verbs, sign, "upload")
        survived(verbs, sign, "train")
        assert "answers the sample requests" in survived(verbs, sign, "deploy")
        first = serving(local, name)
        repository.model("dog")
        verbs.done("train", "--yes")
        survived(verbs, sign, "deploy")
        assert serving(local, name) != first
        # The new model answers otherwise than expected: going back may be interrupted as well.
        second = serving(local, name)
        repository.model("bird")
        verbs.done("train", "--yes")
        repository.model("cow")
        assert f"serves {second} as before" in survived(verbs, sign, "deploy", ends=1)
        assert serving(local, name) == second
        repository.model("dog")
        verbs.done("train", "--yes")  # which was done before
        survived(verbs, sign, "transform")
        assert (repository.folder / "transformed/records.csv.out").read_text().strip() == "dog"
        survived(verbs, sign, "rollback")
        assert serving(local, name) == first
        survived(verbs, sign, "scale")
        sagemaker = local.client("sagemaker")
        assert len(sagemaker.list_training_jobs(NameContains=name)["TrainingJobSummaries"]) == 3
        assert len(sagemaker.list_transform_jobs(NameContains=name)["TransformJobSummaries"]) == 1
        survived(verbs, sign, "down")
    assert ledger(repository) == {} and leftovers(local, name) == {}


def test_a_request_to_an_asynchronous_endpoint_goes_on_and_down_leaves_nothing(
    local: Emulator, tmp_path: Path
) -> None:
    repository = Tiny(
        tmp_path / "repository", local.environment, project_name="penguins-async", hosting="async"
    )
    with Verbs(repository) as verbs:
        for verb in ("up", "upload", "train", "deploy"):
            verbs.done(verb, "--yes")
        assert survived(verbs, signal.SIGKILL, "async").startswith("cat")
        survived(verbs, signal.SIGKILL, "down")
    assert ledger(repository) == {} and leftovers(local, "penguins-async") == {}


def ledger(repository: Tiny) -> dict[str, Any]:
    (file,) = repository.folder.glob("deploy/ledger/*.json")
    return json.loads(file.read_text())["entries"]  # type: ignore[no-any-return]


def serving(local: Emulator, name: str) -> str:
    found = local.client("sagemaker").describe_endpoint(EndpointName=name)
    assert found["EndpointStatus"] == "InService"
    return str(found["EndpointConfigName"])
