"""scikit-learn in this image: its threads, and the device that it runs on."""

import os

# A worker's memory before a model is loaded.
WORKER_MEMORY_MIB = 220
# The modules whose versions the manifest of an artifact records.
MODULES = ("sklearn",)
# Whether workers may be forked from a process that has loaded a model.
SURVIVES_FORK = True


def prepare(threads: int) -> str:
    """Set up scikit-learn before model.py is imported. Returns a line for the log."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    # Imported here: `serve` plans its workers with this module, and needs no scikit-learn for it.
    import sklearn

    return f"scikit-learn {sklearn.__version__} on {threads} CPU thread(s)"
