"""Training metrics: one way to print them, and the regexes by which SageMaker reads them (T-75)."""

import re
from collections.abc import Iterable, Mapping

NUMBER = r"([-+]?(?:[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?|nan|inf))"


def line(values: Mapping[str, float]) -> str:
    """`epoch=3; train_loss=0.251; validation_accuracy=0.98;`"""
    return " ".join(f"{name}={value:.6g};" for name, value in values.items())


def definitions(names: Iterable[str]) -> list[dict[str, str]]:
    """AlgorithmSpecification.MetricDefinitions of create_training_job, for metrics printed by `line`."""
    return [{"Name": name, "Regex": rf"\b{re.escape(name)}={NUMBER};"} for name in names]
