"""What is measured of one contender in one round."""

import http.client
import io
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.containers import PORT, Container, Engine
from benchmarks.contenders import HERE, Contender
from benchmarks.errors import ContenderFailed
from benchmarks.load import TIMEOUT_SECONDS, Client, Load
from benchmarks.payloads import NPY, Payload, Request, Rows
from benchmarks.quiet import Machine

START_TIMEOUT = 120.0
POLL_SECONDS = 0.01
WARM_UP_SECONDS = 1.0
FEWEST_REQUESTS = 3
STARTS = 3
WINDOWS = 5
BATCHED_CONNECTIONS = 64
BATCHED_WIDTH = 8192  # as in batching/model.py
# A worker that idles keeps giving memory back for a moment.
SETTLE_SECONDS = 1.0

# The process tells its own age, so that neither the engine's start nor its end counts.
TELL_AGE = """
import time
ticks = int(open("/proc/self/stat").read().rpartition(")")[2].split()[19])
print(time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / 100)
"""
BARE_LOAD = "import sklearn, joblib; joblib.load('/opt/ml/model/model.joblib')" + TELL_AGE
BARE_IMPORT = "import joblib, numpy, sklearn.tree" + TELL_AGE

Values = dict[str, float]


@dataclass(frozen=True)
class Bench:
    """What all measures share."""

    engine: Engine
    client: Client
    machine: Machine
    rows: Rows
    work: Path
    seconds: float
    workers: int
    payloads: list[Payload]

    @property
    def model(self) -> Path:
        """The artifact's folder."""
        return self.work / "model"


def throughput(bench: Bench, contender: Contender, say: Callable[[str], None]) -> Values:
    """Every payload at full load, then one row at half of what it just reached."""
    values: Values = {}
    with _serving(bench, contender) as (container, request, _):
        for payload in bench.payloads:
            if not (wanted := bench.rows.request(payload, contender.routes)):
                continue
            try:
                values.update(_loaded(bench, container, payload, wanted))
            except ContenderFailed as error:
                say(f"{payload.title}: {error}")
        if rate := values.get("one_row.rate"):
            try:
                values.update(_paced(bench, container, request, rate / 2))
            except ContenderFailed as error:
                say(f"half of its own peak: {error}")
    return values


def _loaded(bench: Bench, container: Container, payload: Payload, request: Request) -> Values:
    request.check(_ask(container, request))
    if payload.connections == 1:
        time_of_one = bench.machine.quietly(partial(_one_by_one, bench, container, request))
        return {f"{payload.name}.p50": time_of_one}
    bench.client.saturate(container, request, payload.connections, WARM_UP_SECONDS)

    def window() -> tuple[Load, float]:
        before = container.cpu_seconds()
        load = bench.client.saturate(container, request, payload.connections, bench.seconds)
        return load, container.cpu_seconds() - before

    load, cpu = bench.machine.quietly(window)
    name = payload.name
    return {
        f"{name}.rate": load.rate,
        f"{name}.p50": load.p50,
        f"{name}.p99": load.p99,
        f"{name}.cpu": cpu / load.requests,
    }


def _one_by_one(bench: Bench, container: Container, request: Request) -> float:
    """The median time of one large request alone; wrk would lose the one that is under way when it stops."""
    times: list[float] = []
    while len(times) < FEWEST_REQUESTS or sum(times) < bench.seconds:
        begun = time.perf_counter()
        _ask(container, request)
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def _paced(bench: Bench, container: Container, request: Request, rate: float) -> Values:
    """Medians of several windows: where the machine lends a CPU to others for 1 % of one, that is its p99."""
    pace = partial(bench.client.pace, container, request, rate, bench.seconds)
    windows = [bench.machine.quietly(pace) for _ in range(WINDOWS)]
    if unanswered := sum(window.unanswered for window in windows):
        raise ContenderFailed(f"{unanswered} requests stayed without an answer")
    return {
        f"paced.{name}": statistics.median(getattr(window, name) for window in windows)
        for name in ("p50", "p99", "p999")
    }


def start(bench: Bench, contender: Contender, say: Callable[[str], None]) -> Values:
    """Cold start to the first answer, and what any server must do before: import, and load the model."""
    mounts = {bench.model: "/opt/ml/model"}

    def load() -> float:
        return float(bench.engine.python(contender.image, BARE_LOAD, mounts))

    def serve() -> float:
        with _serving(bench, contender) as (_, _, age):
            return age

    bare, served = [], []
    for _ in range(STARTS):
        bare.append(bench.machine.quietly(load))
        served.append(bench.machine.quietly(serve))
    return {"cold.bare": statistics.median(bare), "cold.seconds": statistics.median(served)}


def memory(bench: Bench, contender: Contender, say: Callable[[str], None]) -> Values:
    """Memory of one worker and of several, and what serving adds to one worker's own."""
    if not contender.workers_variable:
        return {}
    values: Values = {}
    for name, workers in (("one", 1), ("many", bench.workers)):
        environment = {contender.workers_variable: str(workers)}
        with _serving(bench, contender, environment) as (container, request, _):
            time.sleep(SETTLE_SECONDS)
            _, private = container.memory()
            bench.client.saturate(container, request, 16, WARM_UP_SECONDS * 2)
            time.sleep(SETTLE_SECONDS)
            total, after = container.memory()
        values[f"memory.{name}"] = total
        values[f"memory.{name}.growth"] = max(0, after - private)
    values["memory.workers"] = bench.workers
    return values


def training(bench: Bench, contender: Contender, say: Callable[[str], None]) -> Values:
    """`docker run IMAGE train` until the first line of user code, and the import that it must do."""
    if contender.role != "ours":
        return {}
    opt_ml = bench.work / f"{contender.name}-opt-ml"
    shutil.rmtree(opt_ml, ignore_errors=True)
    shutil.copytree(bench.work / contender.name / "local_test" / "opt_ml", opt_ml)
    (opt_ml / "input" / "config" / "hyperparameters.json").write_text("{}", encoding="utf-8")

    def train() -> float:
        log = bench.engine.train(contender.image, opt_ml)
        return float(log.partition("user code after ")[2].split()[0])

    def load() -> float:
        return float(bench.engine.python(contender.image, BARE_IMPORT, {}))

    first, bare = [], []
    for _ in range(STARTS):
        first.append(bench.machine.quietly(train))
        bare.append(bench.machine.quietly(load))
    return {"train.seconds": statistics.median(first), "train.bare": statistics.median(bare)}


def batching(bench: Bench, contender: Contender, say: Callable[[str], None]) -> Values:
    """One matrix multiplication per row, with and without dynamic batching."""
    if contender.role != "ours":
        return {}
    out = io.BytesIO()
    np.save(out, np.ones((1, BATCHED_WIDTH), dtype=np.float32))
    request = Request("/invocations", NPY, out.getvalue(), (), "")
    values: Values = {}
    for switch in ("off", "on"):
        environment = {"BATCHING": switch}
        if switch == "on":  # as many requests at a time as there are connections
            environment["SAGEMAKER_MODEL_SERVER_THREADS"] = str(BATCHED_CONNECTIONS)
        with bench.engine.serving(
            contender.image, bench.model, environment, program=HERE / "batching" / "model.py"
        ) as container:
            _first_answer(container, request)
            bench.client.saturate(container, request, BATCHED_CONNECTIONS, WARM_UP_SECONDS)
            load = bench.machine.quietly(
                partial(bench.client.saturate, container, request, BATCHED_CONNECTIONS, bench.seconds)
            )
        values[f"batching.{switch}"] = load.rate
    return values


MEASURES: Mapping[str, Callable[[Bench, Contender, Callable[[str], None]], Values]] = {
    "start": start,  # first: it also brings the image's files into the page cache
    "throughput": throughput,
    "memory": memory,
    "training": training,
    "batching": batching,
}


@contextmanager
def _serving(
    bench: Bench, contender: Contender, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[Container, Request, float]]:
    """A container that answered the one row rightly, that request, and its age when it did."""
    request = bench.rows.request(bench.rows.payloads[0], contender.routes)
    if not request:
        raise ContenderFailed("it has no route for one row")
    with bench.engine.serving(contender.image, bench.model, environment or {}) as container:
        response, age = _first_answer(container, request)
        request.check(response)
        yield container, request, age


def _first_answer(container: Container, request: Request) -> tuple[bytes, float]:
    """The answer to the first request that got one, and the container's age then."""
    while True:
        try:
            return _ask(container, request), container.age
        except ContenderFailed:
            if not container.is_running():
                raise ContenderFailed(f"it ended: {container.log()}") from None
            if container.age > START_TIMEOUT:
                raise ContenderFailed(f"no answer in {START_TIMEOUT:.0f} s: {container.log()}") from None
        time.sleep(POLL_SECONDS)


def _ask(container: Container, request: Request) -> bytes:
    connection = http.client.HTTPConnection(container.address, PORT, timeout=TIMEOUT_SECONDS)
    try:
        headers = {"Content-Type": request.media_type, "Accept": request.media_type}
        connection.request("POST", request.path, request.body, headers)
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise ContenderFailed(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()
    if response.status != 200:
        raise ContenderFailed(f"status {response.status}: {body[:200]!r}")
    return body
