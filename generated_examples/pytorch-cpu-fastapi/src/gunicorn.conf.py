"""gunicorn's settings: it starts uvicorn's workers and replaces those that die."""

import importlib
import sys
from contextlib import suppress
from typing import Any, ClassVar

from byoc.serving.balance import BalancedServer, Connections
from byoc.serving.shortcut import ShortcutProtocol
from gunicorn.arbiter import Arbiter
from pydantic import BaseModel
from uvicorn_worker import UvicornWorker

from byoc.serving import affinity, gunicorn_hooks, limits
from byoc.serving.plan import plan

# What each worker would import for itself: imported before the fork, it is shared. FastAPI brings models of
# OpenAPI's schema, which nobody asks for here: until somebody does, they need not be built.
BaseModel.model_config["defer_build"] = True
for _module in ("fastapi.telemetry._runtime", "uvicorn.lifespan.on", "uvicorn.loops.uvloop"):
    with suppress(ImportError):  # these names are private: another version may have others
        importlib.import_module(_module)
BaseModel.model_config["defer_build"] = False

_plan = plan()
_connections = Connections(_plan.workers)


class Worker(UvicornWorker):
    """uvicorn as this image wants it."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        "loop": "uvloop",
        "http": ShortcutProtocol,
        "ws": None,  # SageMaker asks over HTTP,
        "proxy_headers": False,  # and no proxy of ours is in front
        "server_header": False,
        "timeout_graceful_shutdown": limits.DRAIN_SECONDS,
    }

    async def _serve(self) -> None:
        app = self.config.app = self.wsgi
        if getattr(app, "answers_at_once", False) and _plan.compute_threads == 1:
            affinity.pin(_connections.slot, _plan.workers)
        server = BalancedServer(self.config, _connections)
        self._install_sigquit_handler()
        await server.serve(sockets=self.sockets)
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)


wsgi_app = "asgi:app"
worker_class = Worker
workers = _plan.workers
preload_app = gunicorn_hooks.is_shared(_plan)
on_starting = gunicorn_hooks.on_starting
pre_fork = _connections.pre_fork
child_exit = _connections.child_exit
post_fork = gunicorn_hooks.post_fork
post_worker_init = gunicorn_hooks.post_worker_init
# A worker whose event loop has stood still for longer than anyone waits is replaced.
timeout = limits.current().timeout_seconds + 5
graceful_timeout = limits.DRAIN_SECONDS
# Longer than any proxy in front keeps a connection: the side that sends must be the one that closes.
keepalive = 75
control_socket_disable = True
loglevel = "warning"
