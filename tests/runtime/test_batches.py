"""How TensorFlow's and Keras' processes share the rows of a batch: the code is the same in both."""

from __future__ import annotations

import types

import numpy as np
import pytest
from helpers import ROOT

SOURCE = (ROOT / "template/frameworks/tensorflow/batches.py").read_text()
HEAD = "from __future__ import annotations\nimport numpy as np\n"


def processes(count: int) -> list[types.ModuleType]:
    """The module in each of so many processes, each of which sees only its own values."""
    modules = [types.ModuleType(f"process{rank}") for rank in range(count)]
    for rank, module in enumerate(modules):
        vars(module).update(RANK=rank, PROCESSES=count, total=lambda value: value)
        exec(HEAD + SOURCE, vars(module))
    return modules


def losses(rows: np.ndarray) -> np.ndarray:
    return (rows + 1.0) ** 2


@pytest.mark.parametrize("count, batch_size", [(1, 4), (2, 4), (3, 4), (2, 5), (4, 3)])
def test_the_mean_of_all_processes_means_is_the_mean_of_each_batch(count: int, batch_size: int) -> None:
    order = np.random.default_rng(0).permutation(11)
    parts = [list(module.Batches(len(order), batch_size)(order)) for module in processes(count)]
    means = [[np.mean(losses(rows) * weights) for rows, weights in part] for part in parts]
    whole = [np.mean(losses(order[start : start + batch_size])) for start in range(0, 11, batch_size)]
    assert np.mean(means, axis=0) == pytest.approx(whole)
    seen = np.concatenate([rows[weights > 0] for part in parts for rows, weights in part])
    assert sorted(seen) == list(range(11))


def test_processes_with_other_numbers_of_rows_take_the_same_steps_and_use_each_row_once() -> None:
    modules, counts = processes(2), np.array([5, 2])
    for module in modules:
        vars(module)["total"] = lambda own: counts
    parts = [list(m.Batches(counts[m.RANK], 4, sharded=True)(np.arange(counts[m.RANK]))) for m in modules]
    assert [len(part) for part in parts] == [3, 3]
    for part, count in zip(parts, counts, strict=True):
        assert [len(rows) for rows, _ in part] == [2, 2, 2]
        assert sorted(np.concatenate([rows[weights > 0] for rows, weights in part])) == list(range(count))
    means = [[np.mean(losses(rows) * weights) for rows, weights in part] for part in parts]
    whole = [losses(np.array(rows)).mean() for rows in ([0, 1, 0, 1], [2, 3], [4])]
    assert np.mean(means, axis=0) == pytest.approx(whole)


def test_the_only_process_takes_each_batch_as_it_is() -> None:
    [module] = processes(1)
    order = np.random.default_rng(0).permutation(5)
    for rows, weights in module.Batches(5, 2)(order):
        assert list(weights) == [1] * len(rows)
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    mean, variance = module.moments(x)
    assert mean == pytest.approx(x.mean(axis=0), abs=1e-6)
    assert variance == pytest.approx(x.var(axis=0), abs=1e-6)
