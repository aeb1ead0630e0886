"""What a training job prints is what SageMaker's regexes read."""

from __future__ import annotations

import re

import pytest
from byoc import metrics


def test_whole_numbers_keep_all_their_digits() -> None:
    assert metrics.line({"step": 1234567, "loss": 0.25}) == "step=1234567; loss=0.25;"


NAMES = ("rmse", "loss", "validation:rmse", "val-loss", "val.loss", "val/loss", "test_loss")


@pytest.mark.parametrize("value", [3.0, -0.25, 1e-9, 1.5e12, float("nan"), float("inf"), float("-inf")])
def test_every_metric_that_is_printed_is_found_by_its_regex(value: float) -> None:
    printed = metrics.line({"loss": value, "validation_loss": 9.0})
    [definition] = metrics.definitions(["loss"])
    [found] = re.findall(definition["Regex"], printed)
    assert float(found) == pytest.approx(value, nan_ok=True)


@pytest.mark.parametrize("order", [NAMES, NAMES[::-1]])
def test_a_regex_reads_its_own_metric_and_no_other(order: tuple[str, ...]) -> None:
    values = {name: float(number) for number, name in enumerate(NAMES)}
    printed = metrics.line({name: values[name] for name in order})
    found = {d["Name"]: re.findall(d["Regex"], printed) for d in metrics.definitions(NAMES)}
    assert found == {name: [f"{value:g}"] for name, value in values.items()}
