"""New connections go to the worker that has the fewest.

Workers share one listening socket. Whichever woke first would accept a whole burst of connections, and as
clients keep them open, it would do all the work from then on while the other CPUs idle.
"""

import asyncio
import mmap
import socket
from contextlib import suppress
from typing import Any

from uvicorn.config import Config
from uvicorn.server import Server

# How long a connection is left to a worker that has fewer, but may be busy; then some are taken at once.
PATIENCE_SECONDS = 0.001
AT_ONCE = 4
RETRY_SECONDS = 0.5
ABSENT = 2**32 - 1


class Connections:
    """How many connections each worker has, in memory that all of them see."""

    def __init__(self, workers: int) -> None:
        # Twice: gunicorn may start new workers before the old ones have ended.
        self._counts = memoryview(mmap.mmap(-1, 2 * workers * 4)).cast("I")
        #: Which of the workers this process is.
        self.slot = 0
        for slot in range(len(self._counts)):
            self._counts[slot] = ABSENT

    def pre_fork(self, arbiter: Any, worker: Any) -> None:
        """gunicorn's hook before it forks: the worker inherits the slot that is its own."""
        taken = {other.byoc_slot for other in arbiter.WORKERS.values()}
        self.slot = next(slot for slot in range(len(self._counts)) if slot not in taken)
        worker.byoc_slot = self.slot

    def child_exit(self, arbiter: Any, worker: Any) -> None:
        """gunicorn's hook after a worker's end."""
        self._counts[worker.byoc_slot] = ABSENT

    def tell(self, count: int) -> None:
        """Let the others know how many this worker has."""
        self._counts[self.slot] = count

    @property
    def others_have_fewer(self) -> bool:
        """Whether a new connection should be another worker's."""
        return self._counts[self.slot] > min(self._counts)


class _Counted(set[Any]):
    """A worker's open connections, whose number the other workers see."""

    def __init__(self, connections: Connections) -> None:
        super().__init__()
        self._tell = connections.tell
        self._tell(0)

    def add(self, connection: Any) -> None:
        super().add(connection)
        self._tell(len(self))

    def discard(self, connection: Any) -> None:
        super().discard(connection)
        self._tell(len(self))


class BalancedServer(Server):
    """uvicorn's server, but for how it accepts connections."""

    def __init__(self, config: Config, connections: Connections) -> None:
        super().__init__(config)
        self._connections = connections

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then accept."""
        await super().startup(sockets=[])
        self.server_state.connections = _Counted(self._connections)
        self.servers = [Acceptor(self, self._connections, listener) for listener in sockets or []]  # type: ignore[misc]


class Acceptor:
    """Accepts from one listening socket."""

    def __init__(self, server: BalancedServer, connections: Connections, listener: socket.socket) -> None:
        self._server = server
        self._connections = connections
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        self._watch()

    def close(self) -> None:
        """Accept no more."""
        self._loop.remove_reader(self._listener)
        if self._timer:
            self._timer.cancel()

    async def wait_closed(self) -> None:
        """Wait for connections that were just accepted."""
        await asyncio.gather(*self._tasks)

    def _watch(self) -> None:
        self._loop.add_reader(self._listener, self._someone_waits)

    def _someone_waits(self) -> None:
        if self._connections.others_have_fewer:
            self._pause(PATIENCE_SECONDS)
        else:
            self._accept()

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener)
        self._timer = self._loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        self._watch()
        for _ in range(AT_ONCE):
            if not self._accept():
                break

    def _accept(self) -> bool:
        try:
            client, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return False  # another worker was faster, or the client left
        except OSError:  # no descriptors left, which those that end will give back
            self._pause(RETRY_SECONDS)
            return False
        task = self._loop.create_task(self._serve(client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._connections.tell(len(self._server.server_state.connections) + len(self._tasks))
        return True

    async def _serve(self, client: socket.socket) -> None:
        client.setblocking(False)
        with suppress(OSError):  # the client left
            await self._loop.connect_accepted_socket(self._protocol, client)

    def _protocol(self) -> asyncio.Protocol:
        config, server = self._server.config, self._server
        state = server.lifespan.state
        protocol: asyncio.Protocol = config.http_protocol_class(
            config=config, server_state=server.server_state, app_state=state
        )
        return protocol
