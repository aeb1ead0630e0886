"""Runs inside the scikit-learn image: jobs that are stopped at every moment, and one whose disk is full.

Prints {"whole": seconds, "ends": {milliseconds: [exit code, failure, files left]}, "full": failure} as JSON.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# From the first import to the last file. tests/runtime/test_endings.py stops a small job 40 times.
STOPS = 12
DISK = Path("/disk")  # a few MiB
FILLS_THE_DISK = """
from pydantic import BaseModel

class Hyperparameters(BaseModel):
    pass

def train(job):
    with (job.model_dir / "model").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
"""


def start(folder: Path, working_directory: str = "/opt/program") -> subprocess.Popen[bytes]:
    """A job whose /opt/ml is this folder. Like PID 1 it ignores SIGTERM until it has a handler."""
    return subprocess.Popen(
        ["python", "-m", "byoc", "train"],
        cwd=working_directory,
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(folder), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    )


def failure(folder: Path) -> str:
    """The failure file's text; empty if there is none."""
    file = folder / "output/failure"
    return file.read_text() if file.exists() else ""


def stopped(milliseconds: int | None) -> tuple[float, list[object]]:
    """Run a job that is stopped so long after its start, or not. Its seconds, and how it ended."""
    folder = Path("/tmp", str(milliseconds))
    shutil.copytree("/input", folder / "input")
    (folder / "input/config/hyperparameters.json").write_text('{"epochs": "4"}')
    begun = time.monotonic()
    process = start(folder)
    if milliseconds is not None:
        time.sleep(milliseconds / 1000)
        process.send_signal(signal.SIGTERM)
    code = process.wait(timeout=300)
    left = sorted(str(p.relative_to(folder)) for f in ("model", "checkpoints") for p in folder.glob(f"{f}/*"))
    return time.monotonic() - begun, [code, failure(folder), left]


with ThreadPoolExecutor(2) as pool:
    whole = max(seconds for seconds, _ in pool.map(stopped, [None]))
    moments = range(0, int(1000 * whole) + 200, int(1000 * whole) // STOPS)
    ends = {ms: end for ms, (_, end) in zip(moments, pool.map(stopped, moments), strict=True)}
model = Path("/tmp/full")
model.mkdir()
(model / "model.py").write_text(FILLS_THE_DISK)
start(DISK, str(model)).wait(timeout=300)
print(json.dumps({"whole": whole, "ends": ends, "full": failure(DISK)}))
