"""Every combination that sagegen offers, built and tested for real: one run of the matrix, one test each.

`make matrix` and `make test` leave these out; `pytest -m matrix` runs them, and .ci/run does.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from sagegen import catalogue
from sagegen.matrix.selection import tiers

pytestmark = pytest.mark.matrix

COMBINATIONS = [combination.id for combination in catalogue.provable()]
DISK = 15 * 10**9
#: What other programs may write to the same file system meanwhile.
OTHERS = 10**9


@pytest.fixture(scope="session")
def outcome(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `sagegen matrix` found out. It takes long: its progress and its table are shown as they come."""
    folder = Path(os.environ.get("SAGEGEN_MATRIX_DIR") or tmp_path_factory.mktemp("matrix"))
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "sagegen", "matrix", "--json", str(folder / "matrix.json")]
    command += ["--html", str(folder / "matrix.html"), "--logs", str(folder / "logs")]
    # Shared machines stall: two repetitions, which the table then names.
    command += ["--retries", "2"]
    if base_image := os.environ.get("SAGEGEN_BASE_IMAGE"):
        command += ["--base-image", base_image, "--build-arg", f"PYTHON_IMAGE={base_image}"]
    for argument in shlex.split(os.environ.get("SAGEGEN_BUILD_ARGS", "")):
        command += ["--build-arg", argument]
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        subprocess.run(command, check=False)
    result: dict[str, Any] = json.loads((folder / "matrix.json").read_text())
    return result


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_the_image_passes_its_own_tests_and_keeps_the_contract(
    combination: str, outcome: dict[str, Any]
) -> None:
    [row] = [row for row in outcome["combinations"] if row["id"] == combination]
    assert row["status"] == "passed", f"{row['failure']} – {row['log']}"
    assert row["tests"]["passed"] > 0
    assert row["tests"]["failed"] == 0
    assert row["check"]["PASS"] > 0
    assert row["check"]["FAIL"] == row["check"]["WARN"] == 0
    if tiers()[combination].measured:
        assert row["cold_start_seconds"] > 0
        assert row["peak_memory_bytes"] > 0


def test_the_images_of_a_heavy_layer_share_most_of_their_bytes(outcome: dict[str, Any]) -> None:
    groups: dict[str, list[float]] = defaultdict(list)
    for row in outcome["combinations"]:
        if row["built"]:
            groups[row["group"]].append(row["unique_bytes"] / row["image_bytes"])
    several = {group: shares for group, shares in groups.items() if len(shares) > 1}
    assert several
    assert {group: shares for group, shares in several.items() if max(shares) > 0.5} == {}


def test_the_matrix_stays_within_its_disk(outcome: dict[str, Any]) -> None:
    assert outcome["peak_disk_bytes"] <= DISK + OTHERS
