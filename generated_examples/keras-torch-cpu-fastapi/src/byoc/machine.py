"""The CPUs, the memory and the GPUs that this container was given, which may be less than the host has."""

import ctypes
import fcntl
import os
from pathlib import Path

MIB = 1024 * 1024

# `serve` counts the GPUs once and tells its workers: a process that has asked the driver can no longer choose
# one of them.
GPU_COUNT_VARIABLE = "BYOC_GPU_COUNT"


def cpus() -> int:
    """CPUs that this container may use: its cgroup's quota, else its affinity."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _cgroup("cpu.max", "cpu/cpu.cfs_quota_us").partition(" ")
    period = period or _cgroup("cpu/cpu.cfs_period_us")
    if quota.isdecimal() and period.isdecimal():
        available = min(available, max(1, int(quota) // int(period)))
    return available


def memory_bytes() -> int:
    """Bytes of memory that this container may use: its cgroup's limit, else the machine's memory."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _cgroup("memory.max", "memory/memory.limit_in_bytes")
    return min(total, int(limit) if limit.isdecimal() else total)


def gpus() -> int:
    """NVIDIA GPUs that this container sees, by the driver's own count; 0 without a driver (T-78)."""
    if known := os.environ.get(GPU_COUNT_VARIABLE):
        return int(known)
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    devices = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(devices)) != 0:
        return 0
    return devices.value


def gpu_required() -> bool:
    """Whether a start without a GPU must be refused (REQUIRE_GPU=1)."""
    return os.environ.get("REQUIRE_GPU", "").lower() in {"1", "true", "yes"}


def claim_gpu(folder: Path) -> int | None:
    """Take a GPU that no other worker has, and hide all others from this process. None if all are taken.

    The claim is a file lock: it ends with the worker, so the worker that replaces it gets the same GPU.
    """
    for device in range(gpus()):
        lock = os.open(folder / f"gpu-{device}.lock", os.O_CREAT | os.O_WRONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        os.environ["CUDA_VISIBLE_DEVICES"] = str(device)
        return device
    return None


def _cgroup(*names: str) -> str:
    """The first of these control files that exists: version 2's name, then version 1's."""
    for name in names:
        try:
            return Path("/sys/fs/cgroup", name).read_text(encoding="ascii").strip()
        except OSError:
            continue
    return ""
