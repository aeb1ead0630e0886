"""GPUs, counted through the driver itself: no framework is imported to plan workers (T-78)."""

import ctypes
import os


def count() -> int:
    """How many NVIDIA GPUs this container sees; 0 where there is no driver."""
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
