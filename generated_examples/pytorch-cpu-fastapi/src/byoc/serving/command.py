"""The `serve` command: binds the port, starts the stack's processes, and ends when they must.

SageMaker stops a container with SIGTERM and kills it 30 s later (S-03): requests in flight are finished,
and the exit code is 0. A process that dies by itself ends the container with an error, so that it is
replaced (S-06).
"""

import os
import shutil
import tempfile
import time
from pathlib import Path

from byoc import gpu
from byoc.processes import Process, StopRequest, reap_orphans, say, wait_until
from byoc.serving import limits, stack
from byoc.serving.plan import plan
from byoc.serving.settings import Settings
from byoc.serving.standby import ADDRESS_VARIABLE, Standby

CRASHED = 1
# What the stack's own processes get to give up by themselves.
KILL_MARGIN_SECONDS = 2
REFUSED = 78  # EX_CONFIG of sysexits.h


def main() -> int:
    """Serve until told to stop. 0 after a clean stop, 1 after a crash, 78 for a setting that cannot work."""
    stop = StopRequest()
    os.environ[gpu.COUNT_VARIABLE] = str(gpu.count())
    try:
        settings = Settings(
            port=int(os.environ.get("SAGEMAKER_BIND_TO_PORT") or 8080),  # S-50
            limits=limits.current(),
            plan=plan(),
            run_dir=Path(tempfile.mkdtemp(prefix="serve-")),
        )
    except ValueError as error:
        say(f"cannot start: {error}")
        return REFUSED
    if gpu.required() and not gpu.count():
        say("cannot start: REQUIRE_GPU is set and no GPU is visible; choose a GPU instance or unset it")
        return REFUSED
    try:
        return _serve(settings, stop)
    except OSError as error:
        say(f"cannot start: {error}")
        return CRASHED
    finally:
        shutil.rmtree(settings.run_dir, ignore_errors=True)


def _serve(settings: Settings, stop: StopRequest) -> int:
    with stack.bind(settings) as server_socket, _metrics_folder() as metrics_dir:
        processes, standby = stack.start(settings, server_socket)
        os.environ[ADDRESS_VARIABLE] = str(standby.address)
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics_dir
        # Every compute library reads this; set before any is imported.
        os.environ.setdefault("OMP_NUM_THREADS", str(settings.plan.compute_threads))
        say(f"serving on port {settings.port}: {settings.plan}")
        for process in processes:
            process.start()
        code = _watch(processes, standby, stop)
        standby.draining = True
        _stop(processes, standby)
        standby.close()
        return code


def _metrics_folder() -> "tempfile.TemporaryDirectory[str]":
    """In memory where that can be had: every request is counted in a file, and would wait for a busy disk."""
    try:
        return tempfile.TemporaryDirectory(prefix="metrics-", dir="/dev/shm", ignore_cleanup_errors=True)
    except OSError:
        return tempfile.TemporaryDirectory(prefix="metrics-", ignore_cleanup_errors=True)


def _watch(processes: list[Process], standby: Standby, stop: StopRequest) -> int:
    """Wait for a stop request or a death."""
    announced = False
    while not stop:
        if standby.is_ready and not announced:
            announced = True
            say("ready: the model answers")
        if standby.failure and not standby.is_ready:
            # Nothing to retry: keep the proxy, if any, so that /ping goes on telling the reason.
            for process in processes:
                if process.holds_model:
                    process.kill()
        dead = next((p for p in processes if p.exit_code is not None), None)
        if dead and not (standby.failure and not standby.is_ready and dead.holds_model):
            say(f"{dead.name} ended with exit code {dead.exit_code}: this container must be replaced")
            return CRASHED
        reap_orphans(processes)
        wait_until(lambda: bool(stop), seconds=0.2)
    say("stop requested: finishing the requests in flight")
    return 0


def _stop(processes: list[Process], standby: Standby) -> None:
    """Stop from the outside in: whoever accepts requests first, whoever answers them last."""
    deadline = time.monotonic() + limits.DRAIN_SECONDS + KILL_MARGIN_SECONDS
    for process in processes:
        # A proxy before them has accepted requests, which they shall answer.
        standby.turns_away = standby.turns_away or process.holds_model
        process.ask_to_stop()
        left = deadline - time.monotonic()
        if not wait_until(lambda process=process: process.exit_code is not None, left):  # type: ignore[misc]
            say(f"{process.name} did not finish in time and is killed")
            process.kill()
