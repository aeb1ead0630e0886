"""One run of the matrix: when each step of each combination may begin, and what happens to its result."""

from __future__ import annotations

import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sagegen import __version__
from sagegen.catalogue import Combination
from sagegen.engine import ContainerFailed, DiskWatch, Engine
from sagegen.errors import SagegenError
from sagegen.matrix.board import Board
from sagegen.matrix.budget import BUILD_NEED, GB, GROUP_SHARE, WORK_MEMORY, Budget, Stopped, disk_of
from sagegen.matrix.result import Result, unique_bytes
from sagegen.matrix.selection import COMPLETE, Tier, tiers
from sagegen.matrix.steps import StepFailed, Steps

if TYPE_CHECKING:
    from sagegen.matrix import Options


class Run:
    """What the threads of one run share.

    Combinations are grouped by the heavy layer of their image. Images are built one after another, so that
    the layer is built once; each is tested while the next ones are built. When a group ends, its images are
    removed.
    """

    def __init__(self, engine: Engine, options: Options) -> None:
        self.engine = engine
        self.options = options
        self.jobs = options.jobs or engine.cpus
        self.disk = options.disk * GB
        self.stop = threading.Event()
        self.slots = Budget(self.jobs, self.stop)
        self.memory = Budget(engine.free_memory(), self.stop)
        self.space = Budget(self.disk, self.stop)
        self.builder = Budget(1, self.stop)
        self.watch = DiskWatch(engine)

    def run(self, groups: dict[str, list[Combination]]) -> dict[str, Any]:
        """Run all groups and return the outcome as plain data."""
        self._require_disk(groups)
        every = [c for group in groups.values() for c in group]
        results = {c.id: Result(c.id, c.group, c.answers, self._tier(c).name) for c in every}
        log_folder = (self.options.logs or Path("matrix-logs")).absolute()
        begun, date = time.monotonic(), datetime.now(UTC)
        with (
            tempfile.TemporaryDirectory(prefix="sagegen-matrix-", ignore_cleanup_errors=True) as folder,
            self.watch,
            Board(list(results)) as self.board,
        ):
            self.steps = Steps(
                self.engine,
                Path(folder),
                log_folder,
                self.stop,
                base_image=self.options.base_image,
                build_args=self.options.build_arg,
                cpus=max(1, self.engine.cpus // self.jobs),
            )
            try:
                self._run_groups(groups, results)
            finally:
                if not self.options.logs:
                    _tidy(log_folder, results.values())
        layers = self.steps.layers
        for name, own in layers.items():
            others = [layer for other, layer in layers.items() if other != name]
            results[name].unique_bytes = unique_bytes(own, others)
        return {
            "sagegen": __version__,
            "date": date.isoformat(timespec="seconds"),
            "full": self.options.full,
            "engine": self.engine.version,
            "cpus": self.engine.cpus,
            "jobs": self.jobs,
            "seconds": round(time.monotonic() - begun, 1),
            "peak_disk_bytes": self.watch.peak,
            "combinations": [asdict(result) for result in results.values()],
        }

    def _tier(self, combination: Combination) -> Tier:
        return COMPLETE if self.options.full else tiers()[combination.id]

    def _require_disk(self, groups: dict[str, list[Combination]]) -> None:
        need = min(max(disk_of(BUILD_NEED, group) for group in groups.values()), self.disk)
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
                pass_over_signals()
                self.stop.set()
                self._sweep(every)  # a thread that waits for its container wakes up
                pool.shutdown()
                self._sweep(every)
                raise

    def _run_group(self, group: list[Combination], results: dict[str, Result]) -> None:
        with ExitStack() as disk:
            try:
                with ThreadPoolExecutor(len(group)) as pool:
                    # No other group builds meanwhile: making room for it would remove this group's layer.
                    with self.builder.hold(1):
                        shrink = disk.enter_context(self.space.hold(disk_of(BUILD_NEED, group)))
                        proofs = [
                            pool.submit(self._prove, c, results[c.id]) for c in self._built(group, results)
                        ]
                        shrink(disk_of(GROUP_SHARE, group))
                    for proof in proofs:
                        proof.result()
                # Alone on the machine: a neighbour's build would be measured as the cold start.
                if any(self._tier(c).measured for c in group):
                    with self.slots.hold(self.jobs):
                        for c in group:
                            self._measure(c, results[c.id])
            finally:
                self._sweep(group)

    def _built(self, group: list[Combination], results: dict[str, Result]) -> Iterator[Combination]:
        """Build one after the other, those first that have most to prove: each may be proven from then on."""
        if self.watch.growth() + disk_of(BUILD_NEED, group) > self.disk:
            self.engine.prune_build_cache()
        for c in sorted(group, key=lambda c: not self._tier(c).measured):
            self.steps.log(c).unlink(missing_ok=True)
            result = results[c.id]
            with self._noted(c, result), self._turn(c):
                self._tried(result, "building", partial(self.steps.build, c, result))
            if result.built:
                yield c

    def _prove(self, combination: Combination, result: Result) -> None:
        """Test, which also trains, and check, as much as the tier asks for."""
        tier, steps = self._tier(combination), self.steps
        with self._noted(combination, result):
            with self._turn(combination):
                self._tried(result, "testing", partial(steps.test, combination, result, tier))
            if not self.options.no_check:
                with self._turn(combination, tier.servers):
                    self._tried(result, "checking", partial(steps.check, combination, result, tier))
            if tier.measured:
                result.status = "proven"
                self.board.step(result.id, "proven, to be measured")
            else:
                self._pass(result)

    def _measure(self, combination: Combination, result: Result) -> None:
        if result.status != "proven":
            return
        with self._noted(combination, result):
            self.board.step(result.id, "measuring")
            self.steps.measure(combination, result)
            self._pass(result)

    def _pass(self, result: Result) -> None:
        result.status = "passed"
        self.board.ended(result.id, result.status)

    @contextmanager
    def _noted(self, combination: Combination, result: Result) -> Iterator[None]:
        """Whatever one combination dies of, the others go on; its result and its log say what it was."""
        try:
            yield
        except Exception as error:
            if self.stop.is_set():
                raise Stopped from error
            expected = isinstance(error, StepFailed | ContainerFailed | SagegenError)
            result.failure = str(error) if expected else f"{type(error).__name__}: {error}"
            result.status, result.log = "failed", str(self.steps.log(combination))
            self.steps.write_log(combination, f"\n{result.failure}\n")
            self.board.ended(result.id, result.status, f"{result.failure} – see {result.log}")

    @contextmanager
    def _turn(self, combination: Combination, servers: int = 1) -> Iterator[None]:
        """Hold a slot, and memory for so many servers, for the block."""
        server = combination.context["fw"]["worker_memory_mib"] * 2**20 * self.engine.cpus
        with self.slots.hold(1), self.memory.hold(servers * server + WORK_MEMORY):
            yield

    def _tried(self, result: Result, doing: str, step: Callable[[], None]) -> None:
        """Take a step, as often as --retries allows; what went wrong before stays in the result."""
        while True:
            self.board.step(result.id, doing)
            try:
                return step()
            except StepFailed as failure:
                if self.stop.is_set() or len(result.retried) >= self.options.retries:
                    raise
                result.retried.append(str(failure))
                self.board.step(result.id, f"repeated, because {failure}")

    def _sweep(self, combinations: list[Combination]) -> None:
        self.steps.sweep(combinations, keep=self.options.keep)


def pass_over_signals() -> None:
    """Do nothing on SIGINT and SIGTERM from now on.

    A handler, not SIG_IGN: a `make` that a thread starts just now would inherit that, and be deaf to `_end`.
    """
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: None)


def _tidy(log_folder: Path, results: Iterable[Result]) -> None:
    """Keep the logs of failures alone."""
    for result in results:
        if result.status != "failed":
            (log_folder / f"{result.id}.log").unlink(missing_ok=True)
    with suppress(OSError):  # not empty, or never made
        log_folder.rmdir()
