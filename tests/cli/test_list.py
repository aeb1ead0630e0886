"""`sagegen list`: for people, and as JSON for the workflow."""

from __future__ import annotations

import json
import os

from helpers import COMBOS

from sagegen import catalogue


def test_json_says_what_exists_and_why_not(run):
    done = run("list", "--json")
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)
    axes = {"data", "devices", "python_versions"}
    assert set(listed) == {"version", "frameworks", "stacks", "combinations"} | axes
    assert [c["id"] for c in listed["combinations"] if c["exists"]] == [c.id for c in COMBOS]
    for combination in listed["combinations"]:
        assert set(combination) == {"id", "group", "answers", "base_image", "exists", "reason", "proof"}
        assert combination["exists"] == (combination["reason"] is None)
        assert combination["base_image"].startswith("python:3.")
    by_name = {framework["name"]: framework for framework in listed["frameworks"]}
    assert by_name.keys() == set(catalogue.choices("framework"))
    assert [backend["name"] for backend in by_name["keras"]["backends"]] == ["tensorflow", "jax", "torch"]
    assert by_name["pytorch"]["backends"] == []
    assert any(base.startswith("nvidia/cuda:") for base in by_name["pytorch"]["bases"]["gpu"])
    assert set(by_name["keras"]["requirements"]) == {
        f"{backend}-{device}" for backend in ("tensorflow", "jax", "torch") for device in ("cpu", "gpu")
    }


def test_a_narrow_terminal_breaks_no_name(run):
    done = run("list", env=os.environ | {"COLUMNS": "40"})
    assert done.returncode == 0, done.stderr
    assert all(len(line) <= 40 for line in done.stdout.splitlines() if "proven" not in line.lower())
    for name in ("scikit-learn==1", "tensorflow[and-cuda]==", "keras-tensorflow-cpu", "python:3.13-slim"):
        assert name in done.stdout


def test_the_table_names_every_value(run):
    done = run("list")
    assert done.returncode == 0
    for word in (
        "sklearn",
        "keras",
        "fastapi",
        "flask",
        "tensorflow[and-cuda]==",
        "not proven",
        "3.11",
        "gpu",
        "Data: table, text, image",
    ):
        assert word in done.stdout
