"""Containers under test: started, looked into, and removed whatever happens."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from sagegen.engine import TROUBLE, Engine

from .waiting import wait_until

#: As tests/conftest.py removes what an interrupted run left.
LABEL = f"sagegen.test={os.environ.get('SAGEGEN_TEST_RUN', os.getpid())}"
PORT = 8080
PING_SECONDS = 2  # S-12
STOP_SECONDS = 30  # S-03
START_SECONDS = 120

# Prints one line of JSON per look at every process of the container but those of `docker exec`.
LOOK = """
import json, os, select, sys

def text(path):
    with open(path, errors="replace") as file:
        return file.read()

def look():
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                state, parent = text(f"/proc/{entry}/stat").rpartition(")")[2].split()[:2]
                status = dict(l.split(":", 1) for l in text(f"/proc/{entry}/status").splitlines() if ":" in l)
                found[int(entry)] = {
                    "parent": int(parent), "state": state, "threads": int(status["Threads"]),
                    "command": text(f"/proc/{entry}/cmdline").replace("\\0", " ").strip(),
                    "memory": 1024 * int(status.get("RssAnon", "0 kB").split()[0]),
                    "descriptors": len(os.listdir(f"/proc/{entry}/fd")),
                }
            except (OSError, KeyError, ValueError):
                continue  # gone in between
    return [{"pid": p, **found[p]} for p in found if belongs(p, found)]

def belongs(pid, found):
    while pid != 1:
        if pid not in found or found[pid]["parent"] == 0:
            return False
        pid = found[pid]["parent"]
    return True

while True:
    print(json.dumps(look()), flush=True)
    if len(sys.argv) < 2 or select.select([sys.stdin], [], [], float(sys.argv[1]))[0]:
        break
"""


def docker(*arguments: str, seconds: float = 120) -> str:
    """Run a docker command and return what it printed. Fails with its own words."""
    done = subprocess.run(
        ["docker", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds
    )
    output = done.stdout.decode(errors="replace").strip()
    if done.returncode:
        raise AssertionError(f"docker {' '.join(arguments)[:200]}: exit code {done.returncode}\n{output}")
    return output


@cache
def api() -> Any:
    """The engine's API, for what is asked often: a docker command costs 0.1 s of CPU each time."""
    return Engine.connect().client.api


def execute(container: str, *command: str) -> str:
    """Run a command in a container and return what it printed. Fails with its own words."""
    try:
        identity = api().exec_create(container, list(command))["Id"]
        output = str(api().exec_start(identity).decode(errors="replace")).strip()
        code = api().exec_inspect(identity)["ExitCode"]
    except TROUBLE as error:
        raise AssertionError(f"{command[0]} in {container}: {error}") from error
    assert code == 0, f"{command[0]} in {container}: exit code {code}\n{output}"
    return output


@dataclass(frozen=True)
class Process:
    """A process of a container."""

    pid: int
    parent: int
    state: str
    command: str
    threads: int
    memory: int
    descriptors: int

    @property
    def kind(self) -> str:
        """Its part in the container."""
        if self.pid == 1:
            return "pid 1"
        if title := re.match(r"\w+: \w+", self.command):  # as in "nginx: master process"
            return title[0]
        if "resource_tracker" in self.command:
            return "resource tracker"
        return "server" if self.parent == 1 else "worker"


def _processes(line: str) -> list[Process]:
    return [Process(**each) for each in json.loads(line)]


@dataclass(frozen=True)
class Container:
    """A container that serves."""

    name: str
    address: tuple[str, int]
    workers: int

    @property
    def log(self) -> str:
        """Everything that it printed so far."""
        return str(api().logs(self.name).decode(errors="replace")).strip()

    @property
    def _state(self) -> dict[str, Any]:
        found: dict[str, Any] = api().inspect_container(self.name)["State"]
        return found

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        state = self._state
        return None if state["Running"] else int(state["ExitCode"])

    def processes(self) -> list[Process]:
        """Every process in it; zombies too. None once it has ended."""
        while self.exit_code is None:
            try:
                return _processes(execute(self.name, "python", "-c", LOOK))
            except AssertionError:
                # It may be about to end, which the engine is the last to know.
                wait_until(lambda: self.exit_code is not None or self.ping(), "an end, or a life sign")
        return []

    def process_ids(self) -> set[str]:
        """The processes, by their names outside: quicker to know."""
        return {process[0] for process in api().top(self.name, "-eo pid")["Processes"]}

    def pids(self, kind: str) -> set[int]:
        """The living processes of a kind."""
        return {each.pid for each in self.processes() if each.kind == kind and each.state != "Z"}

    def signal(self, name: str) -> None:
        """Signal its PID 1, as SageMaker does."""
        api().kill(self.name, name)

    def kill_processes(self, pids: Sequence[int]) -> None:
        """SIGKILL to processes in it, as the kernel does when memory runs out."""
        execute(self.name, "python", "-c", f"import os; [os.kill(p, 9) for p in {list(pids)}]")

    def ask(
        self,
        method: str = "POST",
        path: str = "/invocations",
        body: bytes = b"",
        content_type: str = "text/csv",
        accept: str = "text/csv",
        timeout: float = 60,
    ) -> tuple[int, bytes]:
        """One request on a connection of its own: status and body."""
        connection = http.client.HTTPConnection(*self.address, timeout=timeout)
        try:
            connection.request(method, path, body, {"Content-Type": content_type, "Accept": accept})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def ping(self) -> int | None:
        """The status of /ping, as SageMaker sees it: None for a refusal, a cut, or two seconds of silence."""
        try:
            return self.ask("GET", "/ping", timeout=PING_SECONDS)[0]
        except (OSError, http.client.HTTPException):
            return None

    def wait_until_healthy(self) -> None:
        """Wait for a 200 of /ping."""
        wait_until(lambda: self.ping() == 200 or self.exit_code is not None, "a healthy /ping", START_SECONDS)
        assert self.exit_code is None, f"{self.name} ended:\n{self.log[-3000:]}"

    def wait_until_complete(self) -> None:
        """Wait for every worker, too: the first of them alone makes /ping healthy."""
        self.wait_until_healthy()
        wait_until(lambda: len(self.pids("worker")) == self.workers, "every worker", START_SECONDS)

    def ran_until(self) -> float:
        """When it ended, in seconds since the epoch."""
        text = self._state["FinishedAt"]
        return datetime.fromisoformat(text[:26].rstrip("Z") + "+00:00").timestamp()

    def wait_for_end(self, seconds: float) -> int:
        """The exit code, once it ends."""
        wait_until(lambda: self.exit_code is not None, "an end", seconds)
        code = self.exit_code
        assert code is not None
        return code


class Containers:
    """Starts containers of one image, and removes every one of them."""

    def __init__(self, image: str) -> None:
        self.image = image
        self._names: list[str] = []

    def serve(self, model_dir: Path, *options: str, workers: int = 2, **environment: str) -> Container:
        """A container that serves a read-only model (S-40)."""
        environment = {"SAGEMAKER_MODEL_SERVER_WORKERS": str(workers), **environment}
        variables = [part for key, value in environment.items() for part in ("--env", f"{key}={value}")]
        name = f"faults-{os.getpid()}-{time.monotonic_ns() % 10**9}"
        mount = ("--volume", f"{model_dir}:/opt/ml/model:ro")
        self._names.append(name)
        docker(
            "run",
            "--detach",
            "--name",
            name,
            "--label",
            LABEL,
            *mount,
            *variables,
            *options,
            self.image,
            "serve",
        )
        [network] = api().inspect_container(name)["NetworkSettings"]["Networks"].values()
        return Container(name, (network["IPAddress"], PORT), workers)

    def remove(self) -> None:
        """Remove all that were started, running or not."""
        if self._names:
            subprocess.run(
                ["docker", "rm", "--force", "--volumes", *self._names], capture_output=True, timeout=120
            )
        self._names.clear()


@dataclass(frozen=True)
class Sample:
    """One look at all processes of a container."""

    moment: float
    processes: Sequence[Process]

    @property
    def memory(self) -> int:
        """Bytes that belong to the processes alone."""
        return sum(each.memory for each in self.processes)

    @property
    def descriptors(self) -> int:
        """Open descriptors of all processes."""
        return sum(each.descriptors for each in self.processes)

    @property
    def threads(self) -> int:
        """Threads of all processes."""
        return sum(each.threads for each in self.processes)

    @property
    def kinds(self) -> Counter[str]:
        """How many processes of each kind."""
        return Counter(each.kind for each in self.processes)


@dataclass
class Watch:
    """Samples of a container while a block runs."""

    samples: list[Sample] = field(default_factory=list)
    has_ended: bool = False

    @property
    def peak(self) -> int:
        """The most memory that was seen."""
        return max(sample.memory for sample in self.samples)


@contextmanager
def watching(container: Container, every: float = 0.25) -> Iterator[Watch]:
    """Look into the container again and again, from one process inside."""
    command = ["docker", "exec", "--interactive", container.name, "python", "-c", LOOK, str(every)]
    watch = Watch()
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe, stderr=nothing) as process:
        assert process.stdin

        def read() -> None:
            assert process.stdout
            for line in process.stdout:
                if line.endswith("\n"):
                    watch.samples.append(Sample(time.monotonic(), _processes(line)))
            watch.has_ended = True

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        wait_until(lambda: watch.samples or process.poll() is not None, "a first look")
        try:
            yield watch
        finally:
            process.stdin.close()  # on which it ends, inside too
            reader.join()
