"""gunicorn's settings: workers from the plan, limits from SageMaker's table."""

import gc

# What is imported is never garbage. byoc/serving/loaded_model.py turns the collector on after the imports.
gc.disable()

from byoc.serving import gunicorn_hooks, settings  # noqa: E402

_settings = settings.read()

wsgi_app = "wsgi:app"
worker_class = "gthread"
workers = _settings.workers
threads = _settings.request_threads
# A worker accepts no more than it can answer at once, so the others get what it has no thread for.
worker_connections = threads
# One connection, one request: a kept connection would lead to this worker even while another one idles.
keepalive = 0
preload_app = gunicorn_hooks.is_shared(_settings)
on_starting = gunicorn_hooks.on_starting
post_fork = gunicorn_hooks.post_fork
post_worker_init = gunicorn_hooks.post_worker_init
worker_exit = gunicorn_hooks.worker_exit
# Longer than nginx waits, which waits longer than SageMaker: whoever gives up first can tell the client why.
timeout = _settings.timeout_seconds + 20
graceful_timeout = settings.DRAIN_SECONDS
control_socket_disable = True
loglevel = "warning"
