"""How a job ends: complete, or with the reason in /opt/ml/output/failure (T-50, T-51)."""

import signal
import traceback
from contextlib import suppress
from pathlib import Path

from byoc import paths
from byoc.errors import JobError
from byoc.processes import say

# SageMaker shows this many characters of the failure file as FailureReason.
REASON_CHARACTERS = 1024


def begin() -> None:
    """Forget an earlier run of this job, and reserve the failure file's bytes: the disk may be full later."""
    paths.failure().unlink(missing_ok=True)
    _pending().parent.mkdir(parents=True, exist_ok=True)
    _pending().write_bytes(bytes(4 * REASON_CHARACTERS))


def complete() -> None:
    """Training did all that it was to do. An error of a process that model.py forked does not count."""
    _pending().unlink(missing_ok=True)
    paths.failure().unlink(missing_ok=True)


def fail(reason: str) -> None:
    """Log why training failed. The first reason becomes the failure file, at once or not at all."""
    say(f"training failed: {reason}")
    text = reason.encode("utf-8", "backslashreplace").decode()[:REASON_CHARACTERS]
    with suppress(FileNotFoundError):  # there is a reason
        with _pending().open("r+b") as file:
            file.write(text.encode())
            file.truncate()
        _pending().replace(paths.failure())


def succeeded(exit_code: int) -> bool:
    """Whether a child that ended so has completed the job. Where it gave no reason, its exit code becomes one."""
    if _pending().exists():
        fail(_death(exit_code))
    return not paths.failure().exists()


def _pending() -> Path:
    """A file that exists until training is complete or has failed, and then is the failure file."""
    return paths.failure().with_name(".pending")


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
