"""PyTorch in this image: its threads, and the device that it runs on."""

import os

# A worker's memory before a model is loaded.
WORKER_MEMORY_MIB = 450


def prepare(threads: int) -> str:
    """Set up PyTorch before model.py is imported. Returns a line for the log."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    # Imported here: `serve` plans its workers with this module, and needs no PyTorch for it.
    import torch

    torch.set_num_threads(threads)
    return f"PyTorch {torch.__version__} on {threads} CPU thread(s)"
