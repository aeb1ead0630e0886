"""The promises about time, each as a ratio against a baseline in the same run."""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT

PAIRS = 3


def seconds(command: list[str | Path], folder: Path) -> float:
    """Of CPU time, its children's included: a busy machine changes that much less than the wall clock."""
    begun = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime - begun.ru_utime - begun.ru_stime


def test_new_takes_at_most_1_3_times_copier_copy(tmp_path):
    template = tmp_path / "template-only"
    shutil.copytree(ROOT / "template", template / "template")
    shutil.copy(ROOT / "copier.yml", template)
    ratios = []
    for number in range(PAIRS + 1):
        # In turns, and the first pair is a warm-up: both then see the same machine and the same caches.
        ours = seconds([sys.executable, "-m", "sagegen", "new", f"a{number}", "--defaults"], tmp_path)
        copier = [sys.executable, "-m", "copier", "copy", "--defaults", "--quiet", template, f"b{number}"]
        ratios.append(ours / seconds(copier, tmp_path))
    assert statistics.median(ratios[1:]) <= 1.3, ratios


@pytest.mark.skipif(not os.access(Path(sys.executable).with_name("sagegen"), os.X_OK), reason="not installed")
def test_help_takes_at_most_a_third_of_the_time_that_importing_copier_takes(tmp_path):
    ours = Path(sys.executable).with_name("sagegen")
    ratios = [
        seconds([ours, "--help"], tmp_path) / seconds([sys.executable, "-c", "import copier"], tmp_path)
        for _ in range(PAIRS + 1)
    ]
    assert statistics.median(ratios[1:]) <= 1 / 3, ratios
