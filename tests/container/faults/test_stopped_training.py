"""Training in the scikit-learn image: SIGTERM at every moment of a job, and a full disk (T-51, T-60)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .containers import LABEL, docker
from .images import STACKS, Subject

REPOSITORY = Path(__file__).parents[3] / "generated_examples/sklearn-cpu-fastapi"
SWEEP = Path(__file__).with_name("sweep.py")


# Training is the same in each stack.
@pytest.mark.parametrize("image", STACKS[:1], indirect=True)
def test_a_stop_at_any_moment_and_a_full_disk_end_as_they_are_told(image: Subject) -> None:
    found: dict[str, Any] = json.loads(
        docker(
            *("run", "--rm", "--label", LABEL, "--tmpfs", "/disk:size=2m", "--entrypoint", "python"),
            *("--volume", f"{REPOSITORY}/src/model.py:/opt/program/model.py:ro"),
            *("--volume", f"{REPOSITORY}/local_test/opt_ml/input:/input:ro"),
            *("--volume", f"{SWEEP}:/sweep.py:ro", image.image, "/sweep.py"),
            seconds=900,
        ).splitlines()[-1]
    )
    saved = 0
    for moment, (code, failure, left) in found["ends"].items():
        assert not [name for name in left if ".tmp-" in name], moment
        if code == 0:
            assert failure == "", moment
            assert left, moment
            saved += 1
        else:
            assert failure == "the job was stopped before it left a model or a checkpoint", moment
            assert left == [], moment
    assert 0 < saved < len(found["ends"])
    assert "No space left on device" in found["full"]
