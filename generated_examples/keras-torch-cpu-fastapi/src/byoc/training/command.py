"""The `train` command: a small parent that SageMaker's signals reach, and a child that runs model.py.

The parent outlives the child, so an import error or a kill for lack of memory ends in a failure file too.
Only the child can say that training is complete: no exit code counts as success (T-50, T-51).
"""

import gc
import importlib
import importlib.util
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress

from byoc import paths
from byoc.errors import JobError, NothingToDo
from byoc.processes import STOP_SIGNALS, Process, StopRequest, reap_orphans, say, wait_until
from byoc.training import outcome

CHILD = (sys.executable, "-m", "byoc.training.command")
# Frameworks that train on several hosts bring this module, and byoc.training.cluster.
SEVERAL_HOSTS = importlib.util.find_spec("byoc.distributed") is not None
STOP_WARNING = "stop requested: training saves a checkpoint and ends"
# SageMaker kills the container 120 s after SIGTERM (T-60). The reason must be written before.
STOP_SECONDS = 110
SYMPTOM_SECONDS = 5


def main() -> int:
    """Run training in a child. Returns 0 if it is complete, else the child's exit code or 1."""
    # A signal waits until there is a child that can be asked to stop. The child inherits the mask.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    outcome.begin()
    if SEVERAL_HOSTS:
        return int(importlib.import_module("byoc.training.cluster").main())
    child = Process(CHILD)
    child.start()
    stop = StopRequest(on_stop=child.ask_to_stop)
    code = supervise([child], stop)
    stop.ignore()
    return 0 if outcome.succeeded(code) else code or 1


def supervise(children: list[Process], stop: StopRequest, check: Callable[[], object] = lambda: None) -> int:
    """Wait until all children have ended or one has failed, and call `check` meanwhile. Returns a code."""

    def ended() -> bool:
        return any(c.exit_code for c in children) or all(c.exit_code is not None for c in children)

    kill_at = None
    while not ended():
        reap_orphans(children)
        check()
        wait_until(ended, seconds=1)
        if stop:
            kill_at = kill_at or time.monotonic() + STOP_SECONDS
            if time.monotonic() > kill_at:
                outcome.fail(f"training did not end within {STOP_SECONDS} s of the request to stop")
                for child in children:
                    child.kill()
    return next((c.exit_code for c in children if c.exit_code), 0)


def run() -> int:
    """Train once: read the job, call model.train, and check that it left a model. Returns the exit code."""
    stop = StopRequest(on_stop=lambda: say(STOP_WARNING))
    gc.disable()  # imports leave next to no garbage, and searching for it makes a start 10 % longer
    try:
        from byoc import framework, job, machine
        from byoc.training import script

        if machine.gpu_required() and not machine.gpus():
            raise JobError("REQUIRE_GPU is set and no GPU is visible; choose a GPU instance or unset it")
        say(framework.prepare(threads=max(1, machine.cpus() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))))
        raw = job.config("hyperparameters")
        if program := script.requested(raw):
            paths.model().mkdir(parents=True, exist_ok=True)
            say(f"script mode: {program}")
            stop.on_stop = sys.exit  # a script is not asked whether it should stop: it unwinds
            script.run(program, raw)
            stop.on_stop = lambda: None
        else:
            _train(stop)
        if job.rank() == 0 and not any(paths.model().iterdir()):
            if not stop:
                raise JobError(f"training left nothing in {paths.model()}")
            if not any(paths.checkpoints().glob("*")):
                raise JobError("the job was stopped before it left a model or a checkpoint")
    except NothingToDo as reason:
        say(f"nothing to do: {reason}")
    except BaseException as error:
        if not isinstance(error, JobError):
            with suppress(Exception):  # model.py may have closed the log
                traceback.print_exc()
        if SEVERAL_HOSTS and importlib.import_module("byoc.distributed").is_symptom(error):
            # Another process failed first. Its reason arrives, and ends this one.
            wait_until(paths.failure().exists, SYMPTOM_SECONDS)
        outcome.fail(outcome.cause(error))
        return 1
    finally:
        stop.ignore()
    outcome.complete()
    return 0


def _train(stop: StopRequest) -> None:
    """Call model.train, and describe the model that it left."""
    from byoc import inputs, job, manifest

    agree: Callable[[bool], bool] = bool
    if SEVERAL_HOSTS:
        distributed = importlib.import_module("byoc.distributed")
        distributed.join()
        agree = distributed.agree

    model = importlib.import_module("model")
    schema = inputs.schema(inputs.declared(model))
    gc.freeze()
    gc.enable()
    current = job.read(model.Hyperparameters, lambda: agree(stop.received), schema)
    say(f"host {current.current_host} of {len(current.hosts)}: {current.hyperparameters!r}")
    if len(current.hosts) > 1 and not SEVERAL_HOSTS:
        raise JobError(
            f"the job has {len(current.hosts)} hosts, and this image trains on one: set instance_count=1"
        )
    current.model_dir.mkdir(parents=True, exist_ok=True)
    if not current.should_stop():  # each process of a job on several hosts gives the same answer
        model.train(current)
        if unread := current.unread_channels():
            say(f"train() did not ask for these channels of the job: {', '.join(unread)}")
    if current.is_leader and any(current.model_dir.iterdir()):
        manifest.write(current.model_dir, schema)


if __name__ == "__main__":
    code = run()
    if code and "WORLD_SIZE" in os.environ:
        os._exit(code)  # nothing may wait for a process that is gone
    sys.exit(code)
