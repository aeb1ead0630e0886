"""GPUs, counted through the driver itself: no framework is imported to plan workers (T-78)."""

import ctypes
import fcntl
import os
from pathlib import Path

# `serve` counts once and tells its workers: in a process that has asked the driver, choosing comes too late.
COUNT_VARIABLE = "BYOC_GPU_COUNT"


def count() -> int:
    """How many NVIDIA GPUs this container sees; 0 where there is no driver."""
    if known := os.environ.get(COUNT_VARIABLE):
        return int(known)
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    devices = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(devices)) != 0:
        return 0
    return devices.value


def required() -> bool:
    """Whether a start without a GPU must be refused (REQUIRE_GPU=1)."""
    return os.environ.get("REQUIRE_GPU", "").lower() in {"1", "true", "yes"}


def claim(folder: Path) -> int | None:
    """Take a GPU that no other worker has, and see no other from now on. None if all are taken.

    The claim is a file lock, so that it ends with the worker and the one that replaces it gets the same GPU.
    """
    for device in range(count()):
        lock = os.open(folder / f"gpu-{device}.lock", os.O_CREAT | os.O_WRONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        os.environ["CUDA_VISIBLE_DEVICES"] = str(device)
        return device
    return None
