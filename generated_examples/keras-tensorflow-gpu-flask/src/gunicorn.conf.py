"""gunicorn's settings: workers from the plan, limits from SageMaker's table."""

from byoc import limits, loading
from byoc.workers import plan

_plan = plan()

wsgi_app = "wsgi:app"
worker_class = "byoc.worker.Worker"
workers = _plan.workers
threads = _plan.request_threads
preload_app = loading.is_shared(_plan)
on_starting = loading.on_starting
post_fork = loading.post_fork
post_worker_init = loading.post_worker_init
# gunicorn > nginx > SageMaker, so that the one who gives up first is the one who can say why.
timeout = limits.current().timeout_seconds + 20
graceful_timeout = limits.DRAIN_SECONDS
control_socket_disable = True
loglevel = "warning"
