"""Dynamic batching: requests share a call of predict(), and none sees another's rows."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from byoc.batching import Batcher, Batching


def test_batched_requests_get_their_own_rows_in_order_from_one_prediction() -> None:
    calls: list[int] = []
    begun = threading.Event()

    def predict(inputs: np.ndarray) -> np.ndarray:
        calls.append(len(inputs))
        begun.wait()
        return inputs.sum(axis=1)

    batcher = Batcher(predict, Batching(max_rows=8, max_delay_seconds=0))
    first = batcher.submit(np.zeros((1, 2)))  # keeps the batcher busy while the others queue up
    others = [batcher.submit(np.full((2, 2), n)) for n in range(5)]
    begun.set()
    assert list(first.result(5)) == [0]
    assert [list(answer.result(5)) for answer in others] == [[2 * n, 2 * n] for n in range(5)]
    assert calls == [1, 8, 2]


def test_a_request_that_spoils_its_batch_fails_alone() -> None:
    def predict(inputs: np.ndarray) -> np.ndarray:
        if inputs.min() < 0:
            raise ValueError("negative")
        return inputs[:, 0]

    batcher = Batcher(predict, Batching(max_rows=64, max_delay_seconds=0.2))
    good, bad, other = (batcher.submit(np.full((1, 2), n)) for n in (1.0, -1.0, 2.0))
    assert list(good.result(5)) == [1.0]
    assert list(other.result(5)) == [2.0]
    with pytest.raises(ValueError, match="negative"):
        bad.result(5)


def test_rows_of_another_shape_are_never_stacked() -> None:
    batcher = Batcher(lambda inputs: [inputs.shape[1]] * len(inputs), Batching(max_delay_seconds=0.2))
    answers = [batcher.submit(np.zeros((1, columns))) for columns in (2, 3, 2)]
    assert [list(answer.result(5)) for answer in answers] == [[2], [3], [2]]
