"""This image's serving stack: gunicorn with uvicorn's workers on one listening socket, and on a side door."""

import socket
import sys
from pathlib import Path
from typing import Any

from byoc.processes import Process
from byoc.serving.settings import DRAIN_SECONDS, SIDE_DOOR, Settings

BACKLOG = 2048
PROGRAM = Path(__file__).parents[2]
# This parser bounds heads and pipelines, and reads the body of a request with Upgrade in its headers.
UVICORN: dict[str, Any] = {
    "loop": "uvloop",
    "http": "zttp",
    "ws": "none",  # SageMaker asks over HTTP,
    "proxy_headers": False,  # and no proxy of ours is in front
    "server_header": False,
    "timeout_graceful_shutdown": DRAIN_SECONDS,
}


def bind(settings: Settings, run_dir: Path) -> socket.socket:
    """The socket on which SageMaker's requests arrive (S-10)."""
    listener = socket.create_server(("0.0.0.0", settings.port), backlog=BACKLOG)
    listener.set_inheritable(True)
    return listener


def processes(settings: Settings, run_dir: Path, server: socket.socket) -> list[Process]:
    """The processes of this stack, the one that accepts requests first."""
    side_door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    side_door.bind(str(run_dir / SIDE_DOOR))
    side_door.listen(BACKLOG)
    listeners = (server.fileno(), side_door.detach())
    command = [sys.executable, "-m", "gunicorn", "--config", str(PROGRAM / "gunicorn.conf.py")]
    for descriptor in listeners:
        command += ["--bind", f"fd://{descriptor}"]
    return [Process(command, pass_fds=listeners)]
