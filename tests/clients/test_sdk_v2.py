"""What SDK v2's users get, in local mode and on an account."""

from __future__ import annotations

from pathlib import Path

import pytest
from environments import Step

Steps = dict[str, Step]


def expected(repository: Path) -> str:
    return (repository / "local_test/payloads/expected.csv").read_text()


def test_a_model_that_fit_trained_on_data_from_s3_is_deployed_and_predicts(
    v2: Steps, repository: Path
) -> None:
    assert "model.joblib" in v2["fit"].artifact()
    assert v2["deploy"].done() == expected(repository)


def test_transform_line_by_line_gives_a_line_for_each_record(v2: Steps, repository: Path) -> None:
    assert v2["transform"].done() == expected(repository)


def test_a_second_fit_starts_from_the_first_ones_model(v2: Steps) -> None:
    assert "the previous model has a validation loss of" in v2["fit_again"].log
    assert "model.joblib" in v2["fit_again"].artifact()


def test_the_users_script_trains_instead_of_the_images_model(v2: Steps, repository: Path) -> None:
    rows = len((repository / "local_test/opt_ml/input/data/train/penguins.csv").read_text().splitlines())
    assert v2["fit_a_script"].artifact() == {"mine.txt": f"4 0.5 {rows}".encode()}


def test_two_hosts_without_an_engine_for_them_are_refused_in_words_that_the_user_sees(v2: Steps) -> None:
    for step in ("fit_on_two_hosts", "account_on_two_hosts"):
        assert v2[step].raised, v2[step]
    assert "set instance_count=1" in v2["fit_on_two_hosts"].log
    assert "set instance_count=1" in v2["account_on_two_hosts"].raised.splitlines()[-1]


def test_fit_deploy_and_predict_on_an_account_give_what_local_mode_gives(v2: Steps, repository: Path) -> None:
    assert v2["account"].done() == expected(repository)


@pytest.mark.matrix
def test_two_hosts_leave_one_complete_model(two_hosts: Step) -> None:
    """Local mode stops both when the first one ends: the one that saves must not be cut short."""
    assert "byoc-manifest.json" in two_hosts.artifact()
    missing = [w for w in ("of 2: Hyperparameters", "epoch=6;", "test_accuracy=") if w not in two_hosts.log]
    assert not missing, two_hosts.log
