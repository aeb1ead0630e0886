"""The committed renders are what the template renders: bytes and executable bits."""

from __future__ import annotations

import json

import pytest
from helpers import tree

from sagegen import catalogue
from sagegen.examples import DIGESTS, FOLDER, SHIPPING, digests, shipped

REMEDY = "run `make examples` and review the diff"
# What users read and keep. Training on several hosts comes on top, where a framework can.
MOST_FILES, MOST_LINES = 31, 4_020
SEVERAL_HOSTS = ("distributed.py", "cluster.py", "hanging.py")


def test_the_examples_are_those_that_show_every_value():
    expected = {c.id for c in catalogue.covering()}
    assert {path.name for path in FOLDER.iterdir() if path.is_dir()} == expected, REMEDY


@pytest.mark.parametrize("combination", catalogue.covering(), ids=lambda c: c.id)
def test_an_example_is_what_is_rendered_now(combination, trees):
    kept, now = tree(FOLDER / combination.id), trees[combination.id]
    differ = sorted(path for path in kept.keys() | now.keys() if kept.get(path) != now.get(path))
    assert not differ, f"{REMEDY}: {differ}"


def test_every_other_combination_has_its_digests(rendered):
    kept = json.loads((FOLDER / DIGESTS).read_text())
    now = digests(rendered)
    differ = sorted(path for path in kept.keys() | now.keys() if kept.get(path) != now.get(path))
    assert not differ, f"{REMEDY}: {differ}"


def test_what_comes_after_docker_push_has_its_digests(tmp_path):
    kept, now = json.loads((FOLDER / SHIPPING).read_text()), digests(shipped(tmp_path))
    differ = sorted(path for path in kept.keys() | now.keys() if kept.get(path) != now.get(path))
    assert not differ, f"{REMEDY}: {differ}"


def test_the_runtime_of_a_repository_does_not_grow_unnoticed(rendered):
    for name, repository in rendered.items():
        modules = [m for m in (repository / "src/byoc").rglob("*.py") if m.name not in SEVERAL_HOSTS]
        lines = sum(len(module.read_text().splitlines()) for module in modules)
        assert len(modules) <= MOST_FILES and lines <= MOST_LINES, (name, len(modules), lines)
