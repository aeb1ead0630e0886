"""This image's serving stack: nginx in front of gunicorn's workers, over a Unix socket."""

import os
import shutil
import signal
import socket
import sys
from pathlib import Path
from string import Template

from byoc import machine
from byoc.processes import Process, say
from byoc.serving.settings import DRAINING, HEALTH, MODES, Settings

BACKLOG = 2048
PROGRAM = Path(__file__).parents[2]
NGINX = "nginx"
# How long nginx waits for an answer after SageMaker has given up.
MARGIN_SECONDS = 10


def bind(settings: Settings, run_dir: Path) -> socket.socket:
    """The workers' socket: behind nginx, or SageMaker's port itself where nginx is not installed."""
    if shutil.which(NGINX):
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(run_dir / "workers.sock"))
        listener.listen(BACKLOG)
    else:
        say("nginx is not installed here: gunicorn answers on the port itself")
        listener = socket.create_server(("0.0.0.0", settings.port), backlog=BACKLOG)
    listener.set_inheritable(True)
    return listener


def processes(settings: Settings, run_dir: Path, server: socket.socket) -> list[Process]:
    """The processes of this stack, the one that accepts requests first."""
    descriptor = server.fileno()
    command = [sys.executable, "-m", "gunicorn", "--config", str(PROGRAM / "gunicorn.conf.py")]
    gunicorn = Process([*command, "--bind", f"fd://{descriptor}"], pass_fds=(descriptor,))
    if not shutil.which(NGINX):
        return [gunicorn]
    nginx_conf = run_dir / "nginx.conf"
    nginx_conf.write_text(_nginx_conf(settings, run_dir), encoding="utf-8")
    command = [NGINX, "-e", "/dev/stderr", "-p", str(run_dir), "-c", str(nginx_conf)]
    # nginx finishes its requests on SIGQUIT; SIGTERM would cut them.
    return [Process(command, stop_signal=signal.SIGQUIT, holds_model=False), gunicorn]


def _nginx_conf(settings: Settings, run_dir: Path) -> str:
    template = Template((PROGRAM / "nginx.conf").read_text(encoding="utf-8"))
    largest = MODES["realtime"][0] * machine.MIB
    return template.safe_substitute(
        # Started as root, nginx would hand its workers to a user that cannot open the sockets.
        user="user root;" if os.geteuid() == 0 else "",
        port=settings.port,
        run_dir=run_dir,
        health=run_dir / HEALTH,
        draining=run_dir / DRAINING,
        payload_bytes=settings.payload_bytes,
        timeout_seconds=settings.timeout_seconds + MARGIN_SECONDS,
        # As many as workers can take, and as may wait in the folder above if that lies in memory.
        large_requests=settings.workers * max(settings.request_threads, settings.waiting_bytes // largest),
    )
