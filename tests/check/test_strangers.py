# ruff: noqa: E501 – an image is one line: what is replaced by what
"""Images that are unusual and right: the check warns of nothing, or of exactly what they lack."""

from __future__ import annotations

import pytest
from bank import Bank, breaches
from mutants import INVOKE, WEB, Mutant

from sagegen.check.core import Outcome
from sagegen.check.limits import Limits
from sagegen.check.progress import Silent
from sagegen.check.run import Request, choose, run
from sagegen.check.scenarios.interruption import WATCH_SECONDS

pytestmark = pytest.mark.mutants

#: PID 1 tells its child to stop by a file, not by a signal.
BY_FILE = """#!/usr/bin/env python3
import os, signal, subprocess, sys
signal.signal(signal.SIGTERM, lambda *_: open("/tmp/stop", "w").close())
child = subprocess.Popen([sys.executable, "/opt/program/work"])
sys.exit(child.wait())
"""


def variant(bank: Bank, name: str, files: dict[str, str], *instructions: str) -> str:
    """An image on top of the healthy one."""
    copy = [f"COPY {' '.join(files)} /opt/program/"] if files else []
    dockerfile = "\n".join([f"FROM {bank.healthy}", *copy, *instructions]) + "\n"
    return bank.build(f"stranger-{name}", {**files, "Dockerfile": dockerfile})


def test_a_parent_that_stops_its_child_without_a_signal_is_right(bank: Bank) -> None:
    work = bank.source("train").replace("        if stop:\n", '        if Path("/tmp/stop").exists():\n')
    # The check tells by CPU time which process does the work: the child must use more than a wrapper's start does.
    work = work.replace(
        "time.sleep(EPOCH_SECONDS)",
        "work_until = time.process_time() + 0.5\n        while time.process_time() < work_until: pass",
    )
    work = work.replace("(signal.SIGTERM, on_sigterm)", "(signal.SIGTERM, signal.SIG_IGN)")
    image = variant(bank, "by-file", {"train": BY_FILE, "work": work})
    # The job takes seconds of CPU time, and shares the machine with other checks.
    report = bank.check(image, rules=("T-60", "T-61"), patience=120)
    found = {rule.id: verdict for rule, verdict in report.verdicts.items()}
    assert breaches(report) == {}
    assert found["T-61"].text == "PID 1 tells its child in its own way"
    # To see that no signal reaches the child, the check stops it for so long: that is not the image's time.
    assert float(found["T-60"].measured["seconds"]) < WATCH_SECONDS


def test_an_image_without_shells_trains(bank: Bank) -> None:
    remove = "import os; [os.remove(f'/usr/bin/{name}') for name in ('sh', 'bash', 'dash')]"
    image = variant(bank, "no-shell", {}, f'RUN ["python3", "-c", "{remove}"]')
    # The SDK's driver is a bash script: that is said, and nothing else.
    assert set(breaches(bank.check(image, only=("train",)))) == {"T-82"}


def test_a_server_that_ignores_its_argument_is_not_blamed_for_its_training(bank: Bank) -> None:
    serve = bank.source("serve").replace('load("/opt/ml/model")', "{}")
    image = variant(bank, "server-only", {"train": serve})
    chosen = tuple(choose(("train",), (), ()))
    report = run(bank.engine, Request(image, chosen, limits=Limits.make(480)), Silent())
    assert {verdict.outcome for verdict in report.verdicts.values()} == {Outcome.SKIP}
    texts = {verdict.text for rule, verdict in report.verdicts.items() if rule.id != "T-78"}
    assert all("a server: it answers /ping" in text for text in texts), texts
    # Known long before the patience with a job is over.
    assert report.seconds < 480 / 4


def test_a_server_fails_once_where_a_job_was_asked_for(bank: Bank) -> None:
    serve = bank.source("serve").replace('load("/opt/ml/model")', "{}")
    report = bank.check(variant(bank, "server-only", {"train": serve}), only=("train",))
    assert set(breaches(report)) == {"T-50"}


def test_a_job_that_never_ends_is_known_long_before_its_time_is_up(bank: Bank) -> None:
    hang = bank.source("train").replace("def main():\n", "def main():\n    time.sleep(10**6)\n")
    report = bank.check(variant(bank, "never-ends", {"train": hang}), rules=("T-50", "T-24"), patience=480)
    assert set(breaches(report)) == {"T-50"}
    assert report.seconds < 480 / 4


# --- servers

#: PID 1 watches three workers that share its socket.
WORKERS = """    workers = []
    for _ in range(3):
        pid = os.fork()
        if not pid:
            break
        workers.append(pid)
    if len(workers) == 3:
        signal.signal(signal.SIGTERM, lambda *_: [os.kill(pid, signal.SIGTERM) for pid in workers])
        if os.wait()[1]:
            os._exit(1)
        os.wait()
        os.wait()
        os._exit(0)
    try:
"""
PER_ROW = 'str(sum(map(float, line.split(","))) + model["bias"])'
LINES_OF_ANSWER = '    return ("\\n".join(answers) + "\\n").encode()\n'
ALL = (*WEB, "S-06", "B-08", "B-09", "B-10", "B-12")


def unusual(
    name: str, *changes: tuple[str, str], dockerfile: str = "", rules: tuple[str, ...] = ALL
) -> Mutant:
    """An image that does something rare, and nothing wrong."""
    return Mutant(
        "right", tuple(("serve", *change) for change in changes), dockerfile, rules=rules, name=name
    )


UNUSUAL = [
    unusual("answers-vary", (PER_ROW, PER_ROW + ' + f"{time.monotonic_ns() % 1000}"')),
    unusual("answers-vary-in-length", (LINES_OF_ANSWER, '    answers += ["more"] * (time.monotonic_ns() // 1000 % 7)\n' + LINES_OF_ANSWER)),
    unusual("answers-round-differently-under-load", (PER_ROW, 'f"{sum(map(float, line.split(\',\'))) + model[\'bias\'] + in_flight * 1e-9:.12f}"')),
    unusual("no-content-length", ('    protocol_version = "HTTP/1.1"\n', '    protocol_version = "HTTP/1.0"\n'), ("        self.chunk(answer[:1])\n        time.sleep(0.05)\n        self.chunk(answer[1:])\n        self.chunk(b\"\")\n", "        self.wfile.write(answer)\n"), ('        self.send_header("Transfer-Encoding", "chunked")\n', ""), ('        self.send_header("Content-Length", str(len(body)))\n', "")),
    unusual("several-processes", ("    try:\n        server.serve_forever()", WORKERS + "        server.serve_forever()")),
    unusual("no-shell", dockerfile='RUN ["python3", "-c", "import os; os.remove(\'/usr/bin/sh\')"]'),
    unusual("ends-well-without-a-worker", ("    server = Server(", "    if os.fork():\n        os.wait()\n        os._exit(0)\n    server = Server("), rules=("S-06", "S-13", "S-20")),
    unusual("refuses-with-503-after-the-signal", (INVOKE, INVOKE + "        if draining:\n            self.reply(503)\n            return\n")),
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def begun(bank: Bank, request: pytest.FixtureRequest) -> None:
    """The checks of all selected servers begin together."""
    here = [item for item in request.session.items if item.parent is request.node]
    bank.begin([item.callspec.params["server"] for item in here if hasattr(item, "callspec")])


@pytest.mark.parametrize("server", UNUSUAL, ids=lambda server: server.name)
def test_an_unusual_server_that_is_right_is_not_warned_of(bank: Bank, server: Mutant) -> None:
    assert breaches(bank.report(server)) == {}
