"""The launch of a job on several hosts: they begin together, end together, and tell the first cause."""

from __future__ import annotations

import json
import signal
import socket
import textwrap
import time
from contextlib import ExitStack
from pathlib import Path
from subprocess import Popen

import pytest
from byoc import framework
from byoc.errors import JobError
from byoc.processes import wait_until
from processes import Job, program, program_for_several_hosts, training

# Addresses of this machine in place of names; the first of them leads.
FIRST, SECOND, THIRD = "127.0.0.1", "127.0.0.2", "127.0.0.3"
SAVES = "if job.is_leader: save(job)"
# What torch.distributed raises in all others when one is gone.
SYMPTOM = "raise RuntimeError('Connection closed by peer')"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return program_for_several_hosts(tmp_path_factory.mktemp("program"))


class Cluster:
    """The hosts of a job that has this train()."""

    def __init__(
        self, source: Path, folder: Path, body: str, hosts: tuple[str, ...] = (FIRST, SECOND)
    ) -> None:
        model = training("host = job.current_host\n" + textwrap.dedent(body))
        self.jobs = {host: Job(source, folder / host, model) for host in hosts}
        for host, job in self.jobs.items():
            job.configure("resourceconfig", {"current_host": host, "hosts": list(hosts)})

    def run(self, late: dict[str, float] | None = None, **environment: str) -> dict[str, tuple[int, str]]:
        """Run all hosts to their ends. Exit codes and logs."""
        with ExitStack() as stack:
            processes = self.start(stack, late or {}, **environment)
            logs = {host: process.communicate(timeout=60)[0] for host, process in processes.items()}
        return {host: (processes[host].returncode, logs[host]) for host in processes}

    def start(self, stack: ExitStack, late: dict[str, float], **environment: str) -> dict[str, Popen[str]]:
        processes = {}
        for host, job in self.jobs.items():
            time.sleep(late.get(host, 0))
            processes[host] = job.start(**environment)
            stack.callback(processes[host].kill)
        return processes

    def failures(self) -> list[str]:
        return [str(job.failure) for job in self.jobs.values()]


def test_an_image_for_one_host_refuses_several(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cluster = Cluster(program(tmp_path_factory.mktemp("one")), tmp_path, SAVES)
    assert [code for code, _ in cluster.run().values()] == [1, 1]
    reason = "the job has 2 hosts, and this image trains on one: set instance_count=1"
    assert cluster.failures() == [reason] * 2
    assert cluster.run(PROCESSES_PER_HOST="2")[FIRST][0] == 1


@pytest.mark.parametrize(
    "dask, distribution, reason",
    [
        (None, "FullyReplicated", r"dask\[distributed\] in requirements.txt; else set instance_count=1"),
        ("spec", "ShardedByS3Key", "do not shard channel train, or set instance_count=1"),
    ],
)
def test_scikit_learn_refuses_several_hosts_without_dask_and_sharded_channels_with_it(
    monkeypatch: pytest.MonkeyPatch, dask: str | None, distribution: str, reason: str
) -> None:
    monkeypatch.setattr(framework, "find_spec", lambda name: dask)
    with pytest.raises(JobError, match=reason):
        framework.check_several_hosts({"train": {"S3DistributionType": distribution}})


def test_hosts_train_one_model_under_the_fields_names_and_wait_for_one_that_is_late(
    source: Path, tmp_path: Path
) -> None:
    body = f"""
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    import json
    job.write_report("ranks.json", {{name: os.environ[name] for name in names}})
    {SAVES}
    """
    cluster = Cluster(source, tmp_path, body, (FIRST, SECOND, THIRD))
    ends = cluster.run(late={SECOND: 1})
    assert [code for code, _ in ends.values()] == [0, 0, 0], ends
    found = [json.loads((j.opt_ml / "output/data/ranks.json").read_text()) for j in cluster.jobs.values()]
    assert [one["RANK"] for one in found] == ["0", "1", "2"]
    assert {(one["WORLD_SIZE"], one["MASTER_ADDR"], one["LOCAL_RANK"]) for one in found} == {
        ("3", FIRST, "0")
    }
    assert [(j.opt_ml / "model/model").exists() for j in cluster.jobs.values()] == [True, False, False]
    assert cluster.failures() == ["None"] * 3


@pytest.mark.parametrize(
    "death, reason",
    [
        ("raise ValueError('row 7')", f"{SECOND}: ValueError: row 7 (at model.py:"),
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            f"{SECOND}: training was ended by SIGKILL (most often: out of",
        ),
        ("os._exit(0)", f"{SECOND}: training ended before train() returned"),
        (
            "os.kill(os.getppid(), signal.SIGKILL); os._exit(1)",
            f"{SECOND}: was lost without a reason (most often",
        ),
    ],
)
def test_the_first_cause_ends_every_host_and_is_told_by_each(
    source: Path, tmp_path: Path, death: str, reason: str
) -> None:
    dying = tmp_path / "dying"
    body = f"""
    if host == '{SECOND}':
        open('{dying}', 'w').close()
        {death}
    while not os.path.exists('{dying}'):
        time.sleep(0.05)
    {SYMPTOM}
    """
    cluster = Cluster(source, tmp_path, body, (FIRST, SECOND, THIRD))
    begun = time.monotonic()
    ends = cluster.run()
    assert time.monotonic() - begun < 30
    assert 0 not in [code for code, _ in ends.values()]
    assert cluster.jobs[FIRST].failure == cluster.jobs[THIRD].failure
    assert str(cluster.jobs[FIRST].failure).startswith(reason)
    if "getppid" not in death:
        assert f"{SECOND}: {cluster.jobs[SECOND].failure}" == cluster.jobs[FIRST].failure


@pytest.mark.parametrize("hanging", [FIRST, SECOND, THIRD])
def test_a_host_that_hangs_is_named_with_its_line_by_each(source: Path, tmp_path: Path, hanging: str) -> None:
    body = f"""
    while host == '{hanging}':
        time.sleep(0.05)
    raise RuntimeError('timed out')
    """
    cluster = Cluster(source, tmp_path, body, (FIRST, SECOND, THIRD))
    ends = cluster.run()
    assert 0 not in [code for code, _ in ends.values()]
    for failure in cluster.failures():
        assert failure.startswith(f"{hanging} is at model.py:"), failure
        assert failure.endswith("waited for it: RuntimeError: timed out (at model.py:18 in train)"), failure


def test_a_process_that_its_library_aborts_because_another_host_ends_does_not_count_as_the_cause(
    source: Path, tmp_path: Path
) -> None:
    body = f"""
    while host == '{SECOND}':
        if os.path.exists('{tmp_path / FIRST}/opt_ml/output/failure'):
            os.abort()
        time.sleep(0.01)
    raise RuntimeError('timed out')
    """
    cluster = Cluster(source, tmp_path, body)
    cluster.run()
    for failure in cluster.failures():
        assert failure.startswith(f"{SECOND} is at model.py:"), failure


def test_a_host_that_has_ended_while_others_wait_for_it_is_named(source: Path, tmp_path: Path) -> None:
    body = f"""
    {SAVES}
    if not job.is_leader:
        time.sleep(1)
        raise RuntimeError('timed out')
    """
    cluster = Cluster(source, tmp_path, body)
    cluster.run()
    for failure in cluster.failures():
        assert failure.startswith(f"{FIRST} has ended train(); {SECOND} waited for it: RuntimeError"), failure


def test_no_host_ends_before_the_last_is_done(source: Path, tmp_path: Path) -> None:
    """Local modes stop all hosts when one ends."""
    cluster = Cluster(source, tmp_path, f"time.sleep(3 if job.is_leader else 0)\n{SAVES}")
    with ExitStack() as stack:
        processes = cluster.start(stack, {})
        assert processes[SECOND].wait(timeout=60) == 0
        assert (cluster.jobs[FIRST].opt_ml / "model/byoc-manifest.json").exists()
        assert processes[FIRST].wait(timeout=10) == 0


def test_a_host_without_a_file_of_a_sharded_channel_lets_the_others_train(
    source: Path, tmp_path: Path
) -> None:
    cluster = Cluster(source, tmp_path, f"job.channel('train')\n{SAVES}", (FIRST, SECOND, THIRD))
    for host, job in cluster.jobs.items():
        job.configure("inputdataconfig", {"train": {"S3DistributionType": "ShardedByS3Key"}})
        (job.opt_ml / "input/data/train").mkdir(parents=True)
        if host != FIRST:
            (job.opt_ml / "input/data/train/rows.csv").touch()
    ends = cluster.run()
    assert [code for code, _ in ends.values()] == [0, 0, 0], ends
    assert [(j.opt_ml / "model/model").exists() for j in cluster.jobs.values()] == [False, True, False]
    assert cluster.failures() == ["None"] * 3


def test_the_only_host_with_data_leads_although_another_one_comes_first(source: Path, tmp_path: Path) -> None:
    cluster = Cluster(source, tmp_path, SAVES)
    for host, job in cluster.jobs.items():
        job.configure("inputdataconfig", {"train": {"S3DistributionType": "ShardedByS3Key"}})
        (job.opt_ml / "input/data/train").mkdir(parents=True)
        if host == SECOND:
            (job.opt_ml / "input/data/train/rows.csv").touch()
    ends = cluster.run()
    assert [code for code, _ in ends.values()] == [0, 0], ends
    assert (cluster.jobs[SECOND].opt_ml / "model/model").exists()


def test_a_stop_reaches_all_processes_of_a_host(source: Path, tmp_path: Path) -> None:
    body = f"""
    (job.model_dir.parent / f"began-{{job.rank}}").touch()
    while not job.should_stop():
        time.sleep(0.05)
    {SAVES}
    """
    cluster = Cluster(source, tmp_path, body)
    with ExitStack() as stack:
        processes = cluster.start(stack, {}, PROCESSES_PER_HOST="2")
        assert wait_until(
            lambda: sum(len(list(j.opt_ml.glob("began-*"))) for j in cluster.jobs.values()) == 4, 60
        )
        for process in processes.values():
            process.send_signal(signal.SIGTERM)
        assert [process.wait(timeout=30) for process in processes.values()] == [0, 0]
    assert cluster.failures() == ["None"] * 2


def test_processes_of_one_host_find_each_other_although_its_name_does_not_resolve(
    source: Path, tmp_path: Path
) -> None:
    body = f"""
    import json
    workers = json.loads(os.environ["TF_CONFIG"])["cluster"]["worker"]
    job.write_report("found.json", {{"master": os.environ["MASTER_ADDR"], "workers": workers}})
    {SAVES}
    """
    cluster = Cluster(source, tmp_path, body, ("algo-1.invalid",))
    assert cluster.run(PROCESSES_PER_HOST="2")["algo-1.invalid"][0] == 0
    found = json.loads((cluster.jobs["algo-1.invalid"].opt_ml / "output/data/found.json").read_text())
    assert found == {"master": "127.0.0.1", "workers": ["127.0.0.1:7778", "127.0.0.1:7779"]}


def test_a_process_that_fails_beside_a_complete_one_fails_the_job(source: Path, tmp_path: Path) -> None:
    cluster = Cluster(
        source, tmp_path, f"{SAVES}\nif job.rank == 1:\n    time.sleep(0.5)\n    raise ValueError", (FIRST,)
    )
    assert cluster.run(PROCESSES_PER_HOST="2")[FIRST][0] == 1
    assert cluster.failures()[0].startswith("ValueError (at model.py")


def test_a_stop_while_waiting_for_hosts_says_so(source: Path, tmp_path: Path) -> None:
    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((FIRST, 7776)) == 0

    cluster = Cluster(source, tmp_path, SAVES)
    process = cluster.jobs[FIRST].start()
    assert wait_until(listens, 60)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 1
    assert cluster.jobs[FIRST].failure == "the job was stopped before all hosts were there"
