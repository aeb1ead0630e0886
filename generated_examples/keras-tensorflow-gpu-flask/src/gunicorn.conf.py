"""gunicorn's settings: workers from the plan, limits from SageMaker's table."""

from byoc import limits
from byoc.workers import plan

_plan = plan()

wsgi_app = "wsgi:app"
workers = _plan.workers
worker_class = "gthread"
threads = _plan.request_threads
# Each worker loads the model itself: frameworks with threads or CUDA do not survive a fork.
preload_app = False
# gunicorn > nginx > SageMaker, so that the one who gives up first is the one who can say why.
timeout = max(limits.STARTUP_SECONDS, limits.current().timeout_seconds + 20)
graceful_timeout = limits.DRAIN_SECONDS
keepalive = 75
control_socket_disable = True
loglevel = "warning"
