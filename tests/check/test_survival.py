"""Whatever an image does, the check ends in time, says so under the right ID, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import Future
from pathlib import Path

import pytest
from bank import Bank, breaches

from sagegen.check.reports import Report
from sagegen.engine import Lab
from sagegen.engine.sweeping import PID_LABEL

pytestmark = pytest.mark.mutants

HERE = Path(__file__).parent
HEAD = "#!/usr/bin/env python3\nimport os, signal, sys, threading, time\nsignal.signal(15, signal.SIG_IGN)\n"
FLOOD = HEAD + "while True:\n    os.write(1, b'x' * 60000 + b'\\n')\n"
FORKS = (
    HEAD + "while True:\n    try:\n        os.fork() or time.sleep(10**6)\n"
    "    except OSError:\n        time.sleep(1)\n"
)
MEMORY = HEAD + "hoard = []\nwhile True:\n    hoard.append(b'x' * 2**28)\n"
HANG = HEAD + "time.sleep(10**6)\n"
BINARY = (
    HEAD + "os.write(1, bytes(range(256)) * 10)\n"
    "open('/opt/ml/output/failure', 'wb').write(bytes(range(128, 256)))\nos._exit(7)\n"
)


def leftovers(bank: Bank, process: int) -> list[str]:
    """What carries the label of the check that a process makes, or made."""
    api, ours = bank.engine.client.api, {"label": f"{PID_LABEL}={process}"}
    found = [one["Id"] for one in api.containers(all=True, filters=ours) + api.networks(filters=ours)]
    return found + [one["Name"] for one in api.volumes(filters=ours)["Volumes"] or []]


HOSTILE = {"flood": FLOOD, "forks": FORKS, "memory": MEMORY, "hang": HANG, "binary": BINARY}
RULES = ("T-01", "T-50", "T-51", "T-60", "S-01", "S-10", "S-11", "S-03", "S-20")
PATIENCE_SECONDS = 8.0
#: How many times longer the check of a hostile image may take than that of the healthy one beside it. It
#: waits for a hostile one in each of some ten containers; those of the healthy one end after about a second.
SLOWER = 12


@pytest.fixture(scope="module")
def hostile(bank: Bank) -> dict[str, Future[Report]]:
    """The checks of all hostile images, a few at a time."""
    bank.begin_hostile(HOSTILE, RULES, PATIENCE_SECONDS)
    return bank.hostile


@pytest.mark.parametrize(
    "name, expected",
    [
        ("flood", {"T-50", "S-10"}),
        ("forks", {"T-50", "S-10"}),
        # Killed for lack of memory, or still filling it when the time is up: either way it did not train.
        ("memory", {"T-50"}),
        ("hang", {"T-50", "S-10"}),
        ("binary", {"T-50", "T-51"}),
    ],
)
def test_a_hostile_image_is_survived(
    bank: Bank, hostile: dict[str, Future[Report]], name: str, expected: set[str]
) -> None:
    def as_expected(report: Report) -> bool:
        assert report.seconds < SLOWER * bank.beside.result().seconds
        found = set(breaches(report))
        return expected <= found if name == "memory" else found == expected

    if not as_expected(hostile[name].result()):
        # Five at once on two processors: what is late among them is looked at again, alone.
        alone = bank.check_hostile(name, HOSTILE[name], RULES, PATIENCE_SECONDS)
        assert as_expected(alone), breaches(alone)


@pytest.mark.parametrize("printed", ["nonsense", "f\\t9x\\t1\\t/opt/ml/model\\t"])
def test_an_image_whose_find_prints_nonsense_is_read_file_by_file(bank: Bank, printed: str) -> None:
    program = f"RUN printf '#!/bin/sh\\nprintf \"{printed}\"\\n' > /usr/bin/find"
    dockerfile = f"FROM {bank.healthy}\nRUN mkdir -p /opt/ml && touch /opt/ml/baked\n{program}\n"
    image = bank.build(f"find-{len(printed)}", {"Dockerfile": dockerfile})
    assert set(breaches(bank.check(image, only=("static",)))) == {"T-07"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_check_leaves_nothing(bank: Bank, number: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sagegen", "check", bank.healthy, "--opt-ml", str(HERE / "opt_ml")]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not leftovers(bank, process.pid):
        assert process.poll() is None, process.communicate()
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number, errors
    assert not leftovers(bank, process.pid)
    assert not list(tmp_path.iterdir())


def test_the_next_check_removes_what_a_killed_one_left_and_nothing_of_one_that_lives(bank: Bank) -> None:
    command = [sys.executable, "-m", "sagegen", "check", bank.healthy, "--opt-ml", str(HERE / "opt_ml")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not bank.engine.client.api.containers(filters={"label": f"{PID_LABEL}={process.pid}"}):
        assert process.poll() is None
    process.kill()
    process.wait()
    assert leftovers(bank, process.pid)
    alive = Lab(bank.engine, bank.healthy)
    try:
        volume = alive.volume()
        assert not leftovers(bank, process.pid)
        Lab(bank.engine, bank.healthy).close()
        assert volume in leftovers(bank, os.getpid())
    finally:
        alive.close()


def test_a_finished_check_leaves_nothing(bank: Bank, tmp_path: Path) -> None:
    output = tmp_path / "report.json"
    command = [sys.executable, "-m", "sagegen", "check", bank.healthy, "--only", "static", "--format", "json",
               "--output", str(output)]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not leftovers(bank, process.pid):  # it did have something to take away
        assert process.poll() is None, process.communicate()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert json.loads(output.read_text())["counts"]["FAIL"] == 0
    assert not leftovers(bank, process.pid)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["sagegen/there-is-no-such-image"],
        ["image", "--rule", "T-999"],
        ["image", "--only", "serve", "--rule", "T-01"],
        ["image", "--env", "A"],
        ["image", "--payload", __file__],
        ["image", "--only", "everything"],
        ["image", "--opt-ml", tempfile.gettempdir() + "/there-is-no-such-folder"],
    ],
)
def test_usage_errors_are_one_line_and_exit_2(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "sagegen", "check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr
