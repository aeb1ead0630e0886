"""This image's serving stack: uvicorn workers on one listening socket, and on a side door."""

import socket
import sys

from byoc import limits
from byoc.processes import Process
from byoc.settings import Settings
from byoc.standby import Standby

BACKLOG = 2048


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
    command = [sys.executable, "-m", "byoc.stack", str(settings.plan.workers), *map(str, listeners)]
    return [Process(command, pass_fds=listeners)], Standby(server_socket, settings.run_dir, path)


def main(workers: int, descriptors: list[int]) -> None:
    """Run uvicorn on inherited sockets. With several workers it replaces one that dies."""
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    config = uvicorn.Config(
        "asgi:app",
        workers=workers,
        access_log=False,
        log_level="warning",
        server_header=False,
        backlog=BACKLOG,
        # Longer than any proxy in front keeps a connection: the side that sends must be the one that closes.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=limits.DRAIN_SECONDS,
        # A worker that does not react for longer than SageMaker waits is beyond help, and is replaced.
        timeout_worker_healthcheck=limits.current().timeout_seconds,
    )
    listeners = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    if workers > 1:
        Multiprocess(config, sockets=listeners).run()
    else:
        uvicorn.Server(config).run(sockets=listeners)


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(descriptor) for descriptor in sys.argv[2:]])
