"""The `serve` command: binds the port, starts the stack's processes, and ends when they must.

SageMaker stops a container with SIGTERM and kills it 30 s later (S-03): requests in flight are finished, and
the exit code is 0. A process that dies by itself ends the container with an error, so that it is replaced
(S-06).
"""

import os
import shutil
import socket
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from byoc import machine
from byoc.processes import Process, StopRequest, reap_orphans, say
from byoc.serving import settings, stack
from byoc.serving.settings import DRAIN_SECONDS, Settings

if TYPE_CHECKING:
    from byoc.serving.standby import Standby

CRASHED = 1
REFUSED = 78  # EX_CONFIG of sysexits.h
# For so long after the request to stop, workers accept as before but close each connection with its answer. A
# server that is told to stop closes idle connections at once, and would lose a request that was just sent.
NOTICE_SECONDS = 1.0
# After DRAIN_SECONDS, the stack's own processes get so long to end what hangs.
KILL_MARGIN_SECONDS = 2


def main() -> int:
    """Serve until told to stop. 0 after a clean stop, 1 after a crash, 78 for a setting that cannot work."""
    stop = StopRequest()
    os.environ[machine.GPU_COUNT_VARIABLE] = str(machine.gpus())
    try:
        current = settings.read()
    except settings.SettingError as error:
        say(f"cannot start: {error}")
        return REFUSED
    if machine.gpu_required() and not machine.gpus():
        say("cannot start: REQUIRE_GPU is set and no GPU is visible; choose a GPU instance or unset it")
        return REFUSED
    run_dir = Path(tempfile.mkdtemp(prefix="serve-"))
    try:
        return _serve(current, run_dir, stop)
    except OSError as error:
        say(f"cannot start: {error}")
        return CRASHED
    finally:
        shutil.rmtree(run_dir, ignore_errors=True)


def _serve(current: Settings, run_dir: Path, stop: StopRequest) -> int:
    with (
        stack.bind(current, run_dir) as server,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as reports,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as health,
        _metrics_folder() as metrics_dir,
    ):
        for listener, name in ((reports, settings.REPORTS), (health, settings.HEALTH)):
            listener.bind(str(run_dir / name))
            listener.listen(stack.BACKLOG)
        os.environ[settings.RUN_DIR_VARIABLE] = str(run_dir)
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics_dir
        # Every compute library reads this when it is imported.
        os.environ["OMP_NUM_THREADS"] = str(current.compute_threads)
        say(f"serving on port {current.port}: {current}")
        processes = stack.processes(current, run_dir, server)
        for process in processes:
            process.start()
        # Imported now: asyncio takes 0.05 s, in which the model is already being loaded.
        import asyncio

        from byoc.serving.standby import Standby

        standby = Standby(run_dir, server)
        return asyncio.run(standby.run(reports, health, _supervise(processes, standby, stop, run_dir)))


def _metrics_folder() -> "tempfile.TemporaryDirectory[str]":
    """In memory where possible: every request is counted in a file, and would wait for a busy disk."""
    try:
        return tempfile.TemporaryDirectory(prefix="metrics-", dir="/dev/shm", ignore_cleanup_errors=True)
    except OSError:
        return tempfile.TemporaryDirectory(prefix="metrics-", ignore_cleanup_errors=True)


async def _supervise(processes: list[Process], standby: "Standby", stop: StopRequest, run_dir: Path) -> int:
    code = await _watch(processes, standby, stop)
    standby.stopping = True
    (run_dir / settings.DRAINING).touch()
    await _stop(processes, standby)
    return code


async def _watch(processes: list[Process], standby: "Standby", stop: StopRequest) -> int:
    """Wait for a request to stop, or for a process that ends by itself."""
    announced = False
    while not stop:
        if standby.is_ready and not announced:
            announced = True
            say("ready: the model answers")
        has_failed = bool(standby.failure) and not standby.is_ready
        for process in processes:
            if has_failed and process.holds_model:
                process.kill()  # a retry would fail too; a proxy stays, so that /ping tells the reason
            elif process.exit_code is not None:
                code = process.exit_code
                say(f"{process.name} ended with exit code {code}: this container must be replaced")
                return CRASHED
        reap_orphans(processes)
        await standby.until(lambda: bool(stop), seconds=0.2)
    say("stop requested: finishing the requests in flight")
    return 0


async def _stop(processes: list[Process], standby: "Standby") -> None:
    """Stop the process that accepts requests before the one that answers them."""
    await standby.until(lambda: any(p.exit_code is not None for p in processes), NOTICE_SECONDS)
    deadline = time.monotonic() + DRAIN_SECONDS + KILL_MARGIN_SECONDS
    for process in processes:
        standby.turns_away = process.holds_model
        process.ask_to_stop()
        left = deadline - time.monotonic()
        if not await standby.until(lambda process=process: process.exit_code is not None, left):  # type: ignore[misc]
            say(f"{process.name} did not finish in time and is killed")
            process.kill()
