"""Engines other than the one on this machine with its socket: elsewhere, and without GPUs."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer

import pytest
from bank import HERE, Bank, breaches

from sagegen.check.core import Outcome
from sagegen.check.fixture import Fixture
from sagegen.check.limits import Limits
from sagegen.check.progress import Silent
from sagegen.check.rig import Payload, Rig
from sagegen.check.run import Request, choose, run
from sagegen.engine import Engine, Lab, Spec
from sagegen.errors import USAGE, SagegenError

pytestmark = pytest.mark.mutants


class Forward(BaseRequestHandler):
    """A connection to a TCP port, passed on to the engine's socket."""

    def handle(self) -> None:
        with socket.socket(socket.AF_UNIX) as engine, suppress(OSError):
            engine.connect(self.server.path)  # type: ignore[attr-defined]
            threading.Thread(target=self.copy, args=(engine, self.request), daemon=True).start()
            self.copy(self.request, engine)

    @staticmethod
    def copy(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@pytest.fixture
def elsewhere(bank: Bank) -> Iterator[Engine]:
    """The engine as one that is reached over the network: its containers' addresses mean nothing here."""
    base = bank.engine.client.api.base_url
    if not base.startswith("http+docker://"):
        pytest.skip("the engine is elsewhere already")
    with ThreadingTCPServer(("127.0.0.1", 0), Forward) as server:
        server.daemon_threads = True
        server.path = "/var/run/docker.sock"  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Engine.at(f"tcp://127.0.0.1:{server.server_address[1]}")
        server.shutdown()


def test_published_ports_do_where_the_containers_addresses_cannot_be_reached(
    bank: Bank, elsewhere: Engine
) -> None:
    chosen = tuple(choose(("serve", "batch"), (), ()))
    payload = Payload((HERE / "rows.csv").read_bytes(), "text/csv")
    request = Request(bank.healthy, chosen, bank.with_model, payload, limits=Limits.make(25))
    report = run(elsewhere, request, Silent())
    assert breaches(report) == {}
    assert {one.id: v.text for one, v in report.verdicts.items() if v.outcome is Outcome.SKIP} == {}


@pytest.mark.skipif(shutil.which("nvidia-container-cli") is not None, reason="this engine may have GPUs")
def test_an_engine_without_gpus_is_a_usage_error(bank: Bank) -> None:
    chosen = tuple(choose((), ("T-01",), ()))
    with pytest.raises(SagegenError, match=r"the engine cannot give GPUs: .* leave --gpus out") as error:
        run(bank.engine, Request(bank.healthy, chosen, HERE / "opt_ml", gpus=True), Silent())
    assert error.value.exit_code == USAGE


def test_a_container_gets_as_many_cpus_as_the_check_was_told_and_its_line_says_so(bank: Bank) -> None:
    lab, spec = Lab(bank.engine, bank.healthy, cpus=0.5), Spec(command=("serve",))
    try:
        with lab.container(spec) as box:
            host = bank.engine.client.api.inspect_container(box.id)["HostConfig"]
    finally:
        lab.close()
    assert host["CpuQuota"] / host["CpuPeriod"] == 0.5
    assert "--cpus=0.5 " in Rig(lab, Fixture(None), None, Limits()).serving(spec)


def test_a_container_gets_the_variables_that_the_check_was_told_and_its_line_says_so(bank: Bank) -> None:
    spec = Spec(command=("serve",), environment={"B": "the scenario's own"})
    lab = Lab(bank.engine, bank.healthy, environment={"A": "x y", "B": "the user's"})
    try:
        with lab.container(spec) as box:
            given = bank.engine.client.api.inspect_container(box.id)["Config"]["Env"]
    finally:
        lab.close()
    assert {"A=x y", "B=the scenario's own"} <= set(given)
    rig = Rig(lab, Fixture(None), None, Limits())
    assert "'--env=A=x y' " in rig.serving(spec)
