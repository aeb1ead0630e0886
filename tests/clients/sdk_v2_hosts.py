"""What a user of SDK v2's local mode does with an image that trains on several hosts."""

from __future__ import annotations

from typing import Any

from program import Given, main
from sdk_v2 import estimator, files


def fit_on_two_hosts(given: Given, _: Any) -> str:
    one = estimator(given, "two", instance_count=2, hyperparameters={"epochs": 6})
    one.fit(files(given))
    return str(one.model_data)


if __name__ == "__main__":
    main(fit_on_two_hosts)
