"""Keras on TensorFlow in this image: its threads, and the device that it runs on."""

import os
from pathlib import Path

# A worker's memory before a model is loaded.
WORKER_MEMORY_MIB = 800
# The modules whose versions the manifest of an artifact records.
MODULES = ("keras", "tensorflow")
# Whether workers may be forked from a process that has loaded a model.
SURVIVES_FORK = False
# Whether each GPU gets a process that trains.
PROCESS_PER_GPU = True


def prepare(threads: int) -> str:
    """Set up Keras before model.py is imported. Returns a line for the log."""
    # Where keras.json is, which chooses the backend.
    os.environ["KERAS_HOME"] = str(Path(__file__).parent.parent)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Take GPU memory as it is needed: several workers may share one.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    # Imported here: `serve` plans its workers with this module, and needs no Keras for it.
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    name = f"Keras {keras.__version__} on TensorFlow {tf.__version__} for CUDA {cuda_version()}"
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return f"{name}, {threads} CPU thread(s): no GPU is visible"
    details = tf.config.experimental.get_device_details(gpus[0])
    return f"{name}, {len(gpus)} GPU(s): {details.get('device_name', 'of unknown type')}"


def cuda_version() -> str:
    """The CUDA version that this TensorFlow is built for; empty if it is built for CPUs."""
    import tensorflow as tf

    return str(tf.sysconfig.get_build_info().get("cuda_version", ""))
