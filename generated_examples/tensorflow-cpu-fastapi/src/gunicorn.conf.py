"""gunicorn's settings: it starts uvicorn's workers and replaces those that die."""

from uvicorn_worker import UvicornWorker

from byoc import limits, loading
from byoc.loading import on_starting, post_fork, post_worker_init  # noqa: F401 – gunicorn's hooks
from byoc.workers import plan


class Worker(UvicornWorker):
    """uvicorn as this image wants it."""

    CONFIG_KWARGS = {"server_header": False, "timeout_graceful_shutdown": limits.DRAIN_SECONDS}


_plan = plan()

wsgi_app = "asgi:app"
worker_class = Worker
workers = _plan.workers
preload_app = loading.is_shared(_plan)
# A worker whose event loop has stood still for longer than anyone waits is replaced.
timeout = limits.current().timeout_seconds + 5
graceful_timeout = limits.DRAIN_SECONDS
# Longer than any proxy in front keeps a connection: the side that sends must be the one that closes.
keepalive = 75
control_socket_disable = True
loglevel = "warning"
