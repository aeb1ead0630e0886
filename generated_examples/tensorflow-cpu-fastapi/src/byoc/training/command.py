"""The `train` command: a small parent that SageMaker's signals reach, and a child that runs model.py.

The parent outlives whatever happens to the child, so even an import error or a kill for lack of memory
ends in a failure file (T-50, T-51).
"""

import gc
import importlib
import signal
import sys
import traceback

from byoc import index, paths
from byoc.errors import JobError, NothingToDo
from byoc.processes import Process, StopRequest, reap_orphans, say, wait_until
from byoc.training import failure

STOP_WARNING = "stop requested: training saves a checkpoint and ends"


def main() -> int:
    """Run training in a child and end with its exit code."""
    failure.clear()
    child = Process([sys.executable, "-m", "byoc.training.command"])
    stop = StopRequest(on_stop=child.ask_to_stop)
    child.start()
    if stop:  # it arrived before there was anyone to tell
        child.ask_to_stop()
    while (code := child.exit_code) is None:
        reap_orphans([child])
        wait_until(lambda: child.exit_code is not None, seconds=1)
    if code > 128 and not paths.failure().exists():
        name = signal.Signals(code - 128).name
        hint = " (most often: out of memory)" if name == "SIGKILL" else ""
        failure.write(f"training was ended by {name}{hint}")
        say(f"training was ended by {name}{hint}")
    return code


def run() -> int:
    """Train once: read the job, call model.train, and see that it left a model."""
    stop = StopRequest(on_stop=lambda: say(STOP_WARNING))
    gc.disable()  # what is imported is never garbage, and looking for some makes a start a tenth longer
    try:
        index.use()
        from byoc import framework, gpu, job, manifest, resources

        if gpu.required() and not gpu.count():
            raise JobError("REQUIRE_GPU is set and no GPU is visible; choose a GPU instance or unset it")
        say(framework.prepare(threads=resources.cpus()))
        model = importlib.import_module("model")
        gc.freeze()
        gc.enable()
        current = job.read(model.Hyperparameters, should_stop=lambda: stop.received)
        say(f"host {current.rank + 1} of {len(current.hosts)}: {current.hyperparameters!r}")
        current.model_dir.mkdir(parents=True, exist_ok=True)
        model.train(current)
        if current.is_leader and any(current.model_dir.iterdir()):
            manifest.write(current.model_dir, getattr(model, "FEATURES", ()))
        elif current.is_leader and not stop:
            raise JobError(f"train() left nothing in {current.model_dir}")
    except NothingToDo as reason:
        say(f"nothing to do: {reason}")
    except BaseException as error:
        if not isinstance(error, JobError):
            traceback.print_exc()
        message = failure.describe(error)
        say(f"training failed: {message}")
        failure.write(message)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(run())
