"""scikit-learn in this image: its threads, and the device that it runs on."""

import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from byoc.errors import JobError

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


def check_several_hosts(given: Mapping[str, Any]) -> None:
    """Raise JobError unless Dask is there and every host has all data. `given` is inputdataconfig.json."""
    if find_spec("distributed") is None:
        raise JobError("several hosts need dask[distributed] in requirements.txt; else set instance_count=1")
    if sharded := [n for n in given if given[n].get("S3DistributionType") == "ShardedByS3Key"]:
        names = ", ".join(sharded)
        raise JobError(f"train() runs on one host: do not shard channel {names}, or set instance_count=1")
