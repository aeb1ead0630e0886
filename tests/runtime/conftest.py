"""The runtime's unit tests import `byoc` from a rendered scikit-learn repository, without scikit-learn."""

from __future__ import annotations

import atexit
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sagegen import catalogue
from sagegen.examples import render_example

# Rendered while pytest collects, because the test modules import from it.
_FOLDER = Path(tempfile.mkdtemp(prefix="byoc-"))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)
render_example(next(c for c in catalogue.existing() if c.id == "sklearn-cpu-fastapi"), _FOLDER / "repository")
sys.path.insert(0, str(_FOLDER / "repository" / "src"))

from byoc import framework  # noqa: E402
from byoc.serving.loaded_model import LoadedModel  # noqa: E402


@pytest.fixture
def opt_ml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty /opt/ml for this test."""
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def load(opt_ml: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., LoadedModel]:
    """Load a model.py with these names, beside a `predict` that answers what it was given."""
    (opt_ml / "model").mkdir()
    (opt_ml / "model/weights").touch()
    monkeypatch.setattr(framework, "prepare", lambda threads: "")

    def loaded(**names: Any) -> LoadedModel:
        module: Any = type(sys)("model")
        defaults = {"load": lambda folder: None, "predict": lambda model, inputs: list(inputs)}
        module.__dict__.update({**defaults, **names})
        monkeypatch.setitem(sys.modules, "model", module)
        return LoadedModel()

    return loaded
