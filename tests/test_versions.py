"""`make versions`: the newest versions that can be installed together, within bounds that have reasons."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
from helpers import ROOT

from sagegen import catalogue


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, which finds the uv of this environment."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    spec = importlib.util.spec_from_file_location("versions", ROOT / "scripts/versions.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "versions", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wheels of our own: a library 1.0 to 3.0, and an application whose newest refuses 3.0."""
    for name, version, needs in (
        ("sagegenlib", "1.0", ""), ("sagegenlib", "2.0", ""), ("sagegenlib", "3.0", ""),
        ("sagegenapp", "1.0", ""),
        ("sagegenapp", "1.5", "sagegenlib<3"),
    ):  # fmt: skip
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        metadata += f"Requires-Dist: {needs}\n" if needs else ""
        with zipfile.ZipFile(tmp_path / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
            info = f"{name}-{version}.dist-info"
            wheel.writestr(f"{info}/METADATA", metadata)
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))


def test_pins_move_together_and_a_bound_holds(versions: ModuleType, index: None) -> None:
    both = versions.Group("both", "3.11", (("a.yml", "sagegenapp[x]==1.0"), ("a.yml", "sagegenlib==1.0")))
    assert versions.newest(both, []) == {"sagegenapp": "1.5", "sagegenlib": "2.0"}
    alone = versions.Group("alone", "3.11", (("b.yml", "sagegenlib==1.0"),))
    assert versions.newest(alone, []) == {"sagegenlib": "3.0"}
    bound = {"package": "sagegenlib", "allowed": "<3", "files": ["b.yml"], "why": "a reason"}
    assert versions.newest(alone, [bound]) == {"sagegenlib": "2.0"}
    assert versions.newest(alone, [bound | {"files": ["a.yml"]}]) == {"sagegenlib": "3.0"}


def test_a_pin_keeps_its_extras_its_reason_and_its_neighbours(versions: ModuleType) -> None:
    text = '  - {pin: "jax[cuda13]==0.1.2", why: brings CUDA}\n  - {pin: other==1.0, why: jax}\n'
    after, changes = versions.moved(text, ["jax[cuda13]==0.1.2"], {"jax": "0.2.0", "other": "9"})
    assert after == text.replace("0.1.2", "0.2.0")
    assert changes == ["jax[cuda13]==0.1.2 → jax[cuda13]==0.2.0"]


def test_every_pin_of_every_combination_is_moved(versions: ModuleType) -> None:
    known = {pin["name"].lower() for group in versions.groups(ROOT) for _, pin in group.pins()}
    pins = [
        requirement["pin"]
        for c in catalogue.product()
        for requirement in [*c.context["requirements"], *c.context["st"]["requirements"]]
    ]
    assert {re.split(r"[\[=]", pin)[0].lower() for pin in pins} <= known
    assert {"uv", "ruff", "boto3", "pydantic", "pyarrow", "pillow"} <= known


def test_every_bound_has_a_reason_and_holds_now(versions: ModuleType) -> None:
    from packaging.specifiers import SpecifierSet

    for bound in tomllib.loads((ROOT / "versions.toml").read_text())["bound"]:
        assert bound["why"]
        found = [
            pin["version"]
            for group in versions.groups(ROOT)
            for file, pin in group.pins()
            if pin["name"] == bound["package"] and file in bound.get("files", [file])
        ]
        assert found and all(version in SpecifierSet(bound["allowed"]) for version in found), bound


def test_the_locks_have_every_tool_of_ours_with_hashes() -> None:
    from packaging.requirements import Requirement

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extra in ("dev", "docs"):
        lock = (ROOT / f"locks/{extra}.txt").read_text()
        pins = dict(
            re.findall(
                r"^([\w.-]+)(?:\[[^\]]+\])?==([\w.]+)[^\n]* \\\n    --hash=sha256:", lock, re.MULTILINE
            )
        )
        for text in extras[extra]:
            wanted = Requirement(text)
            name = re.sub(r"[-_.]+", "-", wanted.name).lower()
            assert name in pins, f"{name}: run make versions"
            assert pins[name] in wanted.specifier, f"{name}: run make versions"
