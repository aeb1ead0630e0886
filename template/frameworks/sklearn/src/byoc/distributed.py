"""Several hosts that compute for one train(), with Dask: what joblib runs in parallel runs on all of them."""

import asyncio
import atexit
import os
from contextlib import nullcontext
from typing import Any

from byoc import machine
from byoc.errors import NothingToDo
from byoc.processes import say

MEETING_SECONDS = "15 minutes"


def join() -> None:
    """On the first host, let joblib use every host's CPUs. On another one, work until its train() has ended.

    Raises NothingToDo when the work is done.
    """
    if (hosts := int(os.environ.get("WORLD_SIZE", "1"))) == 1:
        return
    import dask

    dask.config.set({"distributed.comm.timeouts.connect": MEETING_SECONDS})
    address = f"tcp://{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    if int(os.environ["RANK"]):
        asyncio.run(_work(address))
        raise NothingToDo(f"this host computed for {os.environ['MASTER_ADDR']}")
    _lead(address, hosts)


def agree(flag: bool) -> bool:
    """The same flag: only one process calls train()."""
    return flag


def from_leader(value: Any) -> Any:
    """The same value: only one process has checkpoints."""
    return value


alone = nullcontext


def is_symptom(error: BaseException) -> bool:
    """Whether an error only says that another process is gone, or hangs."""
    return type(error).__module__.startswith("distributed.")


async def _work(address: str) -> None:
    from distributed import Nanny

    workers = [Nanny(address, nthreads=1, dashboard_address=None) for _ in range(machine.cpus())]
    await asyncio.gather(*workers)
    await asyncio.gather(*(worker.finished() for worker in workers))


def _lead(address: str, hosts: int) -> None:
    import joblib
    from distributed import Client, LocalCluster

    host, _, port = address.removeprefix("tcp://").rpartition(":")
    cluster: Any = LocalCluster(
        host=host,
        scheduler_port=int(port),
        n_workers=machine.cpus(),
        threads_per_worker=1,
        dashboard_address=None,
    )
    client = Client(cluster)
    client.wait_for_workers(machine.cpus() + hosts - 1, timeout=MEETING_SECONDS)
    say(f"Dask has {len(client.scheduler_info(n_workers=-1)['workers'])} workers on {hosts} hosts")
    atexit.register(client.shutdown)
    joblib.parallel_config(backend="dask")
