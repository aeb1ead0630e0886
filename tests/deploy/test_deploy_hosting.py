"""Each kind of hosting, and scaling, survives a new model: updated in place, compared, rolled back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deployments import Tiny, Verbs, account, leftovers
from emulators import Emulator, wait


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with account(tmp_path_factory.mktemp("account")) as local:
        yield local


def endpoint(local: Emulator, name: str) -> dict[str, Any]:
    return local.client("sagemaker").describe_endpoint(EndpointName=name)  # type: ignore[no-any-return]


def train(repository: Tiny, verbs: Verbs, answer: str, **more: str) -> None:
    repository.model(answer, **more)
    verbs.done("train", "--yes")


@pytest.mark.parametrize(
    "hosting,settings",
    [
        ("realtime", {"strategy": '"canary"', "step_seconds": "1", "instance_count": "2"}),
        ("serverless", {}),
        ("async", {}),
    ],
)
def test_an_endpoint_is_updated_in_place_and_goes_back_from_a_model_that_answers_otherwise(
    local: Emulator, tmp_path: Path, hosting: str, settings: dict[str, str]
) -> None:
    name = f"penguins-{hosting}"
    repository = Tiny(tmp_path / "repository", local.environment, project_name=name, hosting=hosting)
    repository.hosting(**settings)
    with Verbs(repository) as verbs:
        for verb in ("up", "upload", "train", "deploy"):
            verbs.done(verb, "--yes")
        first = endpoint(local, name)
        train(repository, verbs, "dog")
        verbs.done("deploy", "--yes")
        second = endpoint(local, name)
        assert second["CreationTime"] == first["CreationTime"]
        assert second["EndpointConfigName"] != first["EndpointConfigName"]
        assert verbs.done("invoke", "local_test/payloads/records.csv").startswith("dog")
        train(repository, verbs, "bird")
        repository.model("cow")
        said = verbs.refused("deploy", "--yes")
        assert "it begins with b'bird'" in said and "rolled back" in said
        assert endpoint(local, name)["EndpointConfigName"] == second["EndpointConfigName"]
        assert verbs.done("invoke", "local_test/payloads/records.csv").startswith("dog")
        verbs.done("down")
    assert leftovers(local, name) == {}


def test_an_endpoint_goes_on_scaling_after_a_new_model_and_a_new_instance_type(
    local: Emulator, tmp_path: Path
) -> None:
    name = "penguins-scaled"
    repository = Tiny(tmp_path / "repository", local.environment, project_name=name)
    repository.set(min_instances="2")
    scaling = local.client("application-autoscaling")
    asked = {"ServiceNamespace": "sagemaker", "ResourceId": f"endpoint/{name}/variant/main"}

    def serves() -> tuple[int, str]:
        (variant,) = endpoint(local, name)["ProductionVariants"]
        return variant["CurrentInstanceCount"], variant["DeployedImages"][0]["SpecifiedImage"]

    def policies() -> Any:
        return scaling.describe_scaling_policies(**asked)["ScalingPolicies"]

    with Verbs(repository) as verbs:
        for verb in ("up", "upload", "train", "deploy", "scale"):
            verbs.done(verb, "--yes")
        wait(lambda: serves()[0] == 2)
        train(repository, verbs, "dog")
        verbs.done("deploy", "--yes")
        assert serves()[0] == 2 and len(policies()) == 1
        before = policies()[0]["PolicyARN"]
        repository.hosting(instance_type='"ml.m5.xlarge"')
        verbs.done("deploy", "--yes")
        assert policies()[0]["PolicyARN"] != before, "AWS refuses a new type while the variant scales"
        assert "nothing to do" in verbs.done("scale", "--yes")
        verbs.done("down")
    assert leftovers(local, name) == {}


def test_an_asynchronous_endpoint_scales_to_zero_and_back_and_takes_a_new_model_meanwhile(
    local: Emulator, tmp_path: Path
) -> None:
    name = "penguins-queue"
    repository = Tiny(tmp_path / "repository", local.environment, project_name=name, hosting="async")

    def instances() -> int:
        return int(endpoint(local, name)["ProductionVariants"][0]["CurrentInstanceCount"])

    with Verbs(repository) as verbs:
        for verb in ("up", "upload", "train", "deploy", "scale"):
            verbs.done(verb, "--yes")
        wait(lambda: instances() == 0)
        assert verbs.done("async").startswith("cat")
        train(repository, verbs, "dog")
        verbs.done("deploy", "--yes")  # without an instance nothing would prove the new model
        assert verbs.done("async").startswith("dog")
        verbs.done("down")
    assert leftovers(local, name) == {}


def test_without_an_endpoint_a_batch_job_answers_and_a_model_is_all_that_deploy_makes(
    local: Emulator, tmp_path: Path
) -> None:
    repository = Tiny(
        tmp_path / "repository", local.environment, project_name="penguins-batch", hosting="batch"
    )
    with Verbs(repository) as verbs:
        for verb in ("up", "upload", "train", "deploy", "transform"):
            verbs.done(verb, "--yes")
        assert (repository.folder / "transformed/records.csv.out").read_text().strip() == "cat"
        assert "penguins-batch" not in str(local.client("sagemaker").list_endpoints()["Endpoints"])
        verbs.done("down")
    assert leftovers(local, "penguins-batch") == {}
