"""Docker, HTTP and the sample data for the container tests: how they ask, not what they promise."""

import csv
import io
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow.parquet
import pytest
import requests

T = TypeVar("T")

REPOSITORY = Path(__file__).parent.parent
SAMPLE = REPOSITORY / "local_test" / "opt_ml"
PAYLOADS = REPOSITORY / "local_test" / "payloads"
PLATFORM = os.environ.get("PLATFORM", "linux/amd64")

POLL_SECONDS = 0.2
# SageMaker waits 8 minutes for a first healthy /ping (S-13); nothing here may take half of that.
PATIENCE_SECONDS = 240
INVOCATION_SECONDS = 60  # S-22
PING_SECONDS = 2  # S-12

# Files may not be left to root on the tester's machine. Root itself stands in for an unprivileged user.
MYSELF = f"{os.getuid()}:{os.getgid()}"
UNPRIVILEGED = (993, 990) if os.getuid() == 0 else (os.getuid(), os.getgid())


def wait_until(condition: Callable[[], T], what: str, seconds: float = PATIENCE_SECONDS) -> T:
    """The condition's first true value. Fails with what was waited for."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:g} s for {what}")
        time.sleep(POLL_SECONDS)
    return value


def docker(*arguments: str, stdin: bytes | None = None, seconds: float = PATIENCE_SECONDS) -> str:
    """Run a docker command and return what it printed. Fails with its own words."""
    done = subprocess.run(
        ["docker", *arguments], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds
    )
    output = done.stdout.decode(errors="replace")
    if done.returncode:
        pytest.fail(f"docker {' '.join(arguments)}: exit code {done.returncode}\n{output}")
    return output.strip()


@dataclass(frozen=True)
class Container:
    """A container in the background."""

    name: str

    @property
    def log(self) -> str:
        """Everything that it printed so far."""
        return docker("logs", self.name)

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        state = json.loads(docker("inspect", "--format", "{{json .State}}", self.name))
        return None if state["Running"] else state["ExitCode"]

    @property
    def has_ended(self) -> bool:
        """Whether it runs no more."""
        return self.exit_code is not None

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """The exit code, once it ends."""
        try:
            return int(docker("wait", self.name, seconds=seconds))
        except subprocess.TimeoutExpired:
            pytest.fail(f"{self.name} did not end within {seconds:g} s:\n{self.log}")

    def wait_for(self, text: str, times: int = 1) -> None:
        """Follow its log until so many lines held a text."""
        command = ["docker", "logs", "--follow", self.name]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as follower:
            deadline = threading.Timer(PATIENCE_SECONDS, follower.kill)
            deadline.start()
            try:
                for line in follower.stdout or ():
                    times -= text in line
                    if not times:
                        return
            finally:
                deadline.cancel()
                follower.kill()
        pytest.fail(f"{self.name} ended, or went on too long, without {text!r} in its log:\n{self.log}")

    def send(self, signal: str) -> None:
        """Signal its PID 1, as SageMaker does."""
        docker("kill", "--signal", signal, self.name)

    def kill_all_but_pid_1(self) -> None:
        """SIGKILL to every process that the entry point started, as the kernel does when memory runs out."""
        docker("exec", self.name, "sh", "-c", "kill -9 -1")

    def python(self, program: str, stdin: bytes = b"") -> str:
        """Run a small program inside."""
        return docker("exec", "--interactive", self.name, "python", "-c", program, stdin=stdin)

    def port(self, inside: int = 8080) -> int:
        """The port of this machine that leads to one of its own."""
        return int(docker("port", self.name, str(inside)).splitlines()[0].rpartition(":")[2])


class Containers:
    """Starts containers of one image, and removes every one of them."""

    def __init__(self, image: str, prefix: str) -> None:
        self.image = image
        self.label = f"tests={prefix}"
        self._prefix = prefix
        self._count = 0

    def start(self, *options: str, command: Iterable[str] = ()) -> Container:
        """`docker run --detach OPTIONS IMAGE COMMAND`."""
        self._count += 1
        name = f"{self._prefix}-{self._count}"
        docker("run", "--detach", "--name", name, *self._options(), *options, self.image, *command)
        return Container(name)

    def run(self, *options: str, command: Iterable[str] = ()) -> "subprocess.CompletedProcess[str]":
        """`docker run --rm OPTIONS IMAGE COMMAND`, to its end."""
        arguments = ["docker", "run", "--rm", *self._options(), *options, self.image, *command]
        return subprocess.run(arguments, capture_output=True, text=True, timeout=PATIENCE_SECONDS)

    def train(
        self, opt_ml: Path, *options: str, user: str = MYSELF, command: Iterable[str] = ("train",)
    ) -> Container:
        """A training job on this tree, with read-only channels (T-33)."""
        mounts = ("--volume", f"{opt_ml}:/opt/ml", "--volume", f"{opt_ml}/input:/opt/ml/input:ro")
        return self.start(*mounts, "--user", user, *options, command=command)

    def serve(
        self,
        model_dir: Path,
        *options: str,
        command: Iterable[str] = ("serve",),
        ports: Iterable[int] = (8080,),
        **environment: str,
    ) -> Container:
        """A container that serves a read-only model (S-40), with one worker unless told otherwise."""
        environment = {"SAGEMAKER_MODEL_SERVER_WORKERS": "1", **environment}
        variables = [part for key, value in environment.items() for part in ("--env", f"{key}={value}")]
        published = [part for port in ports for part in ("--publish", f"127.0.0.1::{port}")]
        mount = ("--volume", f"{model_dir}:/opt/ml/model:ro")
        return self.start(*mount, *variables, *published, *options, command=command)

    def endpoint(
        self,
        model_dir: Path,
        *options: str,
        command: Iterable[str] = ("serve",),
        port: int = 8080,
        **environment: str,
    ) -> "Endpoint":
        """The same, reached over HTTP."""
        container = self.serve(model_dir, *options, command=command, ports=(port,), **environment)
        return Endpoint(container, container.port(port))

    def remove(self) -> None:
        """Remove all that were started, running or not."""
        if names := docker("ps", "--all", "--quiet", "--filter", f"label={self.label}").split():
            docker("rm", "--force", "--volumes", *names)

    def _options(self) -> tuple[str, ...]:
        return ("--platform", PLATFORM, "--label", self.label)


@dataclass(frozen=True)
class Ping:
    """One answer of /ping: no status where the connection was refused or cut, or none came (S-15)."""

    status: int | None
    seconds: float


class Endpoint:
    """HTTP to a container, and a record of its health from the first moment on."""

    def __init__(self, container: Container, port: int, first_request: bytes = b"") -> None:
        self.container = container
        self.url = f"http://127.0.0.1:{port}"
        self.port = port
        self.pings: list[Ping] = []
        self.first_answer: requests.Response | None = None
        self._first_request = first_request
        self._closed = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Endpoint":
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._watcher.join()

    def wait_until_healthy(self) -> None:
        """Wait for the first 200 of /ping."""

        def healthy() -> bool:
            status = self.ping().status
            if status is None and self.container.has_ended:
                pytest.fail(f"the endpoint ended:\n{self.container.log}")
            return status == 200

        wait_until(healthy, "a healthy /ping")

    def ping(self, method: str = "GET") -> Ping:
        """Ask /ping once."""
        started = time.monotonic()
        try:
            status = self.ask("/ping", method).status_code
        except requests.RequestException:
            status = None
        return Ping(status, time.monotonic() - started)

    def ask(self, path: str, method: str = "GET", **arguments: Any) -> requests.Response:
        """One request on a connection of its own, past any proxy of this machine."""
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, self.url + path, timeout=INVOCATION_SECONDS, **arguments)

    def invoke(
        self,
        body: bytes | Iterable[bytes],
        content_type: str | None = "text/csv",
        accept: str | None = "text/csv",
        **more: str,
    ) -> requests.Response:
        """POST /invocations. An iterable is sent in chunks, without a length."""
        headers = {"Content-Type": content_type, "Accept": accept, **more}
        return self.ask("/invocations", "POST", data=body, headers=headers)

    def _watch(self) -> None:
        while not self._closed.wait(POLL_SECONDS):
            self.pings.append(self.ping())
            if self._first_request and self.pings[-1].status == 200:
                self.first_answer = self.invoke(self._first_request)
                self._first_request = b""


def predictions(response: requests.Response) -> list[str]:
    """What a response predicts, as text: one per row, whatever its media type."""
    assert response.status_code == 200, f"{response.status_code}: {response.text}"
    body = response.content
    match response.headers["Content-Type"].partition(";")[0]:
        case "text/csv":
            values = [row[0] for row in csv.reader(io.StringIO(body.decode()))]
        case "application/json":
            values = json.loads(body)["predictions"]
        case "application/jsonlines":
            values = [json.loads(line) for line in body.splitlines()]
        case "application/x-npy":
            values = np.load(io.BytesIO(body), allow_pickle=False).tolist()
        case "application/x-parquet":
            values = pyarrow.parquet.read_table(io.BytesIO(body)).column(0).to_pylist()
        case other:
            pytest.fail(f"unknown media type {other}")
    return [str(value) for value in values]


def make_opt_ml(folder: Path, **hyperparameters: str) -> Path:
    """A new /opt/ml with the sample job's input and these hyperparameters."""
    shutil.copytree(SAMPLE / "input", folder / "input")
    for name in ("model", "output/data", "checkpoints"):
        (folder / name).mkdir(parents=True)
    write_config(folder, "hyperparameters", hyperparameters)
    return folder


def write_config(opt_ml: Path, name: str, content: object) -> None:
    """Write one of the job's configuration files."""
    (opt_ml / "input" / "config" / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


def read_failure(opt_ml: Path) -> str:
    """The failure file's text, which becomes the job's FailureReason; empty where there is none."""
    file = opt_ml / "output" / "failure"
    return file.read_text(encoding="utf-8") if file.exists() else ""
