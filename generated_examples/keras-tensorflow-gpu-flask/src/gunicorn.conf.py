"""gunicorn's settings: workers from the plan, limits from SageMaker's table."""

from byoc.serving import gunicorn_hooks, limits
from byoc.serving.plan import plan

_plan = plan()

wsgi_app = "wsgi:app"
worker_class = "byoc.serving.worker.Worker"
workers = _plan.workers
threads = _plan.request_threads
preload_app = gunicorn_hooks.is_shared(_plan)
on_starting = gunicorn_hooks.on_starting
post_fork = gunicorn_hooks.post_fork
post_worker_init = gunicorn_hooks.post_worker_init
# gunicorn > nginx > SageMaker, so that the one who gives up first is the one who can say why.
timeout = limits.current().timeout_seconds + 20
graceful_timeout = limits.DRAIN_SECONDS
control_socket_disable = True
loglevel = "warning"
