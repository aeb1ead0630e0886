"""Keras on JAX in this image: its threads, and the device that it runs on."""

import os
from pathlib import Path
{% if gpu %}

from byoc import machine
{% endif %}

# A worker's memory before a model is loaded.
WORKER_MEMORY_MIB = {{ fw.worker_memory_mib }}
# The modules whose versions the manifest of an artifact records.
MODULES = ("keras", "jax")
# Whether workers may be forked from a process that has loaded a model.
SURVIVES_FORK = False
# Whether each GPU gets a process that trains.
PROCESS_PER_GPU = True


{% if gpu %}
def prepare(threads: int) -> str:
    """Set up Keras before model.py is imported. Returns a line for the log."""
    # Where keras.json is, which chooses the backend.
    os.environ["KERAS_HOME"] = str(Path(__file__).parent.parent)
    # The size of XLA's thread pool on CPU.
    os.environ["PJRT_NPROC"] = str(threads)
    # Take GPU memory as it is needed: several workers may share one.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if not machine.gpus():
        # Without it JAX looks for a GPU all the same, and fills the log with what it did not find.
        os.environ["JAX_PLATFORMS"] = "cpu"
    # Imported here: `serve` plans its workers with this module, and needs no Keras for it.
    import jax
    import keras

    name = f"Keras {keras.__version__} on JAX {jax.__version__} for CUDA {cuda_version()}"
    if "WORLD_SIZE" in os.environ:
        # JAX may be asked for devices once all processes have met.
        return f"{name}, process {os.environ['RANK']} of {os.environ['WORLD_SIZE']}"
    if jax.default_backend() != "gpu":
        return f"{name}, {threads} CPU thread(s): no GPU is visible"
    return f"{name}, {jax.device_count()} GPU(s): {jax.devices()[0].device_kind}"


def cuda_version() -> str:
    """The CUDA version that this JAX is built for."""
    from jax_cuda13_plugin import _versions

    build = _versions.cuda_runtime_build_version()
    return f"{build // 1000}.{build % 1000 // 10}"
{% else %}
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
{% endif %}
