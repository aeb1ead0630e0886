"""An artifact is loaded only by an image that can, and a hostile one is refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from byoc import inputs, manifest
from byoc.inputs import Numbers, Table, Text, category, number

SCHEMA = inputs.schema(Table(a=number(), b=category("x", "y", optional=True)))


def test_an_artifact_fits_the_image_that_wrote_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest.write(tmp_path, SCHEMA)
    manifest.verify(tmp_path, SCHEMA)
    assert capsys.readouterr().err == ""


def test_an_artifact_of_strangers_is_loaded_and_the_log_says_what_is_not_verified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "manifest.json").write_text('{"labels": ["cat"]}')
    manifest.verify(tmp_path, SCHEMA)
    assert "not verified" in capsys.readouterr().err


def changed(**changes: Any) -> Callable[[str], str]:
    return lambda text: json.dumps({**json.loads(text), **changes})


@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda text: text[: len(text) // 2], "damaged"),
        (lambda text: "\x00{", "damaged"),
        (lambda text: "[]", "damaged"),
        (lambda text: "[" * 50_000, "damaged"),
        (lambda text: '{"a":' * 12_000, "damaged"),
        (lambda text: text + " " * 10_000_000, "more than 65536 bytes"),
        (changed(framework=[1]), "damaged"),
        (changed(framework=None), "damaged"),
        (changed(framework={"a": "b"}), "damaged"),
        (changed(versions=["1"]), "damaged"),
        (changed(versions={"sklearn": {"a": 1}}), "damaged"),
        (changed(features="ab"), "damaged"),
        (changed(framework=["x" * 50_000]), "the artifact is for x"),
        (changed(framework=["cobol"]), "the artifact is for cobol"),
        (changed(features=["x" * 50_000]), "expects the columns"),
        (changed(features=["a", "c"]), "expects the columns"),
        (changed(inputs="ab"), "damaged"),
        (changed(inputs={"type": "table", "columns": "ab"}), "the artifact expects a, model.py says"),
        (changed(inputs={"type": "table", "columns": [{}]}), "model.py says {'name': 'a'"),
        (
            changed(inputs={"type": "table", "columns": [SCHEMA["columns"][0]]}),
            "expects nothing declared, model.py says {'name': 'b'",
        ),
        (
            changed(
                inputs={
                    **SCHEMA,
                    "columns": [SCHEMA["columns"][0], {**SCHEMA["columns"][1], "values": ["x"]}],
                }
            ),
            "'x'",
        ),
        (changed(inputs=inputs.schema(Text())), "expects text, model.py says table"),
        (changed(inputs=None), "expects nothing declared, model.py says table"),
        (changed(versions={"sklearn": "0.1"}), "written by sklearn 0.1"),
        (changed(versions={"sklearn": "0" * 50_000}), "written by sklearn 0"),
        (changed(versions={}), "written by sklearn unknown"),
    ],
)
def test_an_artifact_made_for_another_image_is_refused_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[str], str], reason: str
) -> None:
    monkeypatch.setattr(manifest, "_versions", lambda: {"sklearn": "1.9.1"})
    manifest.write(tmp_path, SCHEMA)
    file = tmp_path / manifest.FILE
    file.write_text(change(file.read_text()))
    with pytest.raises(manifest.ManifestError, match=reason) as refused:
        manifest.verify(tmp_path, SCHEMA)
    assert len(str(refused.value)) < 1000
    assert "\n" not in str(refused.value)


def test_an_older_artifact_that_names_columns_of_numbers_still_loads(tmp_path: Path) -> None:
    manifest.write(tmp_path, None)
    file = tmp_path / manifest.FILE
    older = json.loads(file.read_text())
    del older["inputs"]
    file.write_text(json.dumps({**older, "features": ["a", "b"]}))
    manifest.verify(tmp_path, inputs.schema(Numbers("a", "b")))
    file.write_text(json.dumps({**older, "features": []}))
    manifest.verify(tmp_path, None)
