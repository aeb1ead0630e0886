"""One declaration in model.py decides what predict gets; a wrong one is refused when model.py is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import byoc
import pytest
from byoc import inputs
from byoc.inputs import Images, Media, Numbers, Table, Text, boolean, category, number


@pytest.mark.parametrize(
    "declare, reason",
    [
        (lambda: Numbers(), "Numbers needs the names"),
        (lambda: Numbers("a", "a"), "a column twice: a, a"),
        (lambda: Numbers(1), "Numbers needs the names"),
        (lambda: Numbers("a "), "without spaces"),
        (lambda: Table(), "Table needs the names"),
        (lambda: Table(a=number), r"'a' must be number\(\)"),
        (lambda: Table({"a": number()}, a=boolean()), "a column twice"),
        (lambda: category(), "needs its values"),
        (lambda: category("x", ""), "needs its values"),
        (lambda: category("x", " y"), "without spaces"),
        (lambda: category("x", "x"), "a value twice"),
        (lambda: Media(), "needs the media types"),
        (lambda: Media("jpeg"), "needs the media types"),
        (lambda: inputs.declared(SimpleNamespace(INPUTS=("a", "b"))), "INPUTS is .* it must be Numbers"),
        (lambda: inputs.declared(SimpleNamespace(FEATURES="age")), "FEATURES is 'age'; it must be a tuple"),
        (lambda: inputs.declared(SimpleNamespace(INPUTS=Table)), "INPUTS is .* it must be Numbers"),
    ],
)
def test_a_wrong_declaration_is_refused_in_one_line(declare: Callable[[], Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as refused:
        declare()
    assert "\n" not in str(refused.value)


def test_features_mean_numbers() -> None:
    declared = inputs.declared(SimpleNamespace(FEATURES=("a", "b"), ACCEPTS_MISSING=True))
    assert isinstance(declared, Numbers)
    assert inputs.schema(declared) == inputs.schema(Numbers("a", "b", missing=True))
    assert inputs.declared(SimpleNamespace()) is None


@pytest.mark.parametrize(
    "declared, schema",
    [
        (
            Numbers("a", missing=True),
            {"type": "numbers", "columns": [{"name": "a", "type": "number", "optional": True}]},
        ),
        (
            Table({"a (cm)": category("x", "y")}, dataframe=True),
            {
                "type": "table",
                "columns": [{"name": "a (cm)", "type": "category", "optional": False, "values": ["x", "y"]}],
            },
        ),
        (Text(), {"type": "text"}),
        (Images(), {"type": "images"}),
        (Media("audio/WAV"), {"type": "media", "media_types": ["audio/wav"]}),
    ],
)
def test_the_schema_of_a_model_is_printed_as_json(tmp_path: Path, declared: Any, schema: Any) -> None:
    assert json.loads(json.dumps(inputs.schema(declared))) == schema


def test_python_m_byoc_inputs_prints_the_schema_of_model_py(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("from byoc.inputs import Text\nINPUTS = Text()\n")
    (tmp_path / "sklearn.py").write_text("__version__ = '1.0'\n")
    path = os.pathsep.join([str(tmp_path), *(str(Path(folder).parent) for folder in byoc.__path__)])
    command = [sys.executable, "-m", "byoc.inputs"]
    printed = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    assert json.loads(printed.stdout) == {"type": "text"}
