"""Each verb that changes something is hit at each of its calls, and the next run goes on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployments import MOMENTS, Tiny, Verbs, account, ledger, leftovers
from emulators import Emulator


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with account(tmp_path_factory.mktemp("account")) as local:
        yield local


@pytest.mark.parametrize("sign", MOMENTS, ids=lambda sign: sign.name)
def test_a_verb_that_is_interrupted_at_any_call_goes_on(
    local: Emulator, tmp_path: Path, sign: signal.Signals
) -> None:
    name = f"penguins-{sign.name.lower()}"
    repository = Tiny(tmp_path / "repository", local.environment, project_name=name)
    with Verbs(repository) as verbs:
        verbs.survive(sign, "up")
        verbs.survive(sign, "upload")
        verbs.survive(sign, "train")
        assert "answers the sample requests" in verbs.survive(sign, "deploy")
        first = serving(local, name)
        repository.model("dog")
        verbs.done("train", "--yes")
        verbs.survive(sign, "deploy")
        assert serving(local, name) != first
        # The new model answers otherwise than expected: going back may be interrupted as well.
        second = serving(local, name)
        repository.model("bird")
        verbs.done("train", "--yes")
        repository.model("cow")
        assert f"serves {second} as before" in verbs.survive(sign, "deploy", ends=1)
        assert serving(local, name) == second
        repository.model("dog")
        verbs.done("train", "--yes")  # which was done before
        verbs.survive(sign, "transform")
        assert (repository.folder / "transformed/records.csv.out").read_text().strip() == "dog"
        verbs.survive(sign, "rollback")
        assert serving(local, name) == first
        verbs.survive(sign, "scale")
        sagemaker = local.client("sagemaker")
        assert len(sagemaker.list_training_jobs(NameContains=name)["TrainingJobSummaries"]) == 3
        assert len(sagemaker.list_transform_jobs(NameContains=name)["TransformJobSummaries"]) == 1
        verbs.survive(sign, "down")
    assert ledger(repository)["entries"] == {} and leftovers(local, name) == {}


def serving(local: Emulator, name: str) -> str:
    found = local.client("sagemaker").describe_endpoint(EndpointName=name)
    assert found["EndpointStatus"] == "InService"
    return str(found["EndpointConfigName"])
