"""Modules found by the index are the ones that a search would find."""

import os
import py_compile
import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path

import pytest

from byoc.common import index


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed modules, and an index of it alone."""
    folder = tmp_path / "installed"
    for name in ("single.py", "package/__init__.py", "package/inner.py", "package/deep/__init__.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "installed"))
    monkeypatch.setattr(sys, "base_prefix", sys.prefix)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    monkeypatch.setattr(sys, "meta_path", sys.meta_path[:])
    index.write(str(tmp_path / "index"))
    return folder


def use_index(installed: Path) -> index.Index | None:
    index.use(str(installed.with_name("index")))
    return next((finder for finder in sys.meta_path if isinstance(finder, index.Index)), None)


def test_the_index_finds_what_a_search_would_find(installed: Path) -> None:
    found = use_index(installed)
    assert found
    path: Sequence[str]
    for name, path in (
        ("single", [str(installed)]),
        ("package", [str(installed)]),
        ("package.inner", [str(installed / "package")]),
        ("package.deep", [str(installed / "package")]),
    ):
        searched = PathFinder.find_spec(name, path)
        spec = found.find_spec(name, path if "." in name else None)
        assert spec and searched
        assert (spec.name, spec.origin) == (searched.name, searched.origin)
        assert spec.submodule_search_locations == searched.submodule_search_locations
        assert spec.has_location == searched.has_location
        assert spec.cached == searched.cached
    assert not found.find_spec("absent")


def test_an_edited_module_is_compiled_again(installed: Path) -> None:
    def run() -> object:
        found = use_index(installed)
        spec = found and found.find_spec("single")
        assert spec and spec.loader
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.VALUE

    source = installed / "single.py"
    source.write_text("VALUE = 1")
    py_compile.compile(str(source))
    index.write(str(installed.with_name("index")))  # again, for a folder of bytecode is new
    assert run() == 1
    source.write_text("VALUE = 2 + 1")
    assert run() == 3


def test_a_module_of_your_own_comes_before_an_installed_one_of_that_name(
    installed: Path, tmp_path: Path
) -> None:
    own = tmp_path / "program"
    own.mkdir()
    (own / "single.py").touch()
    sys.path.insert(0, str(own))
    found = use_index(installed)
    assert found
    assert not found.find_spec("single")
    assert found.find_spec("package")


def test_a_package_that_changes_where_its_modules_lie_is_searched(installed: Path) -> None:
    found = use_index(installed)
    assert found
    assert not found.find_spec("package.inner", [str(installed / "elsewhere"), str(installed / "package")])
    assert not found.find_spec("package.inner", [str(installed / "elsewhere")])


def test_an_index_from_before_an_installation_is_not_used(installed: Path) -> None:
    later = installed.stat().st_mtime + 10
    os.utime(installed, (later, later))
    assert not use_index(installed)


def test_a_machine_without_an_index_is_searched_as_ever(installed: Path) -> None:
    installed.with_name("index").unlink()
    assert not use_index(installed)
