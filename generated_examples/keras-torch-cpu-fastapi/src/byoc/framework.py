"""Keras on PyTorch in this image: its threads, and the device that it runs on."""

import os
from pathlib import Path

# A worker's memory before a model is loaded.
WORKER_MEMORY_MIB = 800
# The modules whose versions the manifest of an artifact records.
MODULES = ("keras", "torch")
# Whether workers may be forked from a process that has loaded a model.
SURVIVES_FORK = False
# Whether each GPU gets a process that trains.
PROCESS_PER_GPU = True


def prepare(threads: int) -> str:
    """Set up Keras before model.py is imported. Returns a line for the log."""
    # Where keras.json is, which chooses the backend.
    os.environ["KERAS_HOME"] = str(Path(__file__).parent.parent)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    # A thread that waits must not burn the CPU time that the others need.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Imported here: `serve` plans its workers with this module, and needs no Keras for it.
    import keras
    import torch

    torch.set_num_threads(threads)
    return f"Keras {keras.__version__} on PyTorch {torch.__version__}, {threads} CPU thread(s)"
