"""The CPUs and the memory that this container was given, which may be less than the host has."""

import os
from pathlib import Path

MIB = 1024 * 1024


def cpus() -> int:
    """CPUs this container may use: its cgroup's quota, else its affinity."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _cgroup("cpu.max", "cpu/cpu.cfs_quota_us").partition(" ")
    period = period or _cgroup("cpu/cpu.cfs_period_us")
    if quota.isdecimal() and period.isdecimal():
        available = min(available, max(1, int(quota) // int(period)))
    return available


def memory_mib() -> int:
    """MiB of memory this container may use: its cgroup's limit, else the machine's."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _cgroup("memory.max", "memory/memory.limit_in_bytes")
    return min(total, int(limit) if limit.isdecimal() else total) // MIB


def _cgroup(*names: str) -> str:
    """The first of these control files that exists: version 2's name, then version 1's."""
    for name in names:
        try:
            return Path("/sys/fs/cgroup", name).read_text(encoding="ascii").strip()
        except OSError:
            continue
    return ""
