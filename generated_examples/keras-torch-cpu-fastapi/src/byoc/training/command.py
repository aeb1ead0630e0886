"""The `train` command: a small parent that SageMaker's signals reach, and a child that runs model.py.

The parent outlives the child, so an import error or a kill for lack of memory ends in a failure file too.
Only the child can say that training is complete: no exit code counts as success (T-50, T-51). A host with
several GPUs has several children, and they train one model with those of the job's other hosts.
"""

import importlib.util
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from byoc import framework, job, machine, paths
from byoc.errors import JobError
from byoc.processes import STOP_SIGNALS, Process, StopRequest, reap_orphans, say, wait_until
from byoc.training import hanging, outcome, script
from byoc.training.cluster import Cluster, HostFailed

CHILD = (sys.executable, "-m", "byoc.training.child")
# torch.distributed's port. TensorFlow's processes have one each, from the next one on.
RANKS_PORT = 7777
# SageMaker kills the container 120 s after SIGTERM (T-60). The reason must be written before.
STOP_SECONDS = 110
SYMPTOM_SECONDS = 2


def main() -> int:
    """Train with the job's other hosts. Returns 0 if all of them are complete."""
    # A signal waits until there is a child that can be asked to stop. The child inherits the mask.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    outcome.begin()
    stop = StopRequest()
    children: list[Process] = []
    cluster, code = None, 0
    try:
        hosts, current = job.hosts(job.config("resourceconfig"))
        if len(hosts) > 1 and not script.requested(job.config("hyperparameters")):
            _refuse(hosts)
        cluster = Cluster(hosts, current)
        members = cluster.meet(_has_its_shards(), stop)
        if current in members:
            children += _start(members, current, stop)

            def check() -> None:
                cluster.check()
                cluster.search(members, children)

            code = supervise(children, stop, check)
            if code > 128 and cluster.peers:
                cluster.check(SYMPTOM_SECONDS)  # a library may abort because another host has failed
            if not outcome.succeeded(code):
                raise HostFailed(paths.failure().read_text(encoding="utf-8"))
        else:
            say("this host got no file of a sharded channel; the others train")
            outcome.complete()
        cluster.end()
    except (JobError, HostFailed, OSError) as error:
        outcome.fail(str(error))  # unless there is a reason already
        if cluster:
            cluster.tell_failure(paths.failure().read_text(encoding="utf-8"))
        code = code or 1
    for child in children:
        child.kill()
    hanging.forget()
    stop.ignore()
    return 0 if outcome.succeeded(code) else code or 1


def _refuse(hosts: tuple[str, ...]) -> None:
    """Raise JobError, on each host alike, if this image would train more than one model."""
    if importlib.util.find_spec("byoc.distributed") is None:
        raise JobError(f"the job has {len(hosts)} hosts, and this image trains on one: set instance_count=1")
    check: Callable[[Any], None] = getattr(framework, "check_several_hosts", lambda given: None)
    check(job.config("inputdataconfig"))


def supervise(children: list[Process], stop: StopRequest, check: Callable[[], object] = lambda: None) -> int:
    """Wait until all children have ended or one has failed, and call `check` meanwhile. Returns a code."""

    def ended() -> bool:
        return any(c.exit_code for c in children) or all(c.exit_code is not None for c in children)

    kill_at = None
    while not ended():
        reap_orphans(children)
        check()
        wait_until(ended, seconds=1)
        if stop:
            kill_at = kill_at or time.monotonic() + STOP_SECONDS
            if time.monotonic() > kill_at:
                outcome.fail(f"training did not end within {STOP_SECONDS} s of the request to stop")
                for child in children:
                    child.kill()
    return next((c.exit_code for c in children if c.exit_code), 0)


def _start(members: tuple[str, ...], current: str, stop: StopRequest) -> list[Process]:
    """One process for each GPU, or one. Each has the variables of torchrun and of TensorFlow."""
    gpus = machine.gpus() if getattr(framework, "PROCESS_PER_GPU", False) else 1
    local = int(os.environ.get("PROCESSES_PER_HOST") or gpus or 1)
    node, size = members.index(current), local * len(members)
    # A host alone need not be able to resolve its own name.
    addresses = members if len(members) > 1 else ("127.0.0.1",)
    shared = {
        "MASTER_ADDR": addresses[0],
        "MASTER_PORT": str(RANKS_PORT),
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(local),
        "NODE_RANK": str(node),
    }
    interface = job.config("resourceconfig").get("network_interface_name", "eth0")
    if os.path.isdir(f"/sys/class/net/{interface}"):  # T-43
        shared |= {"GLOO_SOCKET_IFNAME": interface, "NCCL_SOCKET_IFNAME": interface}
    places = [address for address in addresses for _ in range(local)]
    workers = [f"{host}:{RANKS_PORT + 1 + rank}" for rank, host in enumerate(places)]

    def environment(local_rank: int) -> dict[str, str]:
        rank = node * local + local_rank
        task = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": rank}}
        return {"RANK": str(rank), "LOCAL_RANK": str(local_rank), "TF_CONFIG": json.dumps(task), **shared}

    alone = {"RANK": "0"}
    children = [Process(CHILD, environment=environment(i) if size > 1 else alone) for i in range(local)]

    def ask_to_stop() -> None:
        for child in children:
            child.ask_to_stop()

    stop.on_stop = ask_to_stop
    # They hear a signal that arrives now once they have a handler.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    outcome.begin(processes=local)
    for child in children:
        child.start()
        if stop:
            child.ask_to_stop()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    return children


def _has_its_shards() -> bool:
    """Whether each channel that is dealt out among the hosts has a file here (T-37)."""
    given = job.config("inputdataconfig")
    sharded = [name for name in given if given[name].get("S3DistributionType") == "ShardedByS3Key"]
    return all(any(p.is_file() for p in paths.channel(name).rglob("*")) for name in sharded)
