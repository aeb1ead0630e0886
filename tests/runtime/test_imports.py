"""A package that lacks a system library fails the build, whether or not model.py imports it at its top."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
from byoc import framework, imports

NO_SUCH_FILE = "cannot open shared object file: No such file or directory"


@pytest.fixture
def requirements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A requirements.txt beside the packages that it names."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "requirements.txt"


def install(folder: Path, name: str, code: str) -> None:
    """A package whose distribution is called as people call it, and its module with underscores."""
    module = name.replace("-", "_").lower()
    (folder / f"{module}.py").write_text(code)
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "RECORD").write_text(f"{module}.py,,\n")


def test_a_package_that_only_train_imports_and_that_lacks_a_library_is_named(requirements: Path) -> None:
    install(requirements.parent, "Lacking-Boost", f'raise OSError("libgomp.so.1: {NO_SUCH_FILE}")')
    requirements.write_text("# ours\nlacking_boost[scikit-learn]==1.0  # trains\n")
    with pytest.raises(ImportError, match=r"^lacking_boost needs the system library libgomp\.so\.1$"):
        imports.check(requirements)


@pytest.mark.parametrize(
    "code",
    [
        f'raise ImportError("libcuda.so.1: {NO_SUCH_FILE}")',
        'raise RuntimeError("no GPU is visible")',
        "raise SystemExit(1)",
        "",
    ],
)
def test_a_package_that_lacks_only_what_the_host_brings_passes(
    requirements: Path, code: str, request: pytest.FixtureRequest
) -> None:
    name = f"picky{abs(hash(request.node.name))}"
    install(requirements.parent, name, code)
    install(requirements.parent, f"{name}-else", f'raise OSError("libgomp.so.1: {NO_SUCH_FILE}")')
    requirements.write_text(f"-c constraints.txt\n./requirements/wheel.whl\n{name}>=1\n")
    imports.check(requirements)


def test_a_model_py_that_cannot_be_imported_fails_the_build(
    requirements: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (requirements.parent / "model.py").write_text("import lacking_altogether\n")
    monkeypatch.delitem(sys.modules, "model", raising=False)
    monkeypatch.delitem(sys.modules, "byoc.imports")
    monkeypatch.setattr(framework, "prepare", lambda threads: "")
    monkeypatch.setattr(sys, "argv", ["imports", str(requirements)])
    with pytest.raises(ModuleNotFoundError, match="lacking_altogether"):
        runpy.run_module("byoc.imports", run_name="__main__")
