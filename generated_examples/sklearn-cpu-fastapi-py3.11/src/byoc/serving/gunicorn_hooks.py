"""gunicorn's hooks: whether the model is loaded once before the workers are forked, or by each worker.

Workers share the memory of what is loaded before the fork, and a worker that died is replaced at once. But
threads and GPU contexts do not survive a fork.
"""

import atexit
import gc
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from byoc import framework
from byoc.processes import say
from byoc.serving.settings import READY, REPORTS, Settings, run_dir

# Set where loading turned out to start threads.
EACH_VARIABLE = "BYOC_LOAD_IN_EACH_WORKER"
HEARTBEAT_SECONDS = 1.0

_loaded = threading.Event()
_finished = threading.Event()
_kept: list[socket.socket] = []


def is_shared(settings: Settings) -> bool:
    """Whether one process loads the model for all workers."""
    # With more than one compute thread, the libraries below the framework start theirs on import.
    return framework.SURVIVES_FORK and settings.compute_threads == 1 and not os.environ.get(EACH_VARIABLE)


def report(state: str, reason: str = "") -> None:
    """Tell `serve`, and wait until it knows. The connection stays open: its end means the worker's."""
    if folder := run_dir():
        _kept.append(connection := socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        with suppress(OSError):
            connection.connect(str(folder / REPORTS))
            connection.sendall(f"{state} {reason}"[:2000].encode() + b"\n")
            connection.recv(1)


def on_starting(arbiter: Any) -> None:
    """Run once, when the model is loaded, if it is shared, and nothing is forked yet."""
    if not arbiter.cfg.preload_app:
        return
    tasks = Path("/proc/self/task")  # of native libraries too
    threads = len(list(tasks.iterdir())) if tasks.is_dir() else threading.active_count()
    if threads > 1:
        say(f"loading started {threads - 1} thread(s), which a fork would lose: each worker loads by itself")
        os.environ[EACH_VARIABLE] = "1"
        os.execv(sys.executable, sys.orig_argv)
    gc.collect()
    # The collector would write to every object, and so end the sharing of its memory.
    gc.freeze()


def post_fork(arbiter: Any, worker: Any) -> None:
    """Run in a new worker, before it loads anything."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # gunicorn's own handler, inherited, would swallow it
    with suppress(OSError):  # where memory runs out, the kernel kills a worker, which is replaced
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
    np.random.seed(int.from_bytes(os.urandom(4)))  # else all workers would draw the same numbers
    # Beside predictions that compute in Python, the thread that answers /ping gets its turn sooner (S-12).
    sys.setswitchinterval(0.0005)
    if arbiter.cfg.preload_app:  # it is loaded already
        return

    def beat() -> None:
        """Loading may take longer than gunicorn waits for a sign of life."""
        while not _loaded.wait(HEARTBEAT_SECONDS):
            worker.notify()

    threading.Thread(target=beat, daemon=True).start()


def post_worker_init(worker: Any) -> None:
    """Run in a worker that is about to accept requests."""
    _loaded.set()
    report(READY)


def worker_exit(arbiter: Any, worker: Any) -> None:
    """Run in a worker that ends."""
    if isinstance(leaving := sys.exception(), SystemExit) and not leaving.code:
        _finished.set()


@atexit.register  # before any other, so it runs after them
def _leave() -> None:
    """End a worker at once: the interpreter would write to all shared memory, which takes up to 3 s."""
    if _finished.is_set():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
