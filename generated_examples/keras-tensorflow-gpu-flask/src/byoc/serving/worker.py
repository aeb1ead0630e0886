"""gunicorn's worker behind nginx: threads that each accept a connection, answer its request, and close it.

nginx has read the request before, and takes the answer at once: no thread waits for a slow client. gunicorn's
own threaded worker hands each request from a main thread to another, which costs time and evenness.
"""

import select
import socket
import threading
import time
from typing import Any

from gunicorn.http import get_parser
from gunicorn.http.errors import NoMoreData
from gunicorn.util import close_graceful
from gunicorn.workers.sync import SyncWorker

from byoc.processes import end_hung_worker
from byoc.serving import limits, turns

POLL_SECONDS = 0.5
# nginx has given up by then, and told the client.
HUNG_MARGIN_SECONDS = 15


class Worker(SyncWorker):
    """Sync workers as threads of one process, so that they share a model."""

    def run(self) -> None:
        """Answer requests until told to stop; then finish those that have begun."""
        self._hung_seconds = limits.current().timeout_seconds + HUNG_MARGIN_SECONDS
        self._busy_since: dict[int, float] = {}
        self._turns = turns.Turns()
        [listener] = self.sockets
        listener.setblocking(False)
        # One connection wakes one worker. All its threads share this: each sees what another was woken for.
        self._waiting = select.epoll()
        self._waiting.register(listener.fileno(), select.EPOLLIN | select.EPOLLEXCLUSIVE)
        threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(self.cfg.threads)]
        for thread in threads:
            thread.start()
        while self.alive and self.is_parent_alive():
            self.notify()
            self._end_if_all_hang()
            time.sleep(POLL_SECONDS)
        self.alive = False
        for thread in threads:
            thread.join(self.cfg.graceful_timeout)

    def _serve(self) -> None:
        """One thread's life."""
        [listener] = self.sockets
        while self.alive:
            if self._turns.take():
                # Woken or not: a connection may have woken a worker that cannot come for it.
                self._waiting.poll(POLL_SECONDS)
                self._answer_one(listener)

    def _answer_one(self, listener: socket.socket) -> None:
        me = threading.get_ident()
        self._busy_since[me] = time.monotonic()
        turns.begin()
        try:
            client, address = listener.accept()
            client.setblocking(True)
            with client:
                # Where nginx has given up on a request that waited too long, an answer would reach nobody.
                if not _sees(client, select.POLLRDHUP):
                    self._answer(listener, client, address)
        except BlockingIOError:
            pass  # there is none, or another one was faster
        except OSError as error:
            self.log.warning("cannot accept: %s", error)
            time.sleep(POLL_SECONDS)
        finally:
            self._busy_since.pop(me, None)

    def _answer(self, listener: socket.socket, client: socket.socket, address: Any) -> None:
        """gunicorn's own `handle`, which also waits until the other side has closed."""
        try:
            request = next(get_parser(self.cfg, client, address))
            self.handle_request(listener, request, client, address)
        except (StopIteration, NoMoreData, ConnectionError):
            pass  # nginx left
        except BaseException as error:
            self.handle_error(None, client, address, error)
        if _sees(client, select.POLLIN):  # a part was not read: to close now would cut the answer off
            close_graceful(client)

    def _end_if_all_hang(self) -> None:
        """A worker whose every thread hangs in a prediction answers nobody any more."""
        long_ago = time.monotonic() - self._hung_seconds
        hanging = [since for since in self._busy_since.copy().values() if since < long_ago]
        if len(hanging) == self.cfg.threads:
            end_hung_worker()


def _sees(client: socket.socket, event: int) -> bool:
    """Whether this has happened on a connection."""
    seen = select.poll()
    seen.register(client, event)
    return bool(seen.poll(0))
