"""What the generated README promises."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from moto import mock_aws

from sagegen.render import render


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme") / "repository"
    render(folder, {"project_name": "churn-2"})
    return folder


@pytest.fixture(scope="module")
def without_deploy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme") / "none"
    render(folder, {"deploy": "none"})
    return folder


def test_every_verb_of_the_readme_is_a_target(repository: Path) -> None:
    named = set(re.findall(r"`make ([a-z-]+)", (repository / "README.md").read_text()))
    targets = set(re.findall(r"^([a-z-]+):", (repository / "Makefile").read_text(), re.MULTILINE))
    assert {"up", "upload", "train-job", "deploy", "invoke", "down"} <= named <= targets


def test_the_endpoint_in_ten_lines_of_boto3_runs_as_it_stands(
    without_deploy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [code] = re.findall(r"```python\n(.*?)```", (without_deploy / "README.md").read_text(), re.DOTALL)
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(variable, "testing")
    with mock_aws():
        exec(code, {})
    assert capsys.readouterr().out.startswith("b'")


def test_every_file_whose_owner_the_readme_names_exists(repository: Path) -> None:
    owners = (repository / "README.md").read_text().partition("## What is yours")[2].partition("\n## ")[0]
    named = [
        name for name in re.findall(r"`([^`]+)`", owners) if "/" in name or "." in name or name[0].isupper()
    ]
    assert len(named) > 15
    assert [name for name in named if not list(repository.glob(name))] == []
