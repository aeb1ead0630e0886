"""The runtime's unit tests import `byoc` from a rendered scikit-learn repository, without scikit-learn."""

from __future__ import annotations

import atexit
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from sagegen import catalogue
from sagegen.examples import render_example

# Rendered while pytest collects, because the test modules import from it.
_FOLDER = Path(tempfile.mkdtemp(prefix="byoc-"))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)
render_example(next(c for c in catalogue.existing() if c.id == "sklearn-cpu-fastapi"), _FOLDER / "repository")
sys.path.insert(0, str(_FOLDER / "repository" / "src"))


@pytest.fixture
def opt_ml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty /opt/ml for this test."""
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    return tmp_path
