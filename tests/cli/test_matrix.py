"""`sagegen matrix` on a template of a few lines and an engine that only answers.

The real template on a real engine is the business of tests/container.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from cli_tools import fails
from fake_engine import FakeEngine
from helpers import ROOT

from sagegen import __version__, catalogue
from sagegen.check import core
from sagegen.engine import Engine
from sagegen.errors import SagegenError
from sagegen.matrix import Options, budget
from sagegen.matrix.result import unique_bytes
from sagegen.matrix.run import Run, pass_over_signals
from sagegen.matrix.selection import FAILURE_TEST, FRAMEWORK_RULES, MODEL_TEST, heavy_layers, select, tiers
from sagegen.matrix.steps import STOP_GRACE

QUESTIONS = """
project_name: {type: str, default: my-model}
framework: {type: str, choices: {One: one, Two: two}, default: one}
fw: {type: yaml, when: false, default: "{worker_memory_mib: 10}"}
build: {type: yaml, when: false, default: "{title: Tiny}"}
requirements: {type: yaml, when: false, default: "[{{ framework }}]"}
device: {type: str, choices: {CPU: cpu}, default: cpu}
python_version: {type: str, choices: {"3.13": "3.13"}, default: "3.13"}
base_image: {type: str, default: "python:3.13-slim"}
stack: {type: str, choices: {A: a, B: b}, default: a}
data: {type: str, choices: {Table: table}, default: table}
"""
MAKEFILE = """
build:
\t@echo "building $(IMAGE) from $(BASE_IMAGE) with $(BUILD_ARGS)"
\t@test "{{ framework }}-{{ stack }}" != "$$BREAK" || { echo "no space left on device"; exit 1; }
\t@while [ "{{ framework }}-{{ stack }}" = "$$AWAITS" ] && [ ! -e "$$TESTED" ]; do sleep 0.05; done
\t@if [ "{{ framework }}-{{ stack }}" = "$$STUMBLE" ] && [ ! -e "$$STUMBLED" ]; then \\
\t\ttouch "$$STUMBLED"; echo "the network was away"; exit 1; fi
test:
\t@test -f $(VENV)/.tools && echo "testing with '$(PYTEST)'"
\t@test -z "$$TESTED" || touch "$$TESTED"
\t@if [ "{{ framework }}" = "$$HANG" ]; then touch $$HANGING; sleep 600; fi
\t@set -- $(PYTEST_ADDOPTS); printf '<a><testsuite tests="5" skipped="1"/></a>' > "$${1#--junitxml=}"
check:
\t@sagegen --version && echo "checking $(IMAGE) {{ framework }}-{{ stack }} with '$(CHECK)'"
\t@test "{{ framework }}-{{ stack }}" != "$$SILENT"
\t@if [ "{{ framework }}-{{ stack }}" = "$$FALTERS" ] && [ ! -e "$$STUMBLED" ]; then \\
\t\ttouch "$$STUMBLED"; echo "the machine was busy"; exit 1; fi
\t@case "{{ framework }}-{{ stack }}" in "$$WARNS") set -- WARN;; "$$FAILS") set -- FAIL;; *) set -- PASS;; \\
\tesac; printf '{"seconds": 2.5, "again": ["S-12 looked at twice"], ' > "$$SAGEGEN_CHECK_JSON"; \\
\tprintf '"counts": {"%s": 1, "SKIP": 3}, "verdicts": [{"id": "S-17", "outcome": "%s"}]}' $$1 $$1 \\
\t\t>> "$$SAGEGEN_CHECK_JSON"; test $$1 != FAIL
$(VENV)/.tools: requirements-dev.txt
\tmkdir -p $(VENV) && touch $@
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """sagegen with a template of two frameworks and two stacks, and a docker command on PATH."""
    folder = tmp_path / "checkout"
    shutil.copytree(ROOT / "sagegen", folder / "sagegen")
    project = folder / "template/project"
    project.mkdir(parents=True)
    (project / "requirements-dev.txt").write_text("")
    (project / "Makefile.jinja").write_text(MAKEFILE)
    (project / "{{ _copier_conf.answers_file }}.jinja").write_text("{{ _copier_answers | to_nice_yaml }}")
    (folder / "template/questions").mkdir()
    (folder / "template/questions/10.yml").write_text(QUESTIONS)
    (folder / "copier.yml").write_text(
        "_subdirectory: template/project\n_envops: {trim_blocks: true}\n"
        "---\n!include template/questions/10.yml\n"
    )
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/docker").write_text("#!/bin/sh\n")
    (tmp_path / "bin/docker").chmod(0o755)
    return folder


@pytest.fixture
def engine(tmp_path: Path):
    with FakeEngine(tmp_path) as fake:
        yield fake
        fake.shutdown()


@pytest.fixture
def start(checkout: Path, engine: FakeEngine, tmp_path: Path, here: Path):
    """`sagegen matrix ARGUMENTS` in `here`, as a process."""
    here.mkdir(exist_ok=True)
    (tmp_path / "tmp").mkdir()

    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "sagegen", "matrix", *arguments],
            cwd=here,
            env={
                **os.environ,
                "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
                "PYTHONPATH": str(checkout),
                "TMPDIR": str(tmp_path / "tmp"),
                "DOCKER_HOST": engine.host,
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()


def finished(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    out, err = process.communicate(timeout=120)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.mark.parametrize(
    "step, retries, passes, says",
    [
        ("STUMBLE", "0", False, "the network was away"),
        ("STUMBLE", "1", True, "the network was away"),
        ("FALTERS", "1", True, "the machine was busy"),
    ],
)
def test_a_step_is_repeated_as_often_as_allowed_and_the_results_tell(
    start, here, tmp_path, step, retries, passes, says
):
    stumble = {step: "one-a", "STUMBLED": str(tmp_path / "stumbled")}
    done = finished(start("--framework", "one", "--json", "m.json", "--retries", retries, **stumble))
    assert (done.returncode == 0) == passes, done.stdout
    retried = {r["id"]: r["retried"] for r in json.loads((here / "m.json").read_text())["combinations"]}
    assert len(retried["one-cpu-a"]) == passes
    assert retried["one-cpu-b"] == []
    assert says in done.stdout


def test_everything_passes_and_is_reported(start, engine, here, tmp_path):
    (here / "out").mkdir()
    done = finished(start("--full", "--json", "out/m.json", "--html", "out/m.html", "--proof", "out/p.json",
                          "--base-image", "base:{python}", "--build-arg", "MIRROR=http://m {python}",
                          "--logs", "logs"))  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "4 of 4 combinations passed" in done.stdout
    outcome = json.loads((here / "out/m.json").read_text())
    assert [c["id"] for c in outcome["combinations"]] == ["one-cpu-a", "one-cpu-b", "two-cpu-a", "two-cpu-b"]
    for c in outcome["combinations"]:
        assert c["status"] == "passed" and c["built"] and c["failure"] is None
        assert c["tests"] == {"passed": 4, "failed": 0, "skipped": 1}
        assert c["image_bytes"] == 120_000_000 and c["unique_bytes"] == 20_000_000
        assert c["cold_start_seconds"] >= 0
        assert c["check"] == {"PASS": 1, "SKIP": 3} and c["check_seconds"] == 2.5
    proofs = json.loads((here / "out/p.json").read_text())["combinations"]
    assert proofs["one-cpu-a"].pop("cold_start_seconds") >= 0
    assert proofs["one-cpu-a"] == {"date": outcome["date"][:10], "image_bytes": 120_000_000, "tests": 4,
                                   "rules": 1}  # fmt: skip
    log = (here / "logs/one-cpu-a.log").read_text()
    assert "from base:3.13 with --build-arg 'MIRROR=http://m 3.13'" in log
    assert f"sagegen {__version__}\nchecking sagegen-matrix/one-cpu-a:" in log
    assert "1 PASS, 3 SKIP" in done.stdout and "1 PASS, 3 SKIP" in (here / "out/m.html").read_text()
    assert done.stdout.count("S-12 looked at twice") == 4
    assert not engine.containers
    removed = [asked for asked in engine.asked if asked.startswith("DELETE /images/")]
    assert len(set(removed)) == 4
    assert not list((tmp_path / "tmp").iterdir())


def test_the_page_needs_nothing_but_itself(start, here):
    assert finished(start("--html", "m.html", "--framework", "one", BREAK="one-b")).returncode == 1
    page = (here / "m.html").read_text()
    assert page.count("<tr") == 3 and "no space left on device" in page
    assert not re.search(r"(src|href)=|url\(|@import|https?://", page)
    assert "light dark" in page


def test_one_failure_stops_nothing_else_and_its_log_is_kept_and_named(start, here):
    done = finished(start("--jobs", "1", BREAK="one-a"))
    assert done.returncode == 1
    assert "3 of 4 combinations passed" in done.stdout
    assert "make build failed with status 2: no space left on device" in done.stdout
    assert [path.name for path in (here / "matrix-logs").iterdir()] == ["one-cpu-a.log"]
    assert str(here / "matrix-logs/one-cpu-a.log") in done.stdout
    assert "no space left on device" in (here / "matrix-logs/one-cpu-a.log").read_text()
    assert "one-cpu-b: passed" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("verdict", ["WARNS", "FAILS"])
def test_a_broken_rule_fails_the_combination_and_is_named(start, here, verdict):
    done = finished(start("--framework", "one", "--json", "m.json", "--html", "m.html", **{verdict: "one-a"}))
    assert done.returncode == 1
    rows = {row["id"]: row for row in json.loads((here / "m.json").read_text())["combinations"]}
    assert rows["one-cpu-a"]["failure"] == f"sagegen check: {verdict[:4]} S-17"
    assert rows["one-cpu-a"]["check"][verdict[:4]] == 1
    assert rows["one-cpu-b"]["status"] == "passed"
    assert "checking sagegen-matrix/one-cpu-a" in (here / "matrix-logs/one-cpu-a.log").read_text()
    assert f"{verdict[:4]} S-17" in (here / "m.html").read_text()


def test_a_check_without_a_report_fails_the_combination(start):
    done = finished(start("--framework", "one", SILENT="one-a"))
    assert done.returncode == 1
    assert "one-cpu-a: make check failed with status 2: checking sagegen-matrix/one-cpu-a" in done.stdout


def test_no_check_leaves_the_check_out(start, here):
    done = finished(start("--framework", "one", "--no-check", "--json", "m.json", FAILS="one-a"))
    assert done.returncode == 0, done.stdout
    rows = json.loads((here / "m.json").read_text())["combinations"]
    assert [row["check"] for row in rows] == [None, None]


def test_a_log_is_plain_lines(start):
    done = finished(start("--framework", "two"))
    assert "\x1b" not in done.stderr + done.stdout
    assert "two-cpu-a: building" in done.stderr.splitlines()


def test_keep_keeps_the_images(start, engine):
    assert finished(start("--keep", "--framework", "one")).returncode == 0
    assert not [asked for asked in engine.asked if asked.startswith("DELETE /images/")]


@pytest.mark.parametrize("signum,status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_takes_everything_down(start, engine, here, tmp_path, signum, status):
    hanging = tmp_path / "hanging"
    process = start(HANG="one", HANGING=str(hanging))
    while not hanging.exists():
        assert process.poll() is None, process.communicate()
    told = time.monotonic()
    process.send_signal(signum)
    done = finished(process)
    assert time.monotonic() - told < STOP_GRACE  # nothing had to be killed
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "tmp").iterdir()) and not (here / "matrix-logs").exists()
    removed = {asked for asked in engine.asked if asked.startswith("DELETE /images/")}
    assert len(removed) == 4
    assert not engine.containers


def test_a_process_that_starts_while_the_run_stops_can_be_stopped_too():
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        pass_over_signals()
        os.kill(os.getpid(), signal.SIGTERM)
        process = subprocess.Popen(["sleep", "600"])
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
    process.send_signal(signal.SIGINT)
    try:
        assert process.wait(10) == -signal.SIGINT
    finally:
        process.kill()


def test_an_image_is_tested_while_the_next_one_is_built(start, tmp_path):
    done = finished(start("--framework", "one", AWAITS="one-b", TESTED=str(tmp_path / "tested")))
    assert done.returncode == 0, done.stderr


def test_groups_of_one_library_follow_each_other_while_the_installer_still_has_it():
    groups = list(select({}))
    at = groups.index("tensorflow-cpu")
    assert groups[at - 2 : at + 2] == ["pytorch-cpu", "keras-torch-cpu", "tensorflow-cpu", "tensorflow-gpu"]


@pytest.mark.parametrize(
    "arguments,says",
    [
        (["--framework", "tree"], "no such framework: tree – choose one, two"),
        (["--build-arg", "MIRROR"], "--build-arg MIRROR has no value – write MIRROR=VALUE"),
        (["--proof", "p.json"], "--proof needs --full, and no --no-check: nothing else is a proof"),
        (["--jobs", "0"], "Invalid value for '--jobs'"),
    ],
)
def test_a_wrong_command_line(start, arguments, says, checkout):
    questions = checkout / "template/questions/10.yml"
    questions.write_text(questions.read_text() + "keras_backend: {type: str, choices: {X: x}, when: false}\n")
    assert says in fails(finished(start(*arguments)), 2)


def test_no_engine_is_one_line(start):
    line = fails(finished(start(DOCKER_HOST="tcp://127.0.0.1:1")), 1)
    assert (
        line == "no Docker engine answers at tcp://127.0.0.1:1 – start Docker, or run scripts/docker-engine"
    )


def test_no_docker_is_one_line_and_no_skip(start, tmp_path):
    (tmp_path / "none").mkdir()
    for tool in ("make", "sh"):
        (tmp_path / "none" / tool).symlink_to(shutil.which(tool) or "/bin/sh")
    line = fails(finished(start(PATH=str(tmp_path / "none"))), 1)
    assert line == "there is no docker command – install Docker, or run scripts/docker-engine"


def test_too_little_disk_is_one_line_before_anything_starts(engine, monkeypatch, tmp_path):
    usage = shutil._ntuple_diskusage(100, 97, 3 * 10**9)  # type: ignore[attr-defined]
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    need = budget.BUILD_NEED["gpu"] // budget.GB
    with pytest.raises(SagegenError, match=f"3 GB of free disk and this run needs {need} GB – free some"):
        Run(Engine.connect(), Options()).run(select({"device": ("gpu",), "framework": ("pytorch",)}))


def test_each_fact_is_proven_once_unless_everything_is_asked_for(start, here):
    assert finished(start("--json", "m.json", "--logs", "logs")).returncode == 0
    rows = {row["id"]: row for row in json.loads((here / "m.json").read_text())["combinations"]}
    proven = {"one-cpu-a": "complete", "one-cpu-b": "complete", "two-cpu-a": "layer", "two-cpu-b": "short"}
    assert {name: row["tier"] for name, row in rows.items()} == proven
    assert [name for name, row in rows.items() if row["cold_start_seconds"] is None] == ["two-cpu-b"]
    logs = {name: (here / f"logs/{name}.log").read_text() for name in rows}
    assert "with ''" in logs["one-cpu-a"] and "--rule T-64" in logs["two-cpu-a"]
    assert f"testing with '--deselect {FAILURE_TEST}'" in logs["two-cpu-a"]
    assert f"testing with '--deselect {FAILURE_TEST} --deselect {MODEL_TEST}'" in logs["two-cpu-b"]
    assert "with '--only static'" in logs["two-cpu-b"]

    assert finished(start("--full", "--json", "m.json", "--proof", "p.json")).returncode == 0
    rows = {row["id"]: row for row in json.loads((here / "m.json").read_text())["combinations"]}
    assert {row["tier"] for row in rows.values()} == {"complete"}


def test_every_stack_framework_and_heavy_layer_is_proven_by_one_combination_at_least():
    of = {c.id: c for c in catalogue.existing()}
    proven = [of[name] for name, tier in tiers().items() if tier.name in ("complete", "layer")]
    complete = [of[name] for name, tier in tiers().items() if tier.name == "complete"]
    samples = {name for name, tier in tiers().items() if tier.name == "sample"}
    assert samples == {c.id for c in catalogue.samples()}
    assert tiers().keys() == of.keys() | samples
    assert {c.answers["stack"] for c in complete} == set(catalogue.choices("stack"))
    for group in heavy_layers(of.values()).values():
        assert any(c in proven for c in group)
    for question in ("framework", "keras_backend", "python_version", "device"):
        assert {c.answers.get(question) for c in proven} == {c.answers.get(question) for c in of.values()}
    layers = [c.answers["stack"] for c in proven if c not in complete]
    counts = [layers.count(stack) for stack in catalogue.choices("stack")]
    assert max(counts) - min(counts) <= 1, "the stacks do not alternate"


def test_the_rules_of_a_heavy_layer_exist_and_its_tests_do():
    known = {rule.id for rule in core.rules()}
    assert [rule for rule in FRAMEWORK_RULES if rule not in known] == []
    for name in (MODEL_TEST, FAILURE_TEST):
        file, _, test = name.partition("::")
        assert f"def {test}(" in (ROOT / "template/project" / file).read_text()


def test_a_built_group_gives_back_the_disk_that_only_its_build_needed():
    disk, granted = budget.Budget(10, threading.Event()), threading.Event()

    def wait_for_disk() -> None:
        with disk.hold(6):
            granted.set()

    with disk.hold(8) as shrink:
        other = threading.Thread(target=wait_for_disk)
        other.start()
        assert not granted.wait(0.2)
        shrink(4)
        assert granted.wait(5)
    other.join()


def test_groups_share_their_heavy_layer():
    groups = select({})
    assert {c.group for c in groups["tensorflow-gpu"]} == {"tensorflow-gpu", "keras-tensorflow-gpu"}
    kinds = {f"pytorch-cpu-{kind}" for kind in catalogue.choices("data") if kind != "table"}
    assert {c.group for c in groups["pytorch-cpu"]} == {"pytorch-cpu", "pytorch-gpu"} | kinds
    layers = [
        {(str(c.context["requirements"]), c.answers["python_version"]) for c in group}
        for group in groups.values()
    ]
    assert all(len(layer) == 1 for layer in layers)
    assert len(set().union(*layers)) == len(layers)


def test_unique_bytes_are_those_above_the_longest_shared_base():
    base, one, two = ((1, "base"), 100), ((2, "one"), 10), ((3, "two"), 20)
    assert unique_bytes([base, one], [[base, two], [base]]) == 10
    assert unique_bytes([base, one], []) == 110
    assert unique_bytes([base, one], [[one, base]]) == 110
