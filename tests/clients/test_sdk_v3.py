"""What SDK v3's users get, in local mode and on an account. Its installation has 730 MB: once per release."""

from __future__ import annotations

from pathlib import Path

import pytest
from environments import Step

Steps = dict[str, Step]

pytestmark = pytest.mark.matrix


@pytest.mark.parametrize("step", ["plain", "with_a_command"])
def test_model_trainer_trains_the_images_own_model(v3: Steps, step: str) -> None:
    assert "model.joblib" in v3[step].artifact()
    assert "epochs=4, first_c=0.5" in v3[step].log


def test_model_trainer_runs_the_users_script_instead(v3: Steps, repository: Path) -> None:
    rows = len((repository / "local_test/opt_ml/input/data/train/penguins.csv").read_text().splitlines())
    assert v3["with_a_script"].artifact()["mine.txt"] == f"4 0.5 {rows}".encode()


def test_a_model_that_was_trained_on_an_account_is_deployed_and_predicts(v3: Steps, repository: Path) -> None:
    expected = (repository / "local_test/payloads/expected.csv").read_text()
    assert v3["account"].done() == expected
