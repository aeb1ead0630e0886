"""When the model is loaded: once, before workers are forked, where that is safe; else by each worker.

What is loaded before the fork, all workers share, and a worker that died is replaced at once. But threads and
GPU contexts do not survive a fork.
"""

import gc
import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from byoc import framework
from byoc.processes import say
from byoc.serving import standby
from byoc.serving.plan import Plan

# Set where loading turned out to start threads.
EACH_VARIABLE = "BYOC_LOAD_IN_EACH_WORKER"
HEARTBEAT_SECONDS = 1.0


def is_shared(plan: Plan) -> bool:
    """Whether one process loads the model for all workers."""
    # With more than one compute thread, the libraries below the framework start theirs on import.
    return framework.SURVIVES_FORK and plan.compute_threads == 1 and not os.environ.get(EACH_VARIABLE)


def imported() -> None:
    """Called between the imports and the model: from here on there may be garbage, but not before."""
    gc.freeze()
    gc.enable()


def on_starting(arbiter: Any) -> None:
    """gunicorn's hook when the model is loaded, if it is shared, and nothing is forked yet."""
    if not arbiter.cfg.preload_app:
        return
    if (threads := _threads()) > 1:
        say(f"loading started {threads - 1} thread(s), which a fork would lose: each worker loads by itself")
        os.environ[EACH_VARIABLE] = "1"
        os.execv(sys.executable, sys.orig_argv)
    gc.collect()
    # The collector would write to every object, and so end the sharing of its memory.
    gc.freeze()


def post_fork(arbiter: Any, worker: Any) -> None:
    """gunicorn's hook in a new worker, before it loads anything."""
    _obey_stop(arbiter)
    with suppress(OSError):  # memory that runs out shall cost a worker, not the one that replaces it
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
    np.random.seed(int.from_bytes(os.urandom(4)))  # else all workers would draw the same numbers
    # Beside predictions that compute in Python, whoever answers /ping gets a turn ten times as soon (S-12).
    sys.setswitchinterval(0.0005)
    loaded = worker.byoc_loaded = threading.Event()
    if arbiter.cfg.preload_app:  # it is loaded already
        return

    def beat() -> None:
        """Loading may take longer than gunicorn waits for a worker that says nothing."""
        while not loaded.wait(HEARTBEAT_SECONDS):
            worker.notify()

    threading.Thread(target=beat, daemon=True).start()


def _obey_stop(arbiter: Any) -> None:
    """End if the request to stop came just after the fork, where gunicorn's own handler swallows it."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    while not arbiter.SIG_QUEUE.empty():
        if arbiter.SIG_QUEUE.get() == signal.SIGTERM:
            os._exit(0)


def post_worker_init(worker: Any) -> None:
    """gunicorn's hook in a worker that is about to accept requests."""
    worker.byoc_loaded.set()
    standby.report(standby.READY)


def _threads() -> int:
    """Threads of this process, those of native libraries too."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:  # a system without /proc
        return threading.active_count()
