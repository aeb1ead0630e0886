"""Jobs that are interrupted, and go on."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import IO, Any

from sagegen.check.core import Evidence, Skip, scenario
from sagegen.check.jobs import Run, patience, record, together, train
from sagegen.check.rig import Rig, tree
from sagegen.check.scenarios.train import TRAIN
from sagegen.engine import TROUBLE, Box, Exit, read_tar


def shapes(log: Sequence[tuple[float, str]]) -> Counter[str]:
    """How often the log holds each kind of line, numbers aside."""
    return Counter(re.sub(r"[\d.e+-]+", "#", text).strip() for _, text in log if text.strip())


def repeats(run: Run, other: Run) -> bool:
    """Whether a run printed at least all that another did."""
    mine, theirs = shapes(run.log), shapes(other.log)
    return bool(theirs) and all(mine[shape] >= count for shape, count in theirs.items())


def goes_on(run: Run, lines: int) -> bool:
    """Whether a run, after so many lines of its log, twice printed one more of a kind that it had printed."""
    before, after = shapes(run.log[:lines]), shapes(run.log[lines:])
    return any(count > 1 and before[shape] for shape, count in after.items())


#: A job of a second has no middle to interrupt: until then it runs on a part of a CPU.
SHORT_SECONDS, SLOW_CPUS = 20.0, 0.25


def _slow(full: Run) -> float | None:
    return SLOW_CPUS if full.exit.seconds < SHORT_SECONDS else None


def midway(box: Box, rig: Rig, base: Run) -> bool:
    """Wait for the first checkpoint; where there are none, for half of the time. False: it has ended."""
    half = 0.5 * base.exit.seconds
    if box.spec.cpus:
        # Most of a short job is its start, which uses one CPU.
        half /= box.spec.cpus
    while box.state().running:
        begun = time.monotonic()
        if _saved(box, base) if base.checkpoints else box.age > half:
            break
        rig.lab.pause(max(0.05, time.monotonic() - begun))
    return box.state().running


def _saved(box: Box, base: Run) -> bool:
    """Whether a checkpoint is complete: a file that is still being written may have a name of its own."""
    kinds = {_kind(name) for name, file in base.checkpoints.items() if file.kind == "file"}
    found = kinds & {_kind(name) for name in box.names("/opt/ml/checkpoints")}
    return found == kinds or (bool(found) and len(box.logs()) > 0.5 * len(base.log))


def _kind(name: str) -> str:
    """A file's name, numbers aside."""
    return re.sub(r"\d+", "#", name)


@dataclass(frozen=True)
class Termination:
    """SIGTERM in the middle of a job."""

    run: Run
    stop: Exit | None  # None: it had ended before
    #: /opt/ml/checkpoints just before, as SIGKILL would have left it.
    saved: IO[bytes] | None = None
    #: Lines of the log just before.
    lines: int = 0
    #: Whether SIGTERM reached a process below PID 1; None where there is no such process.
    told: bool | None = None
    alone: bool = True  # PID 1 is the one that works
    left_early: bool = False  # PID 1 ended while its children could not


# Waits until they have stopped, at most two seconds. A process that receives SIGSTOP and SIGTERM at once
# handles SIGTERM first, since its number is lower: it would no longer be pending.
PAUSE_CHILDREN = """
paused=
for d in /proc/[0-9]*; do
  p=${d#/proc/}
  read -r s < $d/stat 2>/dev/null || continue
  echo "$s"
  [ $p = 1 ] || [ $p = $$ ] || { kill -STOP $p && paused="$paused $p"; } 2>/dev/null
done
runs() {
  while read -r k v; do [ "$k" = State: ] && break; done < /proc/$1/status
  case $v in [TtZX]*|'') return 1;; esac
} 2>/dev/null
n=0
for p in $paused; do
  while runs $p && [ $n -lt 100 ]; do n=$((n + 1)); sleep 0.02; done
done
"""
PENDING = """
for p in PIDS; do
  while read -r k v; do case $k in SigPnd:|ShdPnd:) echo "$p $v";; esac; done < /proc/$p/status
done 2>/dev/null
"""
SIGTERM_BIT = 1 << 14
WATCH_SECONDS = 5.0


@scenario("train-term", after=(TRAIN,), again=True)
def TERMINATED(rig: Rig, evidence: Evidence) -> Termination:
    """Sends SIGTERM in the middle of a training job."""
    base = evidence[TRAIN]
    full = base.succeeded()
    found: dict[str, Any] = {}
    spec, line = rig.training(base.job, rig.lab.network())
    line = (
        line.replace("docker run --rm", "docker run --rm --name repro", 1)
        + " # meanwhile: docker stop -t 120 repro"
    )
    spec = replace(spec, cpus=_slow(full))
    with rig.lab.container(spec) as box:
        box.write("/opt/ml", tree(base.job))
        box.start()
        if not midway(box, rig, full):
            return Termination(record(box, line, box.state()), None)
        with box.frozen():
            saved = box.archive("/opt/ml/checkpoints")
            lines = len(box.logs())
            single = box.processes() == 1
        # The job goes on meanwhile: nothing that is not needed happens from here on.
        children, alone = ([], True) if single else _children(box.shell(PAUSE_CHILDREN) or "")
        if not box.signal("SIGTERM"):
            return Termination(record(box, line, box.state()), None, saved)
        begun = time.monotonic()
        box.hurry()
        if children:
            found = _watch_children(box, rig, children)
            box.shell(f"kill -CONT {' '.join(children)}")
            if not found.get("left_early"):
                begun = time.monotonic()  # until now the check itself held the children up
        state = box.wait(max(0.1, rig.limits.stop_training - (time.monotonic() - begun)))
        seconds = time.monotonic() - begun
        if state.running:
            box.signal("SIGKILL")
            box.wait(10)
        stop = Exit(state.code, seconds, state.finished_at, state.out_of_memory)
        return Termination(record(box, line, state), stop, saved, lines, alone=alone, **found)


def _children(stat: str) -> tuple[list[str], bool]:
    """The processes below PID 1 that are not ours, and whether PID 1 is the one that works."""
    ticks = _ticks(stat)
    children = [pid for pid in ticks if pid != "1"]
    return children, not children or ticks.get("1", 0) > max(ticks[pid] for pid in children)


def _ticks(stat: str) -> dict[str, int]:
    """The CPU time of PID 1 and of the processes below it that are not ours."""
    ticks: dict[str, int] = {}
    for line in stat.splitlines():
        pid, _, rest = line.partition(" ")
        fields = rest.rpartition(")")[2].split()
        if len(fields) > 12 and (pid == "1" or fields[1] != "0"):
            ticks[pid] = int(fields[11]) + int(fields[12])
    return ticks


def _watch_children(box: Box, rig: Rig, children: list[str]) -> dict[str, bool]:
    """Whether SIGTERM reaches the children: they are stopped, so that it stays pending there."""
    deadline = time.monotonic() + WATCH_SECONDS
    while time.monotonic() < deadline:
        if not box.state().running:
            return {"told": False, "left_early": True}
        pending = box.shell(PENDING.replace("PIDS", " ".join(children))) or ""
        for line in pending.splitlines():
            if int(line.split()[1], 16) & SIGTERM_BIT:
                return {"told": True}
        rig.lab.pause(0.1)
    return {"told": False}


#: Seconds after the last line of the log. What an interpreter does then takes a fraction of a second.
LATE_SECONDS = (0.0, 0.15)


@scenario("train-late-term", after=(TRAIN,), waits=True)
def FINISHING(rig: Rig, evidence: Evidence) -> Mapping[float, Run]:
    """Sends SIGTERM to jobs that have logged their last line, at two moments after it."""
    base = evidence[TRAIN]
    full = base.succeeded()

    def tell(box: Box, after: float) -> None:
        # A job that logs less than it did before ends, and the log with it. One that hangs is ended.
        limit = threading.Timer(patience(rig, full) / (box.spec.cpus or 1), box.signal, ("SIGKILL",))
        limit.start()
        with suppress(*TROUBLE):
            for count, _ in enumerate(box.follow(), start=1):
                if count >= len(full.log):
                    break
        limit.cancel()
        rig.lab.pause(after)
        box.signal("SIGTERM")

    def late(after: float) -> Run:
        during = partial(tell, after=after)
        seconds = rig.limits.stop_training
        return train(rig, base.job, during=during, seconds=seconds, waits=True, cpus=_slow(full))

    runs = together(*(partial(late, after) for after in LATE_SECONDS))
    return dict(zip(LATE_SECONDS, runs, strict=True))


STAT = 'for d in /proc/[0-9]*; do read -r s < $d/stat && echo "$s"; done 2>/dev/null'


@scenario("train-kill", after=(TRAIN, TERMINATED))
def KILLED(rig: Rig, evidence: Evidence) -> Run:
    """Kills the process that trains below PID 1, as the kernel does where memory is short."""
    base, found = evidence[TRAIN], evidence[TERMINATED]
    full = base.succeeded()
    if found.alone:
        raise Skip("PID 1 trains itself: nothing is left that could tell of its end")
    killed = False

    def kill(box: Box) -> None:
        nonlocal killed
        if midway(box, rig, full):
            ticks = _ticks(box.shell(STAT) or "")
            children = [pid for pid in ticks if pid != "1"]
            killed = bool(children) and box.kill(max(children, key=lambda pid: ticks[pid]))
            box.hurry()

    run = train(rig, base.job, during=kill, seconds=patience(rig, full), cpus=_slow(full))
    if not killed:
        raise Skip("the job ended before its process could be killed – give a longer one with --opt-ml")
    return run


@dataclass(frozen=True)
class Restart:
    """A job that starts with the checkpoints of one that was interrupted."""

    resumed: Run
    saved: int | None  # files; None: the other had ended before


@scenario("train-resume", after=(TRAIN, TERMINATED), again=True)
def RESUMED(rig: Rig, evidence: Evidence) -> Restart:
    """Starts again with the checkpoints that a sudden end in the middle of a job would have left."""
    base = evidence[TRAIN]
    if not base.succeeded().checkpoints:
        raise Skip("nothing was saved in /opt/ml/checkpoints")
    archive = evidence[TERMINATED].saved
    if not archive:
        return Restart(train(rig, base.job), None)
    archive.seek(0)
    saved = sum(file.kind == "file" for file in read_tar(archive).values())
    return Restart(train(rig, base.job, checkpoints=archive), saved)
