"""scikit-learn in this image: its threads, and the device that it runs on."""

{% if gpu %}
import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from byoc import machine
from byoc.errors import JobError

# A worker's memory before a model is loaded.
WORKER_MEMORY_MIB = {{ fw.worker_memory_mib }}
# The modules whose versions the manifest of an artifact records.
MODULES = ("sklearn",)
# Whether workers may be forked from a process that has loaded a model.
SURVIVES_FORK = False


def prepare(threads: int) -> str:
    """Set up scikit-learn before model.py is imported. Returns a line for the log.

    Where a GPU is visible, cuML takes over the estimators that it knows; the code stays plain scikit-learn.
    """
    from importlib.metadata import version

    os.environ["OMP_NUM_THREADS"] = str(threads)
    name, accelerator = f"scikit-learn {version('scikit-learn')}", f"cuML {version('cuml-cu13')}"
    if not machine.gpus():
        return f"{name} on {threads} CPU thread(s): no GPU is visible, {accelerator} stays unused"
    if "sklearn" in sys.modules:
        raise RuntimeError("cuML must be installed before scikit-learn is imported")
    import cuml.accel

    cuml.accel.install()
    return f"{name} accelerated by {accelerator} on {machine.gpus()} GPU(s)"


def cuda_version() -> str:
    """The CUDA version of the libraries that cuML brings with it."""
    from importlib.metadata import version

    return ".".join(version("cuda-toolkit").split(".")[:2])
{% else %}
import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from byoc.errors import JobError

# A worker's memory before a model is loaded.
WORKER_MEMORY_MIB = {{ fw.worker_memory_mib }}
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
{% endif %}


def check_several_hosts(given: Mapping[str, Any]) -> None:
    """Raise JobError unless Dask is there and every host has all data. `given` is inputdataconfig.json."""
    if find_spec("distributed") is None:
        raise JobError("several hosts need dask[distributed] in requirements.txt; else set instance_count=1")
    if sharded := [n for n in given if given[n].get("S3DistributionType") == "ShardedByS3Key"]:
        names = ", ".join(sharded)
        raise JobError(f"train() runs on one host: do not shard channel {names}, or set instance_count=1")
