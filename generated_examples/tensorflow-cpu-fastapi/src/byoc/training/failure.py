"""The failure file: its first 1024 characters become the job's FailureReason (T-51)."""

import traceback
from pathlib import Path

from byoc import paths
from byoc.errors import JobError

LIMIT = 1024


def describe(error: BaseException) -> str:
    """The cause first, then where in the code it happened; long tails are cut, never the cause."""
    if isinstance(error, JobError):
        return str(error)
    cause = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).name == "model.py"] or frames
    if not own:
        return cause
    return f"{cause[: LIMIT - 100]} (at {Path(own[-1].filename).name}:{own[-1].lineno} in {own[-1].name})"


def write(message: str) -> None:
    """Write the failure file at once or not at all. Without a writable /opt/ml, say it in the log."""
    try:
        with paths.atomic(paths.failure()) as file:
            file.write_text(message[:LIMIT], encoding="utf-8")
    except OSError as error:
        print(f"cannot write {paths.failure()}: {error}", flush=True)


def clear() -> None:
    """Forget an earlier run's failure: a restarted job starts clean."""
    paths.failure().unlink(missing_ok=True)
