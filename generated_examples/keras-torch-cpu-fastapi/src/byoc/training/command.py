"""The `train` command: a small parent that SageMaker's signals reach, and a child that runs model.py.

The parent outlives the child, so an import error or a kill for lack of memory ends in a failure file too
(T-50, T-51).
"""

import gc
import importlib
import signal
import sys
import traceback
from pathlib import Path

from byoc import paths
from byoc.errors import JobError, NothingToDo
from byoc.processes import Process, StopRequest, reap_orphans, say, wait_until

STOP_WARNING = "stop requested: training saves a checkpoint and ends"
# SageMaker shows this many characters of the failure file as FailureReason (T-51).
REASON_CHARACTERS = 1024


def main() -> int:
    """Run training in a child. Returns the child's exit code."""
    paths.failure().unlink(missing_ok=True)  # of an earlier run of this job
    child = Process([sys.executable, "-m", "byoc.training.command"])
    stop = StopRequest(on_stop=child.ask_to_stop)
    child.start()
    if stop:  # it arrived before the child was there
        child.ask_to_stop()
    while (code := child.exit_code) is None:
        reap_orphans([child])
        wait_until(lambda: child.exit_code is not None, seconds=1)
    if code > 128 and not paths.failure().exists():
        name = signal.Signals(code - 128).name
        hint = " (most often: out of memory)" if name == "SIGKILL" else ""
        _fail(f"training was ended by {name}{hint}")
    return code


def run() -> int:
    """Train once: read the job, call model.train, and check that it left a model. Returns the exit code."""
    stop = StopRequest(on_stop=lambda: say(STOP_WARNING))
    gc.disable()  # imports leave next to no garbage, and searching for it makes a start 10 % longer
    try:
        from byoc import framework, inputs, job, machine, manifest

        if machine.gpu_required() and not machine.gpus():
            raise JobError("REQUIRE_GPU is set and no GPU is visible; choose a GPU instance or unset it")
        say(framework.prepare(threads=machine.cpus()))
        model = importlib.import_module("model")
        declared = inputs.declared(model)
        gc.freeze()
        gc.enable()
        current = job.read(model.Hyperparameters, should_stop=lambda: stop.received)
        say(f"host {current.rank + 1} of {len(current.hosts)}: {current.hyperparameters!r}")
        current.model_dir.mkdir(parents=True, exist_ok=True)
        model.train(current)
        if current.is_leader and any(current.model_dir.iterdir()):
            manifest.write(current.model_dir, inputs.schema(declared))
        elif current.is_leader and not stop:
            raise JobError(f"train() left nothing in {current.model_dir}")
    except NothingToDo as reason:
        say(f"nothing to do: {reason}")
    except BaseException as error:
        if not isinstance(error, JobError):
            traceback.print_exc()
        _fail(f"training failed: {_cause(error)}", _cause(error))
        return 1
    return 0


def _fail(message: str, reason: str = "") -> None:
    """Log the message, and write the reason to the failure file at once or not at all."""
    say(message)
    try:
        with paths.atomic(paths.failure()) as file:
            file.write_text((reason or message)[:REASON_CHARACTERS], encoding="utf-8")
    except OSError as error:
        say(f"cannot write {paths.failure()}: {error}")


def _cause(error: BaseException) -> str:
    """The error first, then the line of model.py where it happened; a long error is cut."""
    if isinstance(error, JobError):
        return str(error)
    cause = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).name == "model.py"] or frames
    if not own:
        return cause
    place = f"{Path(own[-1].filename).name}:{own[-1].lineno} in {own[-1].name}"
    return f"{cause[: REASON_CHARACTERS - 100]} (at {place})"


if __name__ == "__main__":
    sys.exit(run())
