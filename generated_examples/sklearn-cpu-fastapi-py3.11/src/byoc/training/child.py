"""A process that runs model.py's train(), or the script that a job brings, and says how it ended."""

import gc
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from byoc import paths
from byoc.errors import JobError, NothingToDo
from byoc.processes import StopRequest, say, wait_until
from byoc.training import hanging, outcome

STOP_WARNING = "stop requested: training saves a checkpoint and ends"
SYMPTOM_SECONDS = 15
# A framework without this module trains in one process.
DISTRIBUTED = importlib.util.find_spec("byoc.distributed") is not None


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
        cause = outcome.cause(error)
        if DISTRIBUTED and importlib.import_module("byoc.distributed").is_symptom(error):
            # Another process failed first, and its reason ends this one. Or it hangs: the parents find it.
            hanging.give_up(cause)
            wait_until(paths.failure().exists, SYMPTOM_SECONDS)
        outcome.fail(cause)
        return 1
    finally:
        stop.ignore()
    outcome.complete()
    return 0


def _train(stop: StopRequest) -> None:
    """Call model.train, and describe the model that it left."""
    from byoc import inputs, job, manifest

    agree: Callable[[bool], bool] = bool
    distributed: Any = job.OneProcess
    if DISTRIBUTED:
        distributed = importlib.import_module("byoc.distributed")
        distributed.join()
        hanging.show_place()
        stop.listen()  # TensorFlow's and JAX's coordination handles SIGTERM itself
        agree = distributed.agree
    elif "WORLD_SIZE" in os.environ:
        raise JobError("this image trains in one process: set instance_count=1")

    model = importlib.import_module("model")
    schema = inputs.schema(inputs.declared(model))
    gc.freeze()
    gc.enable()
    current = job.read(model.Hyperparameters, lambda: agree(stop.received), schema, distributed)
    say(f"host {current.current_host} of {len(current.hosts)}: {current.hyperparameters!r}")
    current.model_dir.mkdir(parents=True, exist_ok=True)
    if not current.should_stop():  # each process of a job on several hosts gives the same answer
        model.train(current)
        if current.is_leader and (unread := current.unread_channels()):
            say(f"train() did not ask for these channels of the job: {', '.join(unread)}")
    if current.is_leader and any(current.model_dir.iterdir()):
        manifest.write(current.model_dir, schema)


if __name__ == "__main__":
    code = run()
    if code and "WORLD_SIZE" in os.environ:
        os._exit(code)  # nothing may wait for a process that is gone
    sys.exit(code)
