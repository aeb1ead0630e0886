"""Training metrics: one way to print them, and the regexes by which SageMaker reads them (T-75)."""

import importlib
import json
import re
from collections.abc import Iterable, Mapping

NUMBER = r"([-+]?(?:[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?|nan|inf))"


def line(values: Mapping[str, float]) -> str:
    """`epoch=3; train_loss=0.251; validation_accuracy=0.98;`"""
    texts = {name: value if type(value) is int else f"{value:.6g}" for name, value in values.items()}
    return " ".join(f"{name}={text};" for name, text in texts.items())


def definitions(names: Iterable[str]) -> list[dict[str, str]]:
    """AlgorithmSpecification.MetricDefinitions of create_training_job, for metrics printed by `line`.

    White space or the start of the line precedes a name, so that `rmse` does not read `validation:rmse`.
    """
    return [{"Name": name, "Regex": rf"(?:^|\s){re.escape(name)}={NUMBER};"} for name in names]


def main() -> None:
    """Print the definitions of model.py's METRICS as JSON (`make metrics`)."""
    from byoc import framework

    framework.prepare(threads=1)
    model = importlib.import_module("model")
    print(json.dumps(definitions(model.METRICS), indent=2))


if __name__ == "__main__":
    main()
