"""Removes what a check made: its own at its end, and that of checks that were killed."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from docker import APIClient

from sagegen.engine.connection import TROUBLE

LABEL = "sagegen.check"
PID_LABEL = f"{LABEL}.pid"
#: Where the process runs that owns it, and when that process started.
PLACE_LABEL = f"{LABEL}.place"
STARTED_LABEL = f"{LABEL}.started"
#: No check takes as long: what is older is removed though its owner cannot be seen from here.
ABANDONED_SECONDS = 24 * 3600.0


def labels(check: str) -> dict[str, str]:
    """The labels of all that one check makes: its own ID, and the process that owns it."""
    pid = os.getpid()
    return {
        LABEL: check,
        PID_LABEL: str(pid),
        PLACE_LABEL: _place(),
        STARTED_LABEL: _started(pid) or "",
    }


def remove(api: APIClient, check: str) -> bool:
    """Remove the containers, networks and volumes of a check. True: some are left."""
    ours = {"label": f"{LABEL}={check}"}
    for container in api.containers(all=True, filters=ours):
        with suppress(*TROUBLE):
            api.remove_container(container["Id"], force=True, v=True)
    for network in api.networks(filters=ours):
        with suppress(*TROUBLE):
            api.remove_network(network["Id"])
    for volume in api.volumes(filters=ours)["Volumes"] or []:
        with suppress(*TROUBLE):
            api.remove_volume(volume["Name"], force=True)
    left = api.containers(all=True, filters=ours) or api.networks(filters=ours)
    return bool(left or api.volumes(filters=ours)["Volumes"])


def sweep_dead(api: APIClient) -> None:
    """Remove what checks left whose process has ended (SIGKILL, power cut)."""
    with suppress(*TROUBLE):
        dead = {one[LABEL] for one, created in _labelled(api) if _abandoned(one, created)}
        for check in dead:
            remove(api, check)


def _labelled(api: APIClient) -> Iterator[tuple[dict[str, str], float]]:
    """The labels of everything that checks made, and when it was created (seconds since the epoch)."""
    ours: dict[str, Any] = {"label": LABEL}
    for container in api.containers(all=True, filters=ours):
        yield container["Labels"], float(container["Created"])
    for network in api.networks(filters=ours):
        yield network["Labels"], _seconds(network["Created"])
    for volume in api.volumes(filters=ours)["Volumes"] or []:
        yield volume["Labels"], _seconds(volume["CreatedAt"])


def _abandoned(owner: dict[str, str], created: float) -> bool:
    """Whether the process that owns it has ended: only a process of this machine can be looked for."""
    if time.time() - created > ABANDONED_SECONDS:
        return True
    if owner.get(PLACE_LABEL) != _place():
        return False
    return _started(int(owner.get(PID_LABEL, 0))) != owner.get(STARTED_LABEL)


def _place() -> str:
    """This boot of this machine, and the PID namespace in it: within a place a PID names one process."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"
    return socket.gethostname()


def _started(pid: int) -> str | None:
    """When a process started, in the system's own words; None where there is no such process."""
    if Path("/proc/self/stat").exists():
        with suppress(OSError):
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        return None
    done = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or None


def _seconds(text: str) -> float:
    """Seconds since the epoch of the engine's RFC 3339 time, which may have nanoseconds."""
    head, _, rest = text.partition(".")
    zone = rest.lstrip("0123456789") if rest else ""
    with suppress(ValueError):
        return datetime.fromisoformat(f"{head}{zone}".replace("Z", "+00:00")).timestamp()
    return time.time()
