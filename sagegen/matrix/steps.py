"""The steps of one combination – build, test, check, measure – by `make` in the generated repository."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from sagegen.catalogue import Combination
from sagegen.engine import Engine, Layers
from sagegen.matrix.budget import Stopped
from sagegen.matrix.result import Result, read_junit
from sagegen.matrix.selection import Tier

STEP_TIMEOUT = 1200.0
STOP_GRACE = 10.0


class StepFailed(Exception):
    """A step of a combination failed; the message says which and why."""


class Steps:
    """Does the steps in a folder of its own, and writes what they print into the combination's log."""

    def __init__(
        self,
        engine: Engine,
        folder: Path,
        log_folder: Path,
        stop: threading.Event,
        *,
        base_image: str | None,
        build_args: tuple[str, ...],
        cpus: int,
    ) -> None:
        self._engine = engine
        self._folder = folder
        self._log_folder = log_folder
        self._stop = stop
        self._base_image = base_image
        self._build_args = build_args
        self._cpus = cpus
        self._name = f"sagegen-{os.getpid()}"
        self._rendering, self._setting_up = threading.Lock(), threading.Lock()
        #: Of the images that were built: {combination: layers}.
        self.layers: dict[str, Layers] = {}
        self._install_self()

    def build(self, combination: Combination, result: Result) -> None:
        """Render the repository and build its image."""
        from sagegen.render import render

        with self._rendering:  # Copier changes the working directory of the process at times
            shutil.rmtree(self._repository(combination), ignore_errors=True)
            render(self._repository(combination), combination.answers)
        result.build_seconds = self._make("build", combination)
        result.built = True
        result.image_bytes = self._engine.image_bytes(self.image(combination))
        self.layers[result.id] = self._engine.layers(self.image(combination))

    def test(self, combination: Combination, result: Result, tier: Tier) -> None:
        """`make test`, which also trains."""
        with self._setting_up:
            self._make(f"{self._venv}/.tools", combination)
        try:
            result.test_seconds = self._make("test", combination, PYTEST=shlex.join(tier.pytest))
        finally:
            result.tests = read_junit(self._junit(combination))
        if not result.tests or not result.tests["passed"]:
            raise StepFailed("make test ran no test")

    def check(self, combination: Combination, result: Result, tier: Tier) -> None:
        """`make check`, as the user of the repository would; a warning fails as a failure does."""
        file = self._folder / combination.id / "check.json"
        file.unlink(missing_ok=True)
        failed: StepFailed | None = None
        try:
            self._make("check", combination, CHECK=shlex.join(tier.check), SAGEGEN_CHECK_JSON=str(file))
        except StepFailed as failure:  # one broken rule already; the file names them all
            failed = failure
        try:
            found = json.loads(file.read_text())
        except (OSError, ValueError):
            raise failed or StepFailed("make check left no report") from None
        result.check, result.check_seconds = found["counts"], found["seconds"]
        result.check_again = found["again"]
        broken = [f"{v['outcome']} {v['id']}" for v in found["verdicts"] if v["outcome"] in ("FAIL", "WARN")]
        if broken:
            raise StepFailed(f"sagegen check: {', '.join(broken)}")
        if failed:
            raise failed

    def measure(self, combination: Combination, result: Result) -> None:
        """Serve what the tests trained, and take the time of its start and its memory."""
        opt_ml = self._scratch(combination) / "opt_ml0"  # the name that the generated tests give it
        start = self._engine.cold_start(self.image(combination), opt_ml, self._project(combination))
        result.cold_start_seconds = round(start.seconds, 2)
        result.peak_memory_bytes = start.peak_memory_bytes

    def sweep(self, combinations: list[Combination], keep: bool) -> None:
        """Remove the containers of these combinations and, unless kept, their images."""
        images = [self.image(c) for c in combinations]
        self._engine.sweep({self._project(c) for c in combinations}, images, keep=keep)

    def image(self, combination: Combination) -> str:
        """The tag of its image."""
        return f"sagegen-matrix/{combination.id}:{self._name}"

    def log(self, combination: Combination) -> Path:
        """The file that has what its steps printed."""
        return self._log_folder / f"{combination.id}.log"

    def write_log(self, combination: Combination, text: str) -> None:
        """Append to its log."""
        self._log_folder.mkdir(parents=True, exist_ok=True)
        with self.log(combination).open("a") as file:
            file.write(text)

    def _make(self, target: str, combination: Combination, **variables: str) -> float:
        """`make TARGET` in the generated repository; how many seconds it took."""
        if self._stop.is_set():
            raise Stopped
        begun, log = time.monotonic(), self.log(combination)
        self.write_log(combination, f"$ make {target}\n")
        with log.open("a") as output:
            process = subprocess.Popen(
                # The shared tools are not installed again because another repository is younger.
                ["make", "--old-file=requirements-dev.txt", target],
                cwd=self._repository(combination),
                env={**self._environment(combination), **variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches only this process, which stops all that make started
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
                if self._stop.is_set():
                    raise Stopped from None
                if time.monotonic() - begun > STEP_TIMEOUT:
                    raise StepFailed(f"make {target} did not end in {STEP_TIMEOUT:.0f} s") from None

    def _environment(self, combination: Combination) -> dict[str, str]:
        """What the generated Makefile takes from its environment."""
        python = combination.answers["python_version"]
        build_args = [argument.replace("{python}", python) for argument in self._build_args]
        junit, scratch = self._junit(combination), self._scratch(combination)
        # Variables of a `make` that started this run would overrule those below.
        inherited = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS")}
        environment = {
            **inherited,
            "PATH": f"{self._programs}{os.pathsep}{os.environ['PATH']}",
            # Its share of the machine: with all CPUs in sight, every server would start workers for them.
            "SAGEGEN_CHECK_CPUS": str(self._cpus),
            "IMAGE": self.image(combination),
            "VENV": self._venv,
            "PYTEST_ADDOPTS": f"--junitxml={junit} --basetemp={scratch}",
            "BUILD_ARGS": " ".join(f"--build-arg {shlex.quote(argument)}" for argument in build_args),
        }
        if self._base_image:
            environment["BASE_IMAGE"] = self._base_image.replace("{python}", python)
        return environment

    def _install_self(self) -> None:
        """A `sagegen` for `make check` that is this very one."""
        program = self._programs / "sagegen"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m sagegen "$@"\n')
        program.chmod(0o755)

    @property
    def _venv(self) -> str:
        """One virtual environment for all repositories: their test tools are the same."""
        return str(self._folder / "venv")

    @property
    def _programs(self) -> Path:
        return self._folder / "bin"

    def _repository(self, combination: Combination) -> Path:
        return self._folder / combination.id / "repository"

    def _scratch(self, combination: Combination) -> Path:
        """Where the tests put their files."""
        return self._folder / combination.id / "scratch"

    def _junit(self, combination: Combination) -> Path:
        return self._folder / combination.id / "junit.xml"

    def _project(self, combination: Combination) -> str:
        """The mark of the containers that are measured."""
        return f"{self._name}-{combination.id}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop a process and its children as Ctrl-C would, so that tests take their containers down."""
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(STOP_GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _last_line(log: Path) -> str:
    """The last line that says something: make's own complaint only repeats that there was one."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line and not line.startswith("make")), "no output")
