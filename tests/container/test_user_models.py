"""Models of users, from `sagegen new` to a green `make build lint test check` on every stack.

tests/models/NAME is what its user wrote: src/model.py, requirements, requests with their answers, and data to
train on. It is copied over a new repository, where it replaces the sample. Like the matrix, these runs are
marked: they build what the matrix builds, so both share the heavy layers.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from helpers import ROOT

from sagegen import catalogue
from sagegen.matrix.result import read_junit
from sagegen.render import user_owned

MODELS = ROOT / "tests/models"
#: The answers with which a user of this model would start.
ANSWERS: dict[str, dict[str, str]] = {
    "regression": {},
    "boosting": {},
    "text_classifier": {"data": "text"},
    "tagger": {"data": "text"},
    "image_classifier": {"data": "image"},
    "segmentation": {"data": "image"},
    "detector": {"data": "image", "framework": "pytorch"},
}
STACKS = list(catalogue.choices("stack"))
SAMPLE = ("local_test/opt_ml/input/data", "local_test/payloads")
#: What a user's model decides: whether it trains and serves with what a job and an endpoint give it. The
#: matrix proves every other rule; CHECK= in the environment asks for all of them here. S-03 is not among
#: them: its load takes a slow model 26 s of the 30 s that a stop may take.
RULES = ("T-12", "T-79", "S-13", "S-20", "S-41", "S-75", "SV-03", "SV-04", "SV-05")
#: Those that need no load, for the model's second stack. Which answers are right under load is decided by the
#: model, on its first stack, and by the stack, whose complete check the matrix does.
RULES_WITHOUT_LOAD = ("T-12", "T-79", "S-75", "SV-03", "SV-04")
#: A model that fits once has no checkpoints, and one that names its file wants it there.
MAY_WARN = {"T-38", "T-64"}


@dataclass(frozen=True)
class Proof:
    """What one run took and found: seconds of each target, tests by outcome, rules by outcome."""

    seconds: dict[str, int]
    tests: dict[str, int]
    rules: dict[str, set[str]]


class Runs:
    """Does the runs, as many at a time as there are CPUs. They share the tools' virtual environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.parent.name  # of this pytest run: images of two runs must not mix
        self.setting_up = threading.Lock()
        self.environment = {
            **os.environ,
            "SAGEGEN": f"{sys.executable} -m sagegen",
            "SAGEGEN_CHECK_CPUS": "1",
            "VENV": str(folder / "venv"),
        }
        build_args = shlex.split(os.environ.get("SAGEGEN_BUILD_ARGS", ""))
        if base := os.environ.get("SAGEGEN_BASE_IMAGE", "").replace("{python}", "3.13"):
            self.environment["BASE_IMAGE"] = base
            build_args.append(f"PYTHON_IMAGE={base}")
        self.environment["BUILD_ARGS"] = " ".join(f"--build-arg {argument}" for argument in build_args)

    def prove(self, model: str, stack: str) -> Proof:
        """One model on one stack; raises AssertionError with the end of what make printed."""
        repository = self.folder / f"{model}-{stack}"
        image = f"sagegen-{self.name}/{model}:{stack}"
        answers = {**ANSWERS[model], "stack": stack}
        new = [sys.executable, "-m", "sagegen", "new", str(repository), "--defaults"]
        for name, value in answers.items():
            new += ["--data", f"{name}={value}"]
        subprocess.run(new, check=True, capture_output=True)
        for sample in SAMPLE:
            subprocess.run(["rm", "-r", repository / sample], check=True)
        shutil.copytree(MODELS / model, repository, dirs_exist_ok=True)
        # Half of the models have each stack as their first.
        first = STACKS[list(ANSWERS).index(model) % len(STACKS)]
        rules = RULES if stack == first else RULES_WITHOUT_LOAD
        junit, check = repository.with_suffix(".xml"), repository.with_suffix(".json")
        options = {
            "IMAGE": image,
            "PYTEST_ADDOPTS": f"--junitxml={junit} --basetemp={repository.with_suffix('.tmp')}",
            "SAGEGEN_CHECK_JSON": str(check),
            "CHECK": os.environ.get("CHECK", " ".join(f"--rule {rule}" for rule in rules)),
        }
        try:
            with self.setting_up:
                self._make(repository, f"{self.environment['VENV']}/.tools", options)
            targets = ("build", "lint", "test", "check")
            seconds = {target: self._make(repository, target, options) for target in targets}
        finally:
            subprocess.run(["docker", "rmi", "--force", image], check=False, capture_output=True)
        found: dict[str, set[str]] = {}
        for verdict in json.loads(check.read_text())["verdicts"]:
            found.setdefault(verdict["outcome"], set()).add(verdict["id"])
        return Proof(seconds, read_junit(junit) or {}, found)

    def _make(self, repository: Path, target: str, options: dict[str, str]) -> int:
        begun = time.monotonic()
        done = subprocess.run(
            ["make", "--old-file=requirements-dev.txt", target],
            cwd=repository,
            env={**self.environment, **options},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, f"make {target} in {repository.name}:\n{done.stdout[-6000:]}"
        return round(time.monotonic() - begun)


@pytest.fixture(scope="session")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[tuple[str, str], Future[Proof]]]:
    """Every run that was selected, begun."""
    all_runs = Runs(tmp_path_factory.mktemp("models"))
    selected = [
        (item.callspec.params["model"], item.callspec.params["stack"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and "runs" in item.fixturenames
    ]
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        yield {one: pool.submit(all_runs.prove, *one) for one in selected}
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C, only those that have begun


@pytest.mark.parametrize("model", sorted(path.parent.parent.name for path in MODELS.glob("*/src/model.py")))
def test_a_users_model_touches_no_file_of_the_template(model: str) -> None:
    files = {str(path.relative_to(MODELS / model)) for path in (MODELS / model).rglob("*") if path.is_file()}
    assert files - user_owned(files) == set()


@pytest.mark.matrix
@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("model", ANSWERS)
def test_a_users_model_goes_from_new_to_a_green_check(
    model: str, stack: str, runs: dict[tuple[str, str], Future[Proof]], capsys: pytest.CaptureFixture[str]
) -> None:
    proof = runs[model, stack].result()
    with capsys.disabled():
        rules = {outcome: len(ids) for outcome, ids in proof.rules.items()}
        print(f"\n{model} on {stack}: tests {proof.tests}, rules {rules}, seconds {proof.seconds}")
    assert proof.tests["passed"] > 0
    assert proof.tests["failed"] == 0
    assert proof.rules["PASS"]
    assert not proof.rules.get("FAIL")
    assert proof.rules.get("WARN", set()) <= MAY_WARN
