"""gunicorn's settings: it starts uvicorn's workers and replaces those that die."""

import gc

# What is imported is never garbage. byoc/serving/loaded_model.py turns the collector on after the imports.
gc.disable()

from typing import Any, ClassVar  # noqa: E402

from uvicorn_worker import UvicornWorker  # noqa: E402

from byoc.serving import gunicorn_hooks, settings, stack  # noqa: E402

_settings = settings.read()


class Worker(UvicornWorker):
    """uvicorn as this image wants it."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = stack.UVICORN


wsgi_app = "asgi:app"
worker_class = Worker
workers = _settings.workers
preload_app = gunicorn_hooks.is_shared(_settings)
on_starting = gunicorn_hooks.on_starting
post_fork = gunicorn_hooks.post_fork
post_worker_init = gunicorn_hooks.post_worker_init
# A worker whose event loop has stood still for longer than SageMaker waits for an answer is replaced.
timeout = _settings.timeout_seconds + 5
graceful_timeout = settings.DRAIN_SECONDS
# Longer than any proxy in front keeps a connection: the side that sends must be the one that closes.
keepalive = 75
control_socket_disable = True
loglevel = "warning"
