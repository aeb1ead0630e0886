"""`sagegen check` as a command: what it lists, and what it refuses before any container."""

from __future__ import annotations

import json
import os

from cli_tools import fails
from fake_engine import FakeEngine


def test_the_rules_are_listed_as_json_too(run):
    done = run("check", "--list", "--format", "json")
    assert done.returncode == 0, done.stderr
    listed = {row["id"]: row for row in json.loads(done.stdout)}
    assert listed["T-01"]["area"] == "train" and listed["T-01"]["level"] == "MUST"
    assert listed["CFG-20"]["area"] is None and listed["CFG-20"]["how"]
    table = run("check", "--list").stdout
    assert all(identity in table for identity in listed) and "WITHOUT A RULE OF THEIR OWN" in table
    assert "a table or JSON" in fails(run("check", "--list", "--format", "junit"), 2)


def test_a_name_that_no_image_can_have_is_one_line(run, tmp_path):
    with FakeEngine(tmp_path) as engine:
        done = run("check", "Bad Name", env=os.environ | {"DOCKER_HOST": engine.host})
        engine.shutdown()
    assert fails(done, 2).startswith("there is no image Bad Name")
