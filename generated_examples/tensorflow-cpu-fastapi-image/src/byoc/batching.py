"""Dynamic batching: concurrent requests of one worker share a call of predict().

Off unless model.py sets BATCHING. It pays where one large prediction is cheaper than many small ones, as on a
GPU, and costs each request up to `max_delay_seconds`.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# What a model may declare and two of which can be joined: an array of rows, or a list of texts or images.
Joinable = NDArray[Any] | list[Any]
Predict = Callable[[Any], Sequence[Any]]


@dataclass(frozen=True)
class Batching:
    """How many rows one call may get, and how long its first request waits for others."""

    max_rows: int = 64
    max_delay_seconds: float = 0.005


@dataclass(frozen=True)
class _Request:
    inputs: Joinable
    answer: "Future[Sequence[Any]]"

    def fits(self, other: "_Request") -> bool:
        """Whether both can be joined."""
        mine, theirs = self.inputs, other.inputs
        if isinstance(mine, list) or isinstance(theirs, list):
            return True
        return mine.shape[1:] == theirs.shape[1:] and mine.dtype.kind == theirs.dtype.kind


class LateThread:
    """A daemon thread that starts on first use: a fork would lose one that was there before it."""

    def __init__(self, run: Callable[[], None], name: str) -> None:
        self._run, self._name = run, name
        self._starting = threading.Lock()
        self._has_started = False

    def start(self) -> None:
        """Start it, if it has not been."""
        if self._has_started:
            return
        with self._starting:
            if not self._has_started:
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
                self._has_started = True


class Batcher:
    """Stacks the rows of waiting requests, predicts once, and gives each request its own rows back."""

    def __init__(self, predict: Predict, options: Batching) -> None:
        self._predict = predict
        self._options = options
        self._waiting: queue.SimpleQueue[_Request] = queue.SimpleQueue()
        self._thread = LateThread(self._run, "batcher")

    def submit(self, inputs: Joinable) -> "Future[Sequence[Any]]":
        """The predictions for these rows, once their batch is done; or the error that they alone cause."""
        self._thread.start()
        request = _Request(inputs, Future())
        self._waiting.put(request)
        return request.answer

    def _run(self) -> None:
        left_over: _Request | None = None
        while True:
            batch = [left_over or self._waiting.get()]
            left_over = self._fill(batch)
            self._answer(batch)

    def _fill(self, batch: list[_Request]) -> _Request | None:
        """Add requests until the batch is full or its time is up. Returns one that begins the next batch."""
        deadline = time.monotonic() + self._options.max_delay_seconds
        rows = len(batch[0].inputs)
        while rows < self._options.max_rows:
            try:
                request = self._waiting.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return None
            rows += len(request.inputs)
            if rows > self._options.max_rows or not request.fits(batch[0]):
                return request
            batch.append(request)
        return None

    def _answer(self, batch: list[_Request]) -> None:
        try:
            inputs = _joined([request.inputs for request in batch])
            predictions = self._predict(inputs)
            if len(predictions) != len(inputs):
                raise ValueError(f"predict() returned {len(predictions)} predictions for {len(inputs)} rows")
        except BaseException as error:
            if len(batch) == 1:
                batch[0].answer.set_exception(error)
                return
            # One request's rows may have spoilt it for all: each alone, the others are answered.
            for request in batch:
                self._answer([request])
            return
        start = 0
        for request in batch:
            request.answer.set_result(predictions[start : start + len(request.inputs)])
            start += len(request.inputs)


def _joined(inputs: Sequence[Joinable]) -> Joinable:
    if isinstance(inputs[0], list):
        return [item for items in inputs for item in items]
    return np.concatenate(inputs) if len(inputs) > 1 else inputs[0]
