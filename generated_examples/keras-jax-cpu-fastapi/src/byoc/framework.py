"""Keras on JAX in this image: its threads, and the device that it runs on."""

import os
from pathlib import Path

# A worker's memory before a model is loaded.
WORKER_MEMORY_MIB = 800
# The modules whose versions the manifest of an artifact records.
MODULES = ("keras", "jax")
# Whether workers may be forked from a process that has loaded a model.
SURVIVES_FORK = False
# Whether each GPU gets a process that trains.
PROCESS_PER_GPU = True


def prepare(threads: int) -> str:
    """Set up Keras before model.py is imported. Returns a line for the log."""
    # Where keras.json is, which chooses the backend.
    os.environ["KERAS_HOME"] = str(Path(__file__).parent.parent)
    # The size of XLA's thread pool.
    os.environ["PJRT_NPROC"] = str(threads)
    # Imported here: `serve` plans its workers with this module, and needs no Keras for it.
    import jax
    import keras

    return f"Keras {keras.__version__} on JAX {jax.__version__}, {threads} CPU thread(s)"
