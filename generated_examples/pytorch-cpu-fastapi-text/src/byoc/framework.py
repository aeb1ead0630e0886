"""PyTorch in this image: its threads, and the device that it runs on."""

import os

# A worker's memory before a model is loaded.
WORKER_MEMORY_MIB = 600
# The modules whose versions the manifest of an artifact records.
MODULES = ("torch",)
# Whether workers may be forked from a process that has loaded a model.
SURVIVES_FORK = False
# Whether each GPU gets a process that trains.
PROCESS_PER_GPU = True


def prepare(threads: int) -> str:
    """Set up PyTorch before model.py is imported. Returns a line for the log."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    # A thread that waits must not burn the CPU time that the others need.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Imported here: `serve` plans its workers with this module, and needs no PyTorch for it.
    import torch

    torch.set_num_threads(threads)
    return f"PyTorch {torch.__version__} on {threads} CPU thread(s)"
