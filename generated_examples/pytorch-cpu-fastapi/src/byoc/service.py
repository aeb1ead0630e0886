"""The model behind the web application: loaded once per worker, asked from many threads."""

import importlib
import os
import time
import traceback
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from byoc import codecs, framework, gpu, limits, paths, standby, workers
from byoc.errors import RequestError
from byoc.processes import say

INVOCATIONS = Counter("invocations_total", "Requests to /invocations by HTTP status.", ["status"])
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
        plan = workers.plan()
        if folder := standby.folder():
            gpu.claim(folder)
        say(framework.prepare(threads=plan.compute_threads))
        try:
            self._module: ModuleType = importlib.import_module("model")
            self._features: tuple[str, ...] = tuple(getattr(self._module, "FEATURES", ()))
            self._model: Any = self._module.load(_model_dir())
            self._warm_up()
        except Exception as error:
            traceback.print_exc()
            reason = " ".join(f"the model cannot be loaded: {type(error).__name__}: {error}".split())
            say(reason)
            standby.report(standby.FAILED, reason)
            raise SystemExit(1) from None
        self._limits = limits.current()
        self.request_threads = plan.request_threads
        self._concurrency = plan.workers * plan.request_threads
        standby.report(standby.READY)

    def _warm_up(self) -> None:
        """Predict once: frameworks compile on first use, and a ready model has answered (S-14)."""
        if self._features:
            self._module.predict(self._model, np.zeros((1, len(self._features))))

    @property
    def max_body_bytes(self) -> int:
        """Largest request body; a larger one is answered 413."""
        return self._limits.payload_bytes

    def invoke(self, body: bytes, content_type: str | None, accept: str | None) -> Response:
        """Answer one POST /invocations. The client's mistakes are 4xx with a one-line reason (S-28)."""
        started = time.perf_counter()
        try:
            media_type = codecs.negotiate(accept, content_type)
            inputs = codecs.decode(body, content_type, self._features)
            predictions = self._module.predict(self._model, inputs)
            if len(predictions) != len(inputs):
                raise ValueError(f"predict() returned {len(predictions)} predictions for {len(inputs)} rows")
            response = Response(200, codecs.encode(predictions, media_type), media_type)
        except RequestError as error:
            response = refusal(error.status, error.reason)
        except Exception:
            # The log gets the traceback; the client does not.
            traceback.print_exc()
            response = refusal(500, "the model failed on this request; its log says why")
        LATENCY.observe(time.perf_counter() - started)
        INVOCATIONS.labels(response.status).inc()
        return response

    def too_large(self) -> Response:
        """The answer to a body over the limit."""
        INVOCATIONS.labels(413).inc()
        return refusal(413, f"the body is larger than {self.max_body_bytes} bytes; send smaller batches")

    def execution_parameters(self) -> dict[str, int | str]:
        """The answer to GET /execution-parameters (B-04)."""
        return limits.execution_parameters(self._concurrency)


def refusal(status: int, reason: str) -> Response:
    """An error as one line of text, of which SageMaker passes on at most 2048 bytes (S-28)."""
    return Response(status, reason.encode()[:2047] + b"\n")


def metrics() -> Response:
    """All workers' metrics in Prometheus' text format (S-77)."""
    registry = CollectorRegistry()
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    else:
        registry.register(INVOCATIONS)
        registry.register(LATENCY)
    return Response(200, generate_latest(registry), "text/plain; version=0.0.4; charset=utf-8")


def _model_dir() -> Any:
    folder = paths.model()
    if not folder.is_dir() or not any(folder.iterdir()):
        raise FileNotFoundError(f"{folder} is empty; SageMaker puts the artifact of a training job there")
    return folder
