"""gunicorn's settings: it starts uvicorn's workers and replaces those that die."""

import importlib
from typing import Any, ClassVar

from uvicorn_worker import UvicornWorker

from byoc import limits, loading
from byoc.protocol import BoundedProtocol
from byoc.workers import plan

loading.begin()
# What each worker would import for itself: imported before the fork, it is shared.
for _module in ("uvloop", "uvicorn.lifespan.on"):
    importlib.import_module(_module)


class Worker(UvicornWorker):
    """uvicorn as this image wants it."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        "loop": "uvloop",
        "http": BoundedProtocol,
        "server_header": False,
        "timeout_graceful_shutdown": limits.DRAIN_SECONDS,
    }


_plan = plan()

wsgi_app = "asgi:app"
worker_class = Worker
workers = _plan.workers
preload_app = loading.is_shared(_plan)
on_starting = loading.on_starting
post_fork = loading.post_fork
post_worker_init = loading.post_worker_init
# A worker whose event loop has stood still for longer than anyone waits is replaced.
timeout = limits.current().timeout_seconds + 5
graceful_timeout = limits.DRAIN_SECONDS
# Longer than any proxy in front keeps a connection: the side that sends must be the one that closes.
keepalive = 75
control_socket_disable = True
loglevel = "warning"
