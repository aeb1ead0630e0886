"""This image's serving stack: gunicorn with uvicorn's workers on one listening socket, and on a side door."""

import socket
import sys
from pathlib import Path

from byoc.processes import Process
from byoc.serving.settings import Settings
from byoc.serving.standby import Standby

BACKLOG = 2048
PROGRAM = Path(__file__).parent.parent


def bind(settings: Settings) -> socket.socket:
    """The socket on which SageMaker's requests arrive (S-10)."""
    listener = socket.create_server(("0.0.0.0", settings.port), backlog=BACKLOG)
    listener.set_inheritable(True)
    return listener


def start(settings: Settings, server_socket: socket.socket) -> tuple[list[Process], Standby]:
    """The processes of this stack, outermost first, and who answers while they cannot."""
    path = settings.run_dir / "side-door.sock"
    side_door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    side_door.bind(str(path))
    side_door.listen(BACKLOG)
    listeners = (server_socket.fileno(), side_door.detach())
    command = [sys.executable, "-m", "byoc.serving.arbiter", "--config", str(PROGRAM / "gunicorn.conf.py")]
    for descriptor in listeners:
        command += ["--bind", f"fd://{descriptor}"]
    return [Process(command, pass_fds=listeners)], Standby(server_socket, settings.run_dir, path)
