"""Each kind of hosting, and scaling, survives a new model: updated in place, compared, rolled back."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deployments import Tiny, Verbs, account, ledger, leftovers
from emulators import ACCOUNT, Emulator, wait


class Base:
    """An account with an image and three models, which several endpoints serve."""

    def __init__(self, local: Emulator, folder: Path) -> None:
        self.local, self.models = local, {}
        base = Tiny(folder, local.environment, project_name="base")
        with Verbs(base) as verbs:
            verbs.done("up")
            verbs.done("upload")
            for answer in ("bird", "dog", "cat"):
                base.model(answer)
                verbs.done("train", "--yes")
                self.facts = ledger(base)["facts"]
                self.models[answer] = self.facts["artifact"]

    def repository(self, folder: Path, name: str, hosting: str) -> Tiny:
        """A repository whose image is that of the base, and whose model answers `cat`."""
        made = Tiny(folder, self.local.environment, project_name=name, hosting=hosting)
        made.set(bucket=f'"base-{ACCOUNT}-us-east-1"', role=f'"{self.facts["role"]}"')
        file = made.folder / f"deploy/ledger/{ACCOUNT}-us-east-1.json"
        file.parent.mkdir()
        file.write_text(json.dumps({"facts": {"image": self.facts["image"]}, "entries": {}}))
        self.give(made, "cat")
        return made

    def give(self, repository: Tiny, answer: str) -> None:
        """The next model to deploy, and what it must answer."""
        repository.set(artifact=f'"{self.models[answer]}"')
        repository.model(answer)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Base]:
    with account(tmp_path_factory.mktemp("account")) as local:
        yield Base(local, tmp_path_factory.mktemp("base") / "base")


def endpoint(base: Base, name: str) -> dict[str, Any]:
    return base.local.client("sagemaker").describe_endpoint(EndpointName=name)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "hosting,settings",
    [
        ("realtime", {"strategy": '"canary"', "step_seconds": "1", "instance_count": "2"}),
        ("serverless", {}),
        ("async", {}),
    ],
)
def test_an_endpoint_is_updated_in_place_and_goes_back_from_a_model_that_answers_otherwise(
    base: Base, tmp_path: Path, hosting: str, settings: dict[str, str]
) -> None:
    name = f"penguins-{hosting}"
    repository = base.repository(tmp_path / "repository", name, hosting)
    repository.hosting(**settings)
    with Verbs(repository) as verbs:
        verbs.done("deploy", "--yes")
        first = endpoint(base, name)
        base.give(repository, "dog")
        verbs.done("deploy", "--yes")
        second = endpoint(base, name)
        assert second["CreationTime"] == first["CreationTime"]
        assert second["EndpointConfigName"] != first["EndpointConfigName"]
        assert verbs.done("invoke", "local_test/payloads/records.csv").startswith("dog")
        base.give(repository, "bird")
        repository.model("cow")
        said = verbs.refused("deploy", "--yes")
        assert "it begins with b'bird'" in said and "rolled back" in said
        assert endpoint(base, name)["EndpointConfigName"] == second["EndpointConfigName"]
        assert verbs.done("invoke", "local_test/payloads/records.csv").startswith("dog")
        verbs.done("down")
    assert leftovers(base.local, name) == {}


def test_an_endpoint_goes_on_scaling_after_a_new_model_and_a_new_instance_type(
    base: Base, tmp_path: Path
) -> None:
    name = "penguins-scaled"
    repository = base.repository(tmp_path / "repository", name, "realtime")
    repository.set(min_instances="2")
    scaling = base.local.client("application-autoscaling")
    asked = {"ServiceNamespace": "sagemaker", "ResourceId": f"endpoint/{name}/variant/main"}

    def serves() -> tuple[int, str]:
        (variant,) = endpoint(base, name)["ProductionVariants"]
        return variant["CurrentInstanceCount"], variant["DeployedImages"][0]["SpecifiedImage"]

    def policies() -> Any:
        return scaling.describe_scaling_policies(**asked)["ScalingPolicies"]

    with Verbs(repository) as verbs:
        for verb in ("deploy", "scale"):
            verbs.done(verb, "--yes")
        wait(lambda: serves()[0] == 2)
        base.give(repository, "dog")
        verbs.done("deploy", "--yes")
        assert serves()[0] == 2 and len(policies()) == 1
        before = policies()[0]["PolicyARN"]
        repository.hosting(instance_type='"ml.m5.xlarge"')
        verbs.done("deploy", "--yes")
        assert policies()[0]["PolicyARN"] != before, "AWS refuses a new type while the variant scales"
        assert "nothing to do" in verbs.done("scale", "--yes")
        verbs.done("down")
    assert leftovers(base.local, name) == {}


def test_an_asynchronous_endpoint_scales_to_zero_and_back_and_takes_a_new_model_meanwhile(
    base: Base, tmp_path: Path
) -> None:
    name = "penguins-queue"
    repository = base.repository(tmp_path / "repository", name, "async")

    def instances() -> int:
        return int(endpoint(base, name)["ProductionVariants"][0]["CurrentInstanceCount"])

    with Verbs(repository) as verbs:
        for verb in ("deploy", "scale"):
            verbs.done(verb, "--yes")
        wait(lambda: instances() == 0)
        assert "cat" in verbs.survive(signal.SIGKILL, "async")
        base.give(repository, "dog")
        verbs.done("deploy", "--yes")  # without an instance nothing would prove the new model
        assert verbs.done("async").startswith("dog")
        verbs.done("down")
    assert leftovers(base.local, name) == {}


def test_without_an_endpoint_a_batch_job_answers_and_a_model_is_all_that_deploy_makes(
    base: Base, tmp_path: Path
) -> None:
    repository = base.repository(tmp_path / "repository", "penguins-batch", "batch")
    with Verbs(repository) as verbs:
        for verb in ("deploy", "transform"):
            verbs.done(verb, "--yes")
        assert (repository.folder / "transformed/records.csv.out").read_text().strip() == "cat"
        assert "penguins-batch" not in str(base.local.client("sagemaker").list_endpoints()["Endpoints"])
        verbs.done("down")
    assert leftovers(base.local, "penguins-batch") == {}
