"""How a job ends: complete, or with the reason in /opt/ml/output/failure (T-50, T-51)."""

import os
import signal
import traceback
from pathlib import Path

from byoc import paths
from byoc.errors import JobError
from byoc.processes import say

# SageMaker shows this many characters of the failure file as FailureReason.
REASON_CHARACTERS = 1024


def begin(processes: int = 1) -> None:
    """Forget an earlier run of this job, and reserve the failure file's bytes: the disk may be full later."""
    paths.failure().unlink(missing_ok=True)
    paths.failure().parent.mkdir(parents=True, exist_ok=True)
    for rank in range(processes):
        _pending(str(rank)).write_bytes(bytes(4 * REASON_CHARACTERS))


def complete() -> None:
    """This process did all that it was to do."""
    _pending().unlink(missing_ok=True)
    if os.environ.get("LOCAL_WORLD_SIZE", "1") == "1":  # then it is of a process that model.py forked
        paths.failure().unlink(missing_ok=True)


def fail(reason: str) -> None:
    """Log why training failed. The first reason becomes the failure file, at once or not at all."""
    if paths.failure().exists():
        return
    say(f"training failed: {reason}")
    text = reason.encode("utf-8", "backslashreplace").decode()[:REASON_CHARACTERS]
    try:
        with _pending().open("r+b" if _pending().exists() else "wb") as file:
            file.write(text.encode())
            file.truncate()
        _pending().replace(paths.failure())
    except OSError as error:
        say(f"cannot write {paths.failure()}: {error}")


def succeeded(exit_code: int) -> bool:
    """Whether this host's processes completed the job. If one gave no reason, its exit code becomes one."""
    pending = list(paths.failure().parent.glob(".pending-*"))
    if pending:
        fail(_death(exit_code))
    for file in pending:
        file.unlink(missing_ok=True)
    return not paths.failure().exists()


def _pending(rank: str | None = None) -> Path:
    """A file that exists until a process is complete or has failed, and then is the failure file."""
    return paths.failure().with_name(f".pending-{rank or os.environ.get('LOCAL_RANK', '0')}")


def _death(exit_code: int) -> str:
    if not 128 < exit_code < 128 + signal.NSIG:
        return f"training ended before train() returned: something called os._exit({exit_code})"
    number = exit_code - 128
    name = next((s.name for s in signal.Signals if s == number), f"signal {number}")
    return f"training was ended by {name}{' (most often: out of memory)' if name == 'SIGKILL' else ''}"


def cause(error: BaseException) -> str:
    """The error first, then the line of model.py where it happened; a long error is cut."""
    try:
        text = str(error)
    except Exception:
        text = "its text cannot be shown"
    if isinstance(error, JobError):
        return text
    cause = f"{type(error).__name__}: {text}" if text else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).name == "model.py"] or frames
    if not own:
        return cause
    place = f"{Path(own[-1].filename).name}:{own[-1].lineno} in {own[-1].name}"
    return f"{cause[: REASON_CHARACTERS - 100]} (at {place})"
