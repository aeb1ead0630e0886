"""Training containers: run one from start to end, and write down what it left."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import IO, Any

from sagegen.check.fixture import Job
from sagegen.check.probe import ask
from sagegen.check.rig import Rig, tree
from sagegen.engine import Box, Exit, File, StartFailed
from sagegen.platform import PORT


@dataclass(frozen=True)
class Run:
    """One training container from start to end."""

    line: str
    exit: Exit
    start_error: str = ""
    log: list[tuple[float, str]] = field(default_factory=list)
    failure: bytes | None = None
    model: Mapping[str, File] = field(default_factory=dict)
    output: Mapping[str, File] = field(default_factory=dict)
    checkpoints: Mapping[str, File] = field(default_factory=dict)
    written: int = 0
    model_archive: IO[bytes] | None = None
    #: It was ended because it had used no CPU for so many seconds.
    idle_seconds: float = 0.0
    #: It was ended because it answers /ping: a server, not a job.
    serves: bool = False
    #: It was ended because it listens on a server's port, without a network on which to ask it.
    listens: bool = False

    @property
    def ok(self) -> bool:
        """It ran and ended with 0."""
        return not self.start_error and self.exit.code == 0

    @property
    def text(self) -> str:
        """The log."""
        return "\n".join(text for _, text in self.log)

    @property
    def end(self) -> str:
        """How it ended, for people."""
        if self.start_error:
            return f"cannot start: {self.start_error}"
        if self.serves:
            return f"a server: it answers /ping after {self.exit.seconds:.0f} s, and does not end"
        if self.exit.running:
            idle = f", the last {self.idle_seconds:.0f} s without using the CPU" if self.idle_seconds else ""
            return f"still running after {self.exit.seconds:.0f} s{idle}"
        memory = ", out of memory" if self.exit.out_of_memory else ""
        return f"exit code {self.exit.code}{memory} after {self.exit.seconds:.1f} s{self._last()}"

    def _last(self) -> str:
        last = next((text for _, text in reversed(self.log) if text.strip()), "")
        return f": {last.strip()[:160]}" if last and self.exit.code else ""

    def needs_network(self) -> bool:
        """Its log complains that the network is gone."""
        return bool(NETWORK.search(self.text))


NETWORK = re.compile(
    r"name resolution|Name or service not known|nodename nor servname|Network is unreachable|No route to host"
    r"|Could not resolve host|getaddrinfo|Max retries exceeded|Connection timed out|Temporary failure",
    re.IGNORECASE,
)


def train(
    rig: Rig,
    job: Job,
    *,
    network: str | None = None,
    checkpoints: IO[bytes] | None = None,
    during: Callable[[Box], None] | None = None,
    keep_model: bool = False,
    seconds: float | None = None,
    waits: bool = False,
    cpus: float | None = None,
) -> Run:
    """Run one job to its end, at most `seconds` (default: the user's --timeout) after `during` has returned.

    A job that stops using the CPU is ended early, unless it `waits` for other hosts or for a FIFO.
    """
    own = rig.lab.network() if job.network and network is None else network
    spec, line = rig.training(job, own)
    spec = replace(spec, cpus=cpus) if cpus else spec
    with rig.lab.container(spec) as box:
        box.write("/opt/ml", tree(job))
        if checkpoints:
            checkpoints.seek(0)
            box.write("/opt/ml", checkpoints)
        try:
            box.start()
        except StartFailed as error:
            return Run(line, Exit(None, 0.0), str(error))
        if during:
            during(box)
        seconds = seconds or rig.limits.timeout
        seen: dict[str, Any] = {}
        # A job that computes on a GPU may use no CPU meanwhile.
        state = box.wait(seconds) if waits or rig.lab.gpus else _watch(box, rig, seconds, seen)
        if state.running:
            box.signal("SIGKILL")
            box.wait(10)
        return replace(record(box, line, state, keep_model=keep_model), **seen)


#: A job that uses less of one CPU than this does nothing.
IDLE_SHARE = 0.01


def _watch(box: Box, rig: Rig, seconds: float, seen: dict[str, Any]) -> Exit:
    """Wait for its end, or until it is clear that it does not end; `seen` then tells why."""
    state = box.wait(min(3.0, seconds))
    if not state.running:
        return state
    look, since, used = 3.0, box.age, box.cpu_seconds()
    address = box.address(PORT) if box.spec.network else None
    while state.running and box.age < seconds:
        if address and ask(address, "GET", "/ping", seconds=1.0).status == 200:
            seen["serves"] = True
            return state
        if not box.spec.network and box.age > look:
            before, look = box.cpu_seconds() or 0.0, 2 * look
            if _listens(box):
                seen["listens"] = True
                return state
            # Looking costs CPU, which is counted as the container's.
            used = used + (box.cpu_seconds() or 0.0) - before if used is not None else None
        state = box.wait(min(1.0, max(0.05, seconds - box.age)))
        now, idle = box.cpu_seconds() if state.running else None, box.age - since
        busy = now is None or used is None or now - used > IDLE_SHARE * max(1.0, idle)
        # On a machine that is overloaded, a job that has work gets no CPU for seconds.
        if busy or (state.running and not box.sleeps()):
            since, used = box.age, now
        elif idle > rig.limits.idle:
            seen["idle_seconds"] = idle
            return state
    return state


def _listens(box: Box) -> bool:
    """Whether a process inside listens on a server's port, for an image that has `cat`."""
    text = box.run("cat", "/proc/net/tcp", "/proc/net/tcp6") or ""
    return bool(re.search(rf":{PORT:04X} [0-9A-F]+:0000 0A ", text))


def record(box: Box, line: str, state: Exit, *, keep_model: bool = False) -> Run:
    """Write down what an ended training container left."""
    failure = box.files("/opt/ml/output")
    archive = box.archive("/opt/ml/model") if keep_model else None
    return Run(
        line,
        state,
        log=box.logs(),
        failure=failure["failure"].content if "failure" in failure else None,
        output=failure,
        model=box.files("/opt/ml/model"),
        checkpoints=box.files("/opt/ml/checkpoints"),
        written=box.written_bytes(),
        model_archive=archive,
    )


def together(*calls: Callable[[], Any]) -> list[Any]:
    """The results of calls that run at the same time."""
    with ThreadPoolExecutor(max_workers=3) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def patience(rig: Rig, base: Run) -> float:
    """Enough for a job that is like one that took so long, and no more."""
    return min(rig.limits.timeout, 30 + 5 * base.exit.seconds)
