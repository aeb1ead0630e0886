"""What a container was given is shared among its workers."""

from __future__ import annotations

from pathlib import Path

import pytest
from byoc import machine


def test_workers_take_one_gpu_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(machine.GPU_COUNT_VARIABLE, "2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # and put back afterwards
    assert [machine.claim_gpu(tmp_path) for _ in range(3)] == [0, 1, None]
