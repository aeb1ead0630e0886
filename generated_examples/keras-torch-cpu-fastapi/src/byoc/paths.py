"""The folders and files of /opt/ml (T-15, T-17, S-40)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

TEMPORARY = ".tmp-"


def base() -> Path:
    """The /opt/ml tree, or the copy of it that SAGEMAKER_BASE_DIR names on a machine without Docker."""
    return Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")).absolute()


def model() -> Path:
    """The artifact: written by training, and read-only while serving (T-53, S-40)."""
    return base() / "model"


def config(name: str) -> Path:
    """One of the job's JSON files, by its name without the suffix."""
    return base() / "input" / "config" / f"{name}.json"


def channel(name: str) -> Path:
    """Input data of one channel."""
    return base() / "input" / "data" / name


def checkpoints() -> Path:
    """Mirrored to S3 while the job runs, and restored when it restarts (T-63)."""
    return base() / "checkpoints"


def output_data() -> Path:
    """What the job keeps beside the model, such as reports (T-54)."""
    return base() / "output" / "data"


def failure() -> Path:
    """Becomes the job's FailureReason (T-51)."""
    return base() / "output" / "failure"


@contextmanager
def atomic(destination: Path) -> Iterator[Path]:
    """Give a temporary path to write to. It gets the destination's name when it is complete.

    So a reader never finds half a file, even if the process is killed meanwhile (T-60, T-64).
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    # Several libraries choose a file's format by its suffix.
    with NamedTemporaryFile(
        dir=destination.parent, prefix=TEMPORARY, suffix=destination.suffix, delete=False
    ) as file:
        temporary = Path(file.name)
    try:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(destination)
    finally:
        temporary.unlink(missing_ok=True)
