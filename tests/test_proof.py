"""What `new`, `list` and the README say about the last complete matrix: of this template, or nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from helpers import ROOT

from sagegen import catalogue, listing, new, proof

OUTCOME = {
    "date": "2026-11-20T10:00:00+00:00",
    "combinations": [
        {"id": "sklearn-cpu-fastapi", "status": "passed", "image_bytes": 587_000_000,
         "tests": {"passed": 12}, "check": {"PASS": 91}, "cold_start_seconds": 2.5},
        {"id": "sklearn-cpu-flask", "status": "failed", "image_bytes": 5, "tests": None, "check": None},
    ],
}  # fmt: skip


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the template, with the proof of it."""
    shutil.copytree(ROOT / "template", tmp_path / "template")
    shutil.copy(ROOT / "copier.yml", tmp_path)
    digest = proof.digest
    monkeypatch.setattr(proof, "digest", lambda: digest(tmp_path))
    monkeypatch.setattr(proof, "FILE", tmp_path / "proof.json")
    proof.record(proof.FILE, OUTCOME)
    proof.proofs.cache_clear()
    yield tmp_path
    proof.proofs.cache_clear()


def change(checkout: Path) -> None:
    (checkout / "template/project/Dockerfile.jinja").write_text("FROM scratch\n")
    proof.proofs.cache_clear()


def test_new_and_list_say_when_the_template_was_proven(checkout, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    new.new(tmp_path / "out", True, (), None, False, False)
    listing.show(as_json=False)
    shown = capsys.readouterr().out
    assert "Proven: sklearn-cpu-fastapi: 12 tests and 91 rules passed on 2026-11-20, image 0.59 GB" in shown
    assert (
        f"1 of {len(catalogue.provable())} combinations passed the complete matrix, last on 2026-11-20."
        in shown
    )
    assert "yes, 12 tests 2026-11-20" in " ".join(shown.split())
    known = {c["id"]: c["proof"] for c in listing.document()["combinations"]}
    assert known["sklearn-cpu-fastapi"]["cold_start_seconds"] == 2.5
    assert known["sklearn-cpu-fastapi"]["rules"] == 91 and known["sklearn-cpu-flask"] is None


def test_what_is_never_copied_changes_no_proof(checkout):
    (checkout / "template/project/src/__pycache__").mkdir(exist_ok=True)
    (checkout / "template/project/src/__pycache__/train.cpython-313.pyc").write_bytes(b"")
    proof.proofs.cache_clear()
    assert proof.proofs()


def test_a_template_that_has_changed_since_is_not_called_proven(checkout, tmp_path, capsys):
    change(checkout)
    new.new(tmp_path / "out", True, (), None, False, False)
    listing.show(as_json=False)
    shown = capsys.readouterr().out
    assert "Proven:" not in shown and "12 tests" not in shown
    assert "Not proven since the last change of the template; the last proof was on 2026-11-20." in shown
    assert not any(c["proof"] for c in listing.document()["combinations"])


def test_results_are_merged_with_those_of_the_same_template_only(checkout):
    again = {**OUTCOME, "combinations": [{**OUTCOME["combinations"][0], "id": "pytorch-cpu-flask"}]}
    proof.record(proof.FILE, again)
    assert recorded() == ["pytorch-cpu-flask", "sklearn-cpu-fastapi"]
    change(checkout)
    proof.record(proof.FILE, again)
    assert recorded() == ["pytorch-cpu-flask"]


def recorded() -> list[str]:
    return list(json.loads(proof.FILE.read_text())["combinations"])


def test_the_readme_names_the_day_of_the_last_complete_matrix():
    assert f"The complete matrix last passed on {proof.last_date()}" in (ROOT / "README.md").read_text()


def test_a_proof_is_of_a_combination_that_exists():
    known = json.loads(proof.FILE.read_text())
    assert set(known["combinations"]) <= {c.id for c in catalogue.provable()}
