"""This image's serving stack: nginx in front of gunicorn's workers, over a Unix socket."""

import os
import shutil
import signal
import socket
import sys
from pathlib import Path
from string import Template

from byoc.processes import Process, say
from byoc.serving.settings import Settings
from byoc.serving.standby import Standby

BACKLOG = 2048
PROGRAM = Path(__file__).parent.parent
NGINX = "nginx"


def bind(settings: Settings) -> socket.socket:
    """The workers' socket: behind nginx, or SageMaker's port itself where nginx is not installed."""
    if shutil.which(NGINX):
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(settings.run_dir / "workers.sock"))
        listener.listen(BACKLOG)
    else:
        say("nginx is not installed here: gunicorn answers on the port itself")
        listener = socket.create_server(("0.0.0.0", settings.port), backlog=BACKLOG)
    listener.set_inheritable(True)
    return listener


def start(settings: Settings, server_socket: socket.socket) -> tuple[list[Process], Standby]:
    """The processes of this stack, outermost first, and who answers while they cannot."""
    standby = Standby(server_socket, settings.run_dir)
    descriptor = server_socket.fileno()
    config = str(PROGRAM / "gunicorn.conf.py")
    command = [sys.executable, "-m", "byoc.serving.arbiter", "--config", config, "--bind", f"fd://{descriptor}"]
    gunicorn = Process(command, pass_fds=(descriptor,))
    if not shutil.which(NGINX):
        return [gunicorn], standby
    standby.add_health_socket(settings.run_dir / "health.sock")
    nginx_conf = settings.run_dir / "nginx.conf"
    nginx_conf.write_text(_nginx_conf(settings), encoding="utf-8")
    command = [NGINX, "-e", "/dev/stderr", "-p", str(settings.run_dir), "-c", str(nginx_conf)]
    # nginx finishes its requests on SIGQUIT; SIGTERM would cut them.
    nginx = Process(command, stop_signal=signal.SIGQUIT, holds_model=False)
    return [nginx, gunicorn], standby


def _nginx_conf(settings: Settings) -> str:
    template = Template((PROGRAM / "nginx.conf").read_text(encoding="utf-8"))
    return template.safe_substitute(
        # Started as root, nginx would hand its workers to a user who cannot open the sockets.
        user="user root;" if os.geteuid() == 0 else "",
        port=settings.port,
        run_dir=settings.run_dir,
        payload_bytes=settings.limits.payload_bytes,
        timeout_seconds=settings.limits.timeout_seconds + 10,
    )
