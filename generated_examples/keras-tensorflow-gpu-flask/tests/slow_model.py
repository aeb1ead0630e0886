"""Takes model.py's place in one container: predictions that take their time, and all of Python's.

A row's first value says for how many seconds. The loop is pure Python: it wants the interpreter all the time.
"""

import time
from pathlib import Path

import numpy as np


def load(model_dir: Path) -> None:
    """There is nothing to load."""


def predict(model: None, inputs: np.ndarray) -> np.ndarray:
    """Keep the CPU busy, and then answer with the number of seconds."""
    seconds = float(inputs[0][0])
    if seconds:
        print(f"a prediction takes {seconds:g} s", flush=True)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return inputs[:, 0]
