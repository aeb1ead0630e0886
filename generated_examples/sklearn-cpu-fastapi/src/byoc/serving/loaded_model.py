"""The model behind the web application: loaded once, asked from many threads."""

import functools
import importlib
import os
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from byoc import framework, gpu, manifest, paths, payloads
from byoc.batching import Batcher
from byoc.errors import RequestError
from byoc.processes import say
from byoc.serving import gunicorn_hooks, limits, standby
from byoc.serving.costs import Costs
from byoc.serving.plan import plan as make_plan

INVOCATIONS = Counter("invocations_total", "Requests to /invocations by HTTP status.", ["status"])
# Looked up once for each status: every request needs one.
_with_status = functools.cache(INVOCATIONS.labels)
INLINE = Counter("invocations_inline_total", "Requests for which all else in the worker waits: short ones.")
LATENCY = Histogram("invocation_seconds", "Time from a complete request to its response.")


@dataclass(frozen=True)
class Response:
    """An HTTP response, whatever the web framework."""

    status: int
    body: bytes
    media_type: str = "text/plain"


class Service:
    """One worker's model. Making one loads it; nothing is served before."""

    def __init__(self) -> None:
        plan = make_plan()
        if run_dir := standby.folder():
            gpu.claim(run_dir)
        try:
            folder = _model_dir()  # first: where there is no model, nobody shall wait for the framework
            say(framework.prepare(threads=plan.compute_threads))
            self._module: ModuleType = importlib.import_module("model")
            gunicorn_hooks.imported()
            self._features: tuple[str, ...] = tuple(getattr(self._module, "FEATURES", ()))
            self._accepts_missing = bool(getattr(self._module, "ACCEPTS_MISSING", False))
            manifest.verify(folder, self._features)
            self._model: Any = self._module.load(folder)
            self._warm_up()
        except Exception as error:
            traceback.print_exc()
            reason = " ".join(f"the model cannot be loaded: {type(error).__name__}: {error}".split())
            say(reason)
            standby.report(standby.FAILED, reason)
            raise SystemExit(1) from None
        self._limits = limits.current()
        self._costs = Costs()
        options = getattr(self._module, "BATCHING", None)
        self._batcher = Batcher(self._predict, options) if options else None
        self.request_threads = plan.request_threads
        self._concurrency = plan.workers * plan.request_threads

    def _warm_up(self) -> None:
        """Predict once: frameworks compile on first use, and a ready model has answered (S-14)."""
        if self._features:
            self._module.predict(self._model, np.zeros((1, len(self._features))))

    @property
    def max_body_bytes(self) -> int:
        """Largest request body; a larger one is answered 413."""
        return self._limits.payload_bytes

    @property
    def timeout_seconds(self) -> int:
        """How long a client waits for a prediction."""
        return self._limits.timeout_seconds

    def is_short(self, size: int) -> bool:
        """Whether a body of so many bytes is answered faster than a thread is woken."""
        return self._costs.is_short(size)

    @property
    def batches(self) -> bool:
        """Whether model.py asks for dynamic batching; then `submit` is the way to ask."""
        return self._batcher is not None

    def invoke(self, body: bytes, content_type: str | None, accept: str | None) -> Response:
        """Answer one POST /invocations. The client's mistakes are 4xx with a one-line reason (S-28)."""
        started = time.perf_counter()
        try:
            media_type = payloads.negotiate(accept, content_type)
            inputs = payloads.decode(body, content_type, self._features, self._accepts_missing)
            response = self._encoded(self._predict(inputs), len(inputs), media_type)
        except BaseException as error:
            response = _failed(error)
        self._noted(response, started, len(body))
        return response

    def submit(self, body: bytes, content_type: str | None, accept: str | None) -> "Future[Response]":
        """The same, answered when the batch is that this request becomes part of."""
        started = time.perf_counter()
        answer: Future[Response] = Future()

        def finish(predictions: "Future[Sequence[Any]]") -> None:
            try:
                response = self._encoded(predictions.result(), len(inputs), media_type)
            except BaseException as error:
                response = _failed(error)
            self._noted(response, started, len(body))
            answer.set_result(response)

        try:
            assert self._batcher
            media_type = payloads.negotiate(accept, content_type)
            inputs = payloads.decode(body, content_type, self._features, self._accepts_missing)
            self._batcher.submit(inputs).add_done_callback(finish)
        except RequestError as error:
            answer.set_result(_failed(error))
        return answer

    def _predict(self, inputs: payloads.Array) -> Sequence[Any]:
        predictions: Sequence[Any] = self._module.predict(self._model, inputs)
        return predictions

    def _encoded(self, predictions: Sequence[Any], rows: int, media_type: str) -> Response:
        if len(predictions) != rows:
            raise ValueError(f"predict() returned {len(predictions)} predictions for {rows} rows")
        return Response(200, payloads.encode(predictions, media_type), media_type)

    def _noted(self, response: Response, started: float, size: int) -> None:
        seconds = time.perf_counter() - started
        self._costs.learn(size, seconds)
        LATENCY.observe(seconds)
        _with_status(response.status).inc()

    def too_large(self) -> Response:
        """The answer to a body over the limit."""
        _with_status(413).inc()
        return refusal(413, f"the body is larger than {self.max_body_bytes} bytes; send smaller batches")

    def too_slow_a_client(self) -> Response:
        """The answer to a request whose body does not arrive."""
        _with_status(408).inc()
        return refusal(408, f"the body was not complete after {self.timeout_seconds} s")

    def too_slow(self) -> Response:
        """The answer to a request whose prediction hangs."""
        _with_status(504).inc()
        return refusal(504, f"the prediction took longer than {self.timeout_seconds} s")

    def execution_parameters(self) -> dict[str, int | str]:
        """The answer to GET /execution-parameters (B-04)."""
        return limits.execution_parameters(self._concurrency)


def _failed(error: BaseException) -> Response:
    """The client's mistakes are told to the client, the model's to the log."""
    if isinstance(error, RequestError):
        return refusal(error.status, error.reason)
    traceback.print_exception(error)
    return refusal(500, "the model failed on this request; its log says why")


def refusal(status: int, reason: str) -> Response:
    """An error as one line of text, of which SageMaker passes on at most 2048 bytes (S-28)."""
    return Response(status, reason.encode()[:2047] + b"\n")


def metrics() -> Response:
    """All workers' metrics in Prometheus' text format (S-77)."""
    registry = REGISTRY
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return Response(200, generate_latest(registry), "text/plain; version=0.0.4; charset=utf-8")


def _model_dir() -> Any:
    folder = paths.model()
    if not folder.is_dir() or not any(folder.iterdir()):
        raise FileNotFoundError(f"{folder} is empty; SageMaker puts the artifact of a training job there")
    return folder
