"""The model behind the web application: loaded once, asked from many threads."""

import functools
import gc
import importlib
import os
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from byoc import framework, hooks, inputs, machine, manifest, paths, payloads
from byoc.batching import Batcher, LateThread
from byoc.errors import RequestError
from byoc.hooks import RawHeaders, Response
from byoc.machine import MIB
from byoc.payloads import bodies, encoding
from byoc.processes import say
from byoc.serving import gunicorn_hooks, settings
from byoc.serving.settings import Settings

INVOCATIONS = Counter("invocations_total", "Requests to /invocations by HTTP status.", ["status"])
# Looked up once for each status: every request needs one.
_with_status = functools.cache(INVOCATIONS.labels)
INLINE = Counter("invocations_inline_total", "Requests answered on the event loop, because they are short.")
LATENCY = Histogram("invocation_seconds", "Seconds from a complete request to its response.")

HUNG = 70  # EX_SOFTWARE of sysexits.h
# Longer than the web application, or nginx, waits for a prediction: the client knows by then.
HUNG_MARGIN_SECONDS = 12
WATCH_SECONDS = 0.5
# A body that a worker has no memory for yet waits so long, then it is refused.
MEMORY_SECONDS = 30
# Smaller bodies are answered whatever else is: even many of them need little.
LARGE_BYTES = MIB


class LoadedModel:
    """One worker's model. To make one is to load it; nothing is served before."""

    def __init__(self) -> None:
        self.settings: Settings = settings.read()
        run_dir = settings.run_dir()
        try:
            folder = _model_dir()  # first: without a model, nobody must wait for the framework
            if run_dir:
                machine.claim_gpu(run_dir)
            say(framework.prepare(threads=self.settings.compute_threads))
            self._module: ModuleType = importlib.import_module("model")
            # From here on there may be garbage. What was imported is none, and is not searched for any.
            gc.freeze()
            gc.enable()
            declared = inputs.declared(self._module)
            self._decode_hook = hooks.decoder(self._module)
            self._encode_hook = hooks.encoder(self._module)
            self._decode = payloads.decoder(declared, bool(getattr(self._module, "ACCEPTS_MISSING", False)))
            options = getattr(self._module, "BATCHING", None)
            if options and (self._decode_hook or isinstance(declared, inputs.Table)):
                raise ValueError("BATCHING joins arrays and lists; a Table or decode() makes neither")
            manifest.verify(folder, inputs.schema(declared))
            self._model: Any = self._module.load(folder)
            self._warm_up(declared)
        except Exception as error:
            traceback.print_exc()
            reason = " ".join(f"the model cannot be loaded: {type(error).__name__}: {error}".split())
            say(reason)
            gunicorn_hooks.report(settings.FAILED, reason)
            raise SystemExit(1) from None
        self._batcher = Batcher(self._predict, options) if options else None
        #: How many requests should be asked at a time: with batching, as many as fit into one batch.
        self.concurrency = max(self.settings.request_threads, options.max_rows if options else 0)
        self._costs = Costs()
        self._memory = _Memory(self.settings.working_bytes)
        self._watch = _Watch(self.settings)
        #: SageMaker hands it to the client: after a deployment it says which model answers.
        version = os.environ.get("MODEL_VERSION", "")
        self._version = {"X-Amzn-SageMaker-Custom-Attributes": version} if version else {}
        self._draining = str(run_dir / settings.DRAINING) if run_dir else ""

    @property
    def is_draining(self) -> bool:
        """Whether the container stops: each connection must be closed with its next answer."""
        return os.path.exists(self._draining)

    def is_short(self, size: int) -> bool:
        """Whether a body of so many bytes is answered sooner than a thread is woken."""
        return self._batcher is None and self._costs.is_short(size)

    def invoke(
        self, body: bytes, content_type: str | None, accept: str | None, headers: RawHeaders = ()
    ) -> Response:
        """Answer one POST /invocations. Errors of the client are 4xx with a one-line reason (S-28).

        Waits while other large bodies take the memory; 503 if that takes too long. Never raises.
        """
        try:
            with self._memory.taken(len(body)), self._watch:
                started = time.perf_counter()
                response = self._answer(body, content_type, accept, headers)
                seconds = time.perf_counter() - started
        except BaseException as error:
            return self.refused(error)
        if self._version:
            response = replace(response, headers={**response.headers, **self._version})
        self._costs.learn(len(body), seconds)  # only here: a refusal says nothing about a prediction's cost
        LATENCY.observe(seconds)
        _with_status(response.status).inc()
        return response

    def _answer(
        self, body: bytes, content_type: str | None, accept: str | None, headers: RawHeaders
    ) -> Response:
        media_type = "" if self._encode_hook else bodies.negotiate(accept, content_type)
        if self._decode_hook:
            model_inputs, count = self._decode_hook(body, content_type, headers), None
        else:
            model_inputs = self._decode(body, content_type)
            is_columns = isinstance(model_inputs, dict)
            count = len(next(iter(model_inputs.values())) if is_columns else model_inputs)
        try:
            if self._batcher:
                predictions = self._batcher.submit(model_inputs).result()
            else:
                predictions = self._module.predict(self._model, model_inputs)
        except Exception:
            if count is None or not payloads.is_untyped(model_inputs):
                raise
            traceback.print_exc()
            reason = "the model declares no types and failed on text or records; it may take numbers only"
            raise RequestError(400, reason) from None
        if self._encode_hook:
            return self._encode_hook(predictions, accept)
        return Response(encoding.encode(encoding.normalised(predictions, count), media_type), media_type)

    def _predict(self, model_inputs: Any) -> Any:
        """What can be divided among the requests of a batch."""
        return encoding.normalised(self._module.predict(self._model, model_inputs), None)

    def _warm_up(self, declared: inputs.Inputs | None) -> None:
        """Frameworks compile on first use, and a ready model has answered (S-14)."""
        if self._decode_hook or (sample := payloads.neutral(declared)) is None:
            return
        try:
            self._module.predict(self._model, sample)
        except Exception as error:
            if type(declared) is inputs.Numbers:
                raise
            # A made-up text or category may be none that the model knows, and FEATURES may be texts.
            say(f"predict() failed on a made-up input: {type(error).__name__}: {error}"[:500])

    def refused(self, error: BaseException) -> Response:
        """The response to a request that failed: the client's errors go to the client, others to the log."""
        if not isinstance(error, RequestError):
            if isinstance(error, encoding.PredictionsError):
                say(str(error))
            else:
                traceback.print_exception(error)
            error = RequestError(500, "the model failed on this request; its log says why")
        _with_status(error.status).inc()
        headers = {"Retry-After": "1"} if error.status == 503 else {}
        # SageMaker passes on at most 2048 bytes of it (S-28).
        body = error.reason.encode()[:2047] + b"\n"
        return Response(body, headers=headers, status=error.status)


class Costs:
    """What predictions took, by size of the request's body in powers of two."""

    # Less than a scheduler's slice: to hand such a prediction to a thread would take longer.
    SHORT_SECONDS = 0.002
    # A larger body is never short: whatever it holds, the event loop must not wait for its decoding.
    SHORT_BYTES = 65536
    # The share of the difference that each prediction teaches. One that takes ten milliseconds counts at
    # once; one that only had to wait for its CPU does not.
    SLOWER, FASTER = 0.2, 0.1

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}

    def is_short(self, size: int) -> bool:
        """Whether a prediction for so many bytes will be short; False if nothing is known."""
        return size <= self.SHORT_BYTES and self._seconds.get(size.bit_length(), 1.0) < self.SHORT_SECONDS

    def learn(self, size: int, seconds: float) -> None:
        """Remember what a successful prediction took."""
        key = size.bit_length()
        known = self._seconds.get(key, seconds)
        share = self.SLOWER if seconds > known else self.FASTER
        self._seconds[key] = known + share * (seconds - known)


class _Memory:
    """Admits as many large bodies at a time as a worker has memory for; one always."""

    def __init__(self, total: int) -> None:
        self._total = self._free = total
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, size: int) -> Iterator[None]:
        """A context in which a body of so many bytes may be worked on. To enter may raise RequestError."""
        if size <= LARGE_BYTES:
            yield
            return
        size = min(size, self._total)
        with self._changed:
            if not self._changed.wait_for(lambda: self._free >= size, MEMORY_SECONDS):
                raise no_memory()
            self._free -= size
        try:
            yield
        finally:
            with self._changed:
                self._free += size
                self._changed.notify_all()


class _Watch:
    """Ends this worker when every thread of it hangs in a prediction: gunicorn then starts another."""

    def __init__(self, current: Settings) -> None:
        self._threads = current.request_threads
        self._patience = current.timeout_seconds + HUNG_MARGIN_SECONDS
        self._since: dict[int, float] = {}
        self._thread = LateThread(self._run, "watch")

    def __enter__(self) -> None:
        self._thread.start()
        self._since[threading.get_ident()] = time.monotonic()

    def __exit__(self, *_: object) -> None:
        del self._since[threading.get_ident()]

    def _run(self) -> None:
        while True:
            time.sleep(WATCH_SECONDS)
            long_ago = time.monotonic() - self._patience
            if sum(since < long_ago for since in self._since.copy().values()) >= self._threads:
                say("every thread of this worker hangs in a prediction: the worker ends, to be replaced")
                os._exit(HUNG)


def no_memory() -> RequestError:
    """The refusal of a body that there is no memory for now."""
    return RequestError(503, "other large requests take all memory now; retry, or send smaller batches")


def metrics() -> Response:
    """All workers' metrics in Prometheus' text format (S-77)."""
    registry = REGISTRY
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return Response(generate_latest(registry), "text/plain; version=0.0.4; charset=utf-8")


def _model_dir() -> Path:
    folder = paths.model()
    if not folder.is_dir() or not any(folder.iterdir()):
        raise FileNotFoundError(f"{folder} is empty; SageMaker puts the artifact of a training job there")
    return folder
