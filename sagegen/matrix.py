"""`sagegen matrix`: build, test, check and measure every combination in Docker.

Combinations are grouped by the heavy layer of their image. Builds run one after another, so the
heavy layer is built once; tests run in parallel. When a group ends its images
go, so the disk never holds more than a few groups.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Any

from sagegen import __version__, catalogue, proof
from sagegen.catalogue import Combination
from sagegen.engine import ContainerFailed, DiskWatch, Engine, Layers, answering
from sagegen.errors import FAILED, USAGE, SagegenError
from sagegen.report import Board, print_table, write_html, write_json

GB = 10**9
STEP_TIMEOUT = 1200.0
STOP_GRACE = 10.0
#: Disk that a group may need while it is built: its images, the installer's cache of the same size, and room
#: to work.
BUILD_NEED = {"cpu": 8 * GB, "gpu": 16 * GB}
#: What it is given until its tests end: while those of one GPU group run, the next one is built.
GROUP_SHARE = {"cpu": 3 * GB, "gpu": 11 * GB}
#: Beside the model: the web server, the test process and the build of a neighbour.
WORK_MEMORY = 1 * GB
#: As many servers as a check may have at a time.
CHECK_SERVERS = 4


class StepFailed(Exception):
    """A step of a combination failed; the message says which and why."""


class Stopped(Exception):
    """The run is being interrupted."""


@dataclass
class Result:
    """What the run found out about one combination."""

    id: str
    group: str
    answers: dict[str, str]
    status: str = "waiting"
    built: bool = False
    build_seconds: float | None = None
    tests: dict[str, int] | None = None
    #: How many rules of `sagegen check` ended in PASS, WARN, FAIL and SKIP.
    check: dict[str, int] | None = None
    check_seconds: float | None = None
    #: What the check looked at twice, and what it had found at first.
    check_again: list[str] = field(default_factory=list)
    image_bytes: int | None = None
    unique_bytes: int | None = None
    cold_start_seconds: float | None = None
    peak_memory_bytes: int | None = None
    failure: str | None = None
    #: Why a step was taken again, once for each time.
    retried: list[str] = field(default_factory=list)
    log: str | None = None


def matrix(
    framework: tuple[str, ...],
    keras_backend: tuple[str, ...],
    device: tuple[str, ...],
    stack: tuple[str, ...],
    python_version: tuple[str, ...],
    jobs: int | None,
    disk: int,
    base_image: str | None,
    build_arg: tuple[str, ...],
    json_file: Path | None,
    html_file: Path | None,
    proof_file: Path | None,
    logs: Path | None,
    retries: int,
    no_check: bool,
    keep: bool,
) -> int:
    """Run the selected combinations, print and write the results, and say whether all passed."""
    filters = {
        "framework": framework,
        "keras_backend": keras_backend,
        "device": device,
        "stack": stack,
        "python_version": python_version,
    }
    groups = select(filters)
    for argument in build_arg:
        if "=" not in argument:
            raise SagegenError(f"--build-arg {argument} has no value – write {argument}=VALUE", USAGE)
    if not shutil.which("make"):
        raise SagegenError("there is no make command – install GNU make")
    engine = Engine.connect()
    run = Run(
        engine,
        jobs=jobs or engine.cpus,
        disk=disk * GB,
        base_image=base_image,
        build_args=build_arg,
        logs=logs,
        retries=retries,
        check=not no_check,
        keep=keep,
    )
    with answering():
        outcome = run.run(groups)
    print_table(outcome)
    if json_file:
        write_json(outcome, json_file)
    if html_file:
        write_html(outcome, html_file)
    if proof_file:
        proof.record(proof_file, outcome)
    return 0 if all(result["status"] == "passed" for result in outcome["combinations"]) else FAILED


def select(filters: dict[str, tuple[str, ...]]) -> dict[str, list[Combination]]:
    """The combinations that pass every filter, by heavy layer, each under the name of its first group."""
    for question, wanted in filters.items():
        for value in wanted:
            if value not in (known := catalogue.choices(question)):
                raise SagegenError(f"no such {question}: {value} – choose {', '.join(known)}", USAGE)
    groups: dict[str, list[Combination]] = defaultdict(list)
    names: dict[str, str] = {}
    for c in catalogue.existing():
        if all(not wanted or c.answers.get(question) in wanted for question, wanted in filters.items()):
            groups[names.setdefault(_heavy_layer(c), c.group)].append(c)
    if not groups:
        raise SagegenError("no combination is left – see `sagegen list`", USAGE)
    # Groups of the same library one after the other, while the installer still has it.
    libraries = {name: group[0].context["build"]["title"] for name, group in groups.items()}
    order = list(dict.fromkeys(libraries.values()))
    return {name: groups[name] for name in sorted(groups, key=lambda name: order.index(libraries[name]))}


def _heavy_layer(combination: Combination) -> str:
    """What decides it: two frameworks, or both devices, may require the same."""
    return json.dumps([combination.context["requirements"], combination.answers["python_version"]])


class Budget:
    """An amount that threads share, granted in the order of asking."""

    def __init__(self, capacity: int, stop: threading.Event) -> None:
        self._capacity = self._left = capacity
        self._stop = stop
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, amount: int) -> Iterator[None]:
        """Hold `amount` for the block; who wants more than there is gets all of it, alone."""
        amount, ticket = min(amount, self._capacity), object()
        with self._changed:
            self._queue.append(ticket)
            try:
                while not self._stop.is_set() and (self._queue[0] is not ticket or self._left < amount):
                    self._changed.wait(0.5)
                if self._stop.is_set():  # also where somebody who ended has just made room
                    raise Stopped
                self._left -= amount
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._left += amount
                self._changed.notify_all()


@dataclass
class Run:
    """One run of the matrix: what its threads share."""

    engine: Engine
    jobs: int
    disk: int
    base_image: str | None
    build_args: tuple[str, ...]
    logs: Path | None
    retries: int
    check: bool
    keep: bool
    name: str = field(default_factory=lambda: f"sagegen-{os.getpid()}")

    def __post_init__(self) -> None:
        self.stop = threading.Event()
        self.slots = Budget(self.jobs, self.stop)
        self.memory = Budget(self.engine.free_memory(), self.stop)
        self.space = Budget(self.disk, self.stop)
        self.rendering, self.setting_up, self.building = (threading.Lock() for _ in range(3))
        self.watch = DiskWatch(self.engine)
        self.layers: dict[str, Layers] = {}
        self.log_folder = (self.logs or Path("matrix-logs")).absolute()

    def run(self, groups: dict[str, list[Combination]]) -> dict[str, Any]:
        """Run all groups and return the outcome as plain data."""
        self._require_disk(groups)
        results = {c.id: Result(c.id, c.group, c.answers) for group in groups.values() for c in group}
        begun, date = time.monotonic(), datetime.now(UTC)
        with (
            tempfile.TemporaryDirectory(prefix="sagegen-matrix-", ignore_cleanup_errors=True) as folder,
            self.watch,
            Board(list(results)) as self.board,
        ):
            self.folder = Path(folder)
            self._install_self()
            try:
                self._run_groups(groups, results)
            finally:
                self._tidy_logs(results.values())
        for name, own in self.layers.items():
            others = [layers for other, layers in self.layers.items() if other != name]
            results[name].unique_bytes = unique_bytes(own, others)
        return {
            "sagegen": __version__,
            "date": date.isoformat(timespec="seconds"),
            "engine": self.engine.version,
            "cpus": self.engine.cpus,
            "jobs": self.jobs,
            "seconds": round(time.monotonic() - begun, 1),
            "peak_disk_bytes": self.watch.peak,
            "combinations": [asdict(result) for result in results.values()],
        }

    def _require_disk(self, groups: dict[str, list[Combination]]) -> None:
        need = min(max(_disk(BUILD_NEED, group) for group in groups.values()), self.disk)
        if (disk := self.engine.disk()) and disk[1] < need:
            raise SagegenError(
                f"the engine has {disk[1] / GB:.0f} GB of free disk and this run needs {need / GB:.0f} GB "
                "– free some (docker system prune), or select less, such as --device cpu"
            )

    def _run_groups(self, groups: dict[str, list[Combination]], results: dict[str, Result]) -> None:
        every = [c for group in groups.values() for c in group]
        with ThreadPoolExecutor(len(groups)) as pool:
            try:
                for ended in [pool.submit(self._run_group, group, results) for group in groups.values()]:
                    ended.result()
            except BaseException:
                # A second Ctrl-C must not leave behind what the first one takes down.
                for signum in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(signum, signal.SIG_IGN)
                self.stop.set()
                self._sweep(every)  # a thread that waits for its container wakes up
                pool.shutdown()
                self._sweep(every)
                raise

    def _run_group(self, group: list[Combination], results: dict[str, Result]) -> None:
        with self.space.hold(_disk(GROUP_SHARE, group)):
            try:
                self._build_group(group, results)
                with ThreadPoolExecutor(len(group)) as pool:
                    list(pool.map(lambda c: self._prove(c, results[c.id]), group))
                # Alone on the machine: a neighbour's build would be measured as our cold start.
                with self.slots.hold(self.jobs):
                    for c in group:
                        self._measure(c, results[c.id])
            finally:
                self._sweep(group)

    def _build_group(self, group: list[Combination], results: dict[str, Result]) -> None:
        """Build one after the other, so that the heavy layer is built once.

        No other group builds meanwhile: making room for one would take that layer from the other.
        """
        while not self.building.acquire(timeout=0.5):
            if self.stop.is_set():
                raise Stopped
        try:
            if self.watch.growth() + _disk(BUILD_NEED, group) > self.disk:
                self.engine.prune_build_cache()
            for c in group:
                log = self._log(c)
                log.unlink(missing_ok=True)
                with self._noted(results[c.id], log), self._turn(c):
                    self._tried(self._build, c, results[c.id], log)
        finally:
            self.building.release()

    def _prove(self, combination: Combination, result: Result) -> None:
        """Test, which also trains, and check."""
        log = self._log(combination)
        if not result.built:
            return
        with self._noted(result, log):
            with self._turn(combination):
                self._tried(self._test, combination, result, log)
            if self.check:
                with self._turn(combination, servers=CHECK_SERVERS):
                    self._tried(self._check, combination, result, log)
            result.status = "proven"
            self.board.step(result.id, "proven, to be measured")

    def _measure(self, combination: Combination, result: Result) -> None:
        """Serve what the tests trained, and take its time and memory."""
        if result.status != "proven":
            return
        with self._noted(result, self._log(combination)):
            self.board.step(result.id, "measuring")
            start = self.engine.cold_start(
                self._image(combination), self._opt_ml(combination), self._project(combination)
            )
            result.cold_start_seconds = round(start.seconds, 2)
            result.peak_memory_bytes = start.peak_memory_bytes
            result.status = "passed"
            self.board.ended(result.id, result.status)

    @contextmanager
    def _noted(self, result: Result, log: Path) -> Iterator[None]:
        """Whatever one combination dies of, the others go on; its result and its log say what it was."""
        try:
            yield
        except Exception as error:
            if self.stop.is_set():
                raise Stopped from error
            expected = isinstance(error, StepFailed | ContainerFailed | SagegenError)
            result.failure = str(error) if expected else f"{type(error).__name__}: {error}"
            result.status, result.log = "failed", str(log)
            _append(log, f"\n{result.failure}\n")
            self.board.ended(result.id, result.status, f"{result.failure} – see {log}")

    @contextmanager
    def _turn(self, combination: Combination, servers: int = 1) -> Iterator[None]:
        """Hold a slot, and memory for so many servers, for the block."""
        server = combination.context["fw"]["worker_memory_mib"] * 2**20 * self.engine.cpus
        with self.slots.hold(1), self.memory.hold(servers * server + WORK_MEMORY):
            yield

    def _tried(
        self,
        step: Callable[[Combination, Result, Path], None],
        combination: Combination,
        result: Result,
        log: Path,
    ) -> None:
        """Take a step, as often as --retries allows; what went wrong before stays in the result."""
        while True:
            try:
                return step(combination, result, log)
            except StepFailed as failure:
                if self.stop.is_set() or len(result.retried) >= self.retries:
                    raise
                result.retried.append(str(failure))
                self.board.step(result.id, f"once more, because {failure}")

    def _build(self, combination: Combination, result: Result, log: Path) -> None:
        from sagegen.render import render

        self.board.step(result.id, "building")
        with self.rendering:  # Copier changes the working directory of the process at times
            shutil.rmtree(self._repository(combination), ignore_errors=True)
            render(self._repository(combination), combination.answers)
        result.build_seconds = self._make("build", combination, log)
        result.built = True
        result.image_bytes = self.engine.image_bytes(self._image(combination))
        self.layers[result.id] = self.engine.layers(self._image(combination))

    def _test(self, combination: Combination, result: Result, log: Path) -> None:
        self.board.step(result.id, "testing")
        with self.setting_up:
            self._make(f"{self._venv}/.tools", combination, log)
        try:
            self._make("test", combination, log)
        finally:
            result.tests = _read_junit(self._junit(combination))
        if not result.tests or not result.tests["passed"]:
            raise StepFailed("make test ran no test")

    def _check(self, combination: Combination, result: Result, log: Path) -> None:
        """`make check`, as the user of the repository would; a warning fails as a failure does."""
        self.board.step(result.id, "checking")
        self._report(combination).unlink(missing_ok=True)
        failed: StepFailed | None = None
        try:
            self._make("check", combination, log)
        except StepFailed as failure:  # one broken rule already; the report names them all
            failed = failure
        try:
            report = json.loads(self._report(combination).read_text())
        except (OSError, ValueError):
            raise failed or StepFailed("make check left no report") from None
        result.check, result.check_seconds = report["counts"], report["seconds"]
        result.check_again = report["again"]
        broken = [f"{v['outcome']} {v['id']}" for v in report["verdicts"] if v["outcome"] in ("FAIL", "WARN")]
        if broken:
            raise StepFailed(f"sagegen check: {', '.join(broken)}")
        if failed:
            raise failed

    def _make(self, target: str, combination: Combination, log: Path) -> float:
        """`make TARGET` in the generated repository, into its log; how long it took."""
        begun = time.monotonic()
        _append(log, f"$ make {target}\n")
        with log.open("a") as output:
            process = subprocess.Popen(
                # The shared tools are not installed again because another repository is younger.
                ["make", "--old-file=requirements-dev.txt", target],
                cwd=self._repository(combination),
                env=self._environment(combination),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches us alone, and we stop all that make started
            )
            try:
                self._wait(process, target, begun)
            finally:
                if process.poll() is None:
                    _end(process)
        if process.returncode:
            raise StepFailed(f"make {target} failed with status {process.returncode}: {_last_line(log)}")
        return round(time.monotonic() - begun, 1)

    def _wait(self, process: subprocess.Popen[bytes], target: str, begun: float) -> None:
        while True:
            try:
                process.wait(0.2)
                return
            except subprocess.TimeoutExpired:
                if self.stop.is_set():
                    raise Stopped from None
                if time.monotonic() - begun > STEP_TIMEOUT:
                    raise StepFailed(f"make {target} did not end in {STEP_TIMEOUT:.0f} s") from None

    def _environment(self, combination: Combination) -> dict[str, str]:
        """What the generated Makefile takes from its environment."""
        python = combination.answers["python_version"]
        build_args = [argument.replace("{python}", python) for argument in self.build_args]
        junit, scratch = self._junit(combination), self._scratch(combination)
        environment = {
            **os.environ,
            "PATH": f"{self._programs}{os.pathsep}{os.environ['PATH']}",
            "SAGEGEN_CHECK_JSON": str(self._report(combination)),
            # Its share of the machine: with all CPUs in sight, every server would start workers for them.
            "SAGEGEN_CHECK_CPUS": str(max(1, self.engine.cpus // self.jobs)),
            "IMAGE": self._image(combination),
            "VENV": self._venv,
            "PYTEST_ADDOPTS": f"--junitxml={junit} --basetemp={scratch}",
            "COMPOSE_PROJECT_NAME": self._project(combination),
            "BUILD_ARGS": " ".join(f"--build-arg {shlex.quote(argument)}" for argument in build_args),
        }
        if self.base_image:
            environment["BASE_IMAGE"] = self.base_image.replace("{python}", python)
        return environment

    @property
    def _venv(self) -> str:
        """One virtual environment for all repositories: their test tools are the same."""
        return str(self.folder / "venv")

    @property
    def _programs(self) -> Path:
        """A folder with this very sagegen, for `make check`."""
        return self.folder / "bin"

    def _install_self(self) -> None:
        program = self._programs / "sagegen"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m sagegen "$@"\n')
        program.chmod(0o755)

    def _log(self, combination: Combination) -> Path:
        return self.log_folder / f"{combination.id}.log"

    def _scratch(self, combination: Combination) -> Path:
        """Where the tests put their files."""
        return self.folder / combination.id / "scratch"

    def _opt_ml(self, combination: Combination) -> Path:
        """The sample training's /opt/ml, as the fixture `training` of the generated tests leaves it."""
        return self._scratch(combination) / "opt_ml0" / "sample"

    def _repository(self, combination: Combination) -> Path:
        return self.folder / combination.id / "repository"

    def _junit(self, combination: Combination) -> Path:
        return self.folder / combination.id / "junit.xml"

    def _report(self, combination: Combination) -> Path:
        return self.folder / combination.id / "check.json"

    def _image(self, combination: Combination) -> str:
        return f"sagegen-matrix/{combination.id}:{self.name}"

    def _project(self, combination: Combination) -> str:
        """The mark of everything that a combination starts, spelled as compose allows it."""
        return f"{self.name}-{combination.id}".replace(".", "-")

    def _sweep(self, combinations: list[Combination]) -> None:
        images = [self._image(c) for c in combinations]
        self.engine.sweep({self._project(c) for c in combinations}, images, keep=self.keep)

    def _tidy_logs(self, results: Iterable[Result]) -> None:
        """Keep the logs of failures, or all where --logs asks for them."""
        if self.logs:
            return
        for result in results:
            if result.status != "failed":
                (self.log_folder / f"{result.id}.log").unlink(missing_ok=True)
        with suppress(OSError):  # not empty, or never made
            self.log_folder.rmdir()


def unique_bytes(own: Layers, others: Iterable[Layers]) -> int:
    """Bytes of the layers that an image shares with none of `others`: layers are shared from the base up."""

    def shared(other: Layers) -> int:
        return sum(
            layer[1] for layer, _ in takewhile(lambda pair: pair[0] == pair[1], zip(own, other, strict=False))
        )

    return sum(size for _, size in own) - max(map(shared, others), default=0)


def _disk(by_device: dict[str, int], group: list[Combination]) -> int:
    return max(by_device[c.answers["device"]] for c in group)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop a process and its children as Ctrl-C would, so that tests take their containers down."""
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(STOP_GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _read_junit(file: Path) -> dict[str, int] | None:
    """How many tests passed, failed and were skipped."""
    try:
        suites = list(ElementTree.parse(file).getroot().iter("testsuite"))
    except (OSError, ElementTree.ParseError):
        return None

    def count(*names: str) -> int:
        return sum(int(suite.get(name, 0)) for suite in suites for name in names)

    failed, skipped = count("failures", "errors"), count("skipped")
    return {"passed": count("tests") - failed - skipped, "failed": failed, "skipped": skipped}


def _append(log: Path, text: str) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        file.write(text)


def _last_line(log: Path) -> str:
    """The last line that says something: make's own complaint only repeats that there was one."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line and not line.startswith("make")), "no output")
