"""TensorFlow in this image: its threads, and the device that it runs on."""

import os

# A worker's memory before a model is loaded.
WORKER_MEMORY_MIB = 600
# The modules whose versions the manifest of an artifact records.
MODULES = ("tensorflow",)
# Whether workers may be forked from a process that has loaded a model.
SURVIVES_FORK = False
# Whether each GPU gets a process that trains.
PROCESS_PER_GPU = True


def prepare(threads: int) -> str:
    """Set up TensorFlow before model.py is imported. Returns a line for the log."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Imported here: `serve` plans its workers with this module, and needs no TensorFlow for it.
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    return f"TensorFlow {tf.__version__} on {threads} CPU thread(s)"
