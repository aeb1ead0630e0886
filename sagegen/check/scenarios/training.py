"""Training jobs: a good one, the same one in every legal variation, bad ones, and interrupted ones."""

from __future__ import annotations

import gzip
import re
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import IO, Any

from sagegen.check.bench import Bench, tree
from sagegen.check.containers import SPOOL_BYTES, Box, Exit, File, StartFailed, make_tar, read_tar
from sagegen.check.core import Evidence, Skip, scenario
from sagegen.check.fixture import CHANNEL, Job
from sagegen.check.scenarios.image import IMAGE

CACHE = "/opt/ml/sagemaker/warmpoolcache"
BIG_WRITES = 100 * 10**6


@dataclass(frozen=True)
class Run:
    """One training container from start to end."""

    line: str
    exit: Exit
    start_error: str = ""
    log: list[tuple[float, str]] = field(default_factory=list)
    failure: bytes | None = None
    model: Mapping[str, File] = field(default_factory=dict)
    output: Mapping[str, File] = field(default_factory=dict)
    checkpoints: Mapping[str, File] = field(default_factory=dict)
    written: int = 0
    model_archive: IO[bytes] | None = None

    @property
    def ok(self) -> bool:
        """It ran and ended with 0."""
        return not self.start_error and self.exit.code == 0

    @property
    def text(self) -> str:
        """The log."""
        return "\n".join(text for _, text in self.log)

    @property
    def end(self) -> str:
        """How it ended, for people."""
        if self.start_error:
            return f"cannot start: {self.start_error}"
        if self.exit.running:
            return f"still running after {self.exit.seconds:.0f} s"
        memory = ", out of memory" if self.exit.out_of_memory else ""
        return f"exit code {self.exit.code}{memory} after {self.exit.seconds:.1f} s{self._last()}"

    def _last(self) -> str:
        last = next((text for _, text in reversed(self.log) if text.strip()), "")
        return f": {last.strip()[:160]}" if last and self.exit.code else ""

    def needs_network(self) -> bool:
        """Its log complains that the network is gone."""
        return bool(NETWORK.search(self.text))


NETWORK = re.compile(
    r"name resolution|Name or service not known|nodename nor servname|Network is unreachable|No route to host"
    r"|Could not resolve host|getaddrinfo|Max retries exceeded|Connection timed out|Temporary failure",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Base:
    """The ordinary job, and what made it work if it did not at once."""

    run: Run
    #: The same job without any network; `run` itself, where that succeeded.
    isolated: Run | None = None
    #: Changes of the surroundings with which a job that failed succeeds: T-11, T-20, T-33, T-72.
    cures: Mapping[str, bool] = field(default_factory=dict)
    neutral: bool = False
    job: Job = field(default_factory=lambda: Job({}, {}))

    def succeeded(self) -> Run:
        """The run, where it succeeded; else the rule cannot be judged."""
        if self.run.ok:
            return self.run
        if self.neutral:
            raise Skip("training did not succeed on the neutral fixture – give your data with --opt-ml")
        raise Skip("training did not succeed, see T-01 and T-50")

    def started(self) -> Run:
        """The run, where it started."""
        if self.run.start_error:
            raise Skip("train cannot start, see T-01")
        return self.run


def train(
    bench: Bench,
    job: Job,
    *,
    network: str | None = None,
    checkpoints: IO[bytes] | None = None,
    during: Callable[[Box], None] | None = None,
    keep_model: bool = False,
    seconds: float | None = None,
) -> Run:
    """Run one job to its end."""
    own = bench.lab.network() if job.network and network is None else network
    spec, line = bench.training(job, own)
    with bench.lab.container(spec) as box:
        box.write("/opt/ml", tree(job))
        if checkpoints:
            checkpoints.seek(0)
            box.write("/opt/ml", checkpoints)
        try:
            box.start()
        except StartFailed as error:
            return Run(line, Exit(None, 0.0), str(error))
        if during:
            during(box)
        state = box.wait(seconds or bench.limits.timeout)
        if state.running:
            box.signal("SIGKILL")
            box.wait(10)
        return record(box, line, state, keep_model=keep_model)


def record(box: Box, line: str, state: Exit, *, keep_model: bool = False) -> Run:
    """Write down what an ended training container left."""
    failure = box.files("/opt/ml/output")
    archive = box.archive("/opt/ml/model") if keep_model else None
    return Run(
        line,
        state,
        log=box.logs(),
        failure=failure["failure"].content if "failure" in failure else None,
        output=failure,
        model=box.files("/opt/ml/model"),
        checkpoints=box.files("/opt/ml/checkpoints"),
        written=box.written_bytes(),
        model_archive=archive,
    )


def together(*calls: Callable[[], Any]) -> list[Any]:
    """The results of calls that run at the same time."""
    with ThreadPoolExecutor(max_workers=3) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


@scenario("train")
def TRAIN(bench: Bench, _: Evidence) -> Base:
    """Trains as an ordinary job: read-only channels, no network, no terminal, no SM_* variables."""
    job = bench.fixture.job
    neutral = bench.fixture.is_neutral
    isolated = run = train(bench, replace(job, network=False), keep_model=True)
    if not run.ok and not run.start_error and (not run.exit.running or run.needs_network()):
        run = train(bench, job, keep_model=True)
    if run.ok or run.start_error or run.exit.running:
        return Base(run, isolated, neutral=neutral, job=job)
    # It failed: which single change of the surroundings makes it succeed?
    typed = {key: _typed(value) for key, value in job.hyperparameters.items()}
    changes = {
        "T-33": replace(job, writable_data=True),
        "T-11": replace(job, tty=True),
        "T-72": replace(job, environment={**job.environment, **toolkit_variables(job)}),
    }
    if typed != dict(job.hyperparameters):
        changes["T-20"] = replace(job, hyperparameters=typed)
    cures: dict[str, bool] = {}
    for identity, changed in changes.items():
        other = train(bench, replace(changed, network=isolated.needs_network()), keep_model=True)
        cures[identity] = other.ok
        if other.ok:
            # Where SageMaker itself is so kind (File mode is writable), go on from there.
            if identity == "T-33":
                run, job = other, changed
                isolated = isolated if isolated.needs_network() else other
            break
    return Base(run, isolated, cures, neutral, job)


def _typed(text: Any) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except (TypeError, ValueError):
            continue
    return {"true": True, "false": False}.get(str(text).lower(), text)


def toolkit_variables(job: Job) -> dict[str, str]:
    """What SageMaker's training toolkit would set, and the platform does not."""
    found = {
        "SM_MODEL_DIR": "/opt/ml/model",
        "SM_OUTPUT_DIR": "/opt/ml/output",
        "SM_OUTPUT_DATA_DIR": "/opt/ml/output/data",
        "SM_CURRENT_HOST": job.host,
        "SM_HOSTS": f'["{job.host}"]',
        "SM_NUM_GPUS": "0",
    }
    for channel in job.channels:
        found[f"SM_CHANNEL_{channel.upper()}"] = f"/opt/ml/input/data/{channel}"
    for key, value in job.hyperparameters.items():
        found[f"SM_HP_{key.upper()}"] = str(value)
    return found


# --- legal variations -----------------------------------------------------------------------------------


def _more_hyperparameters(job: Job, more: Mapping[str, str]) -> Job:
    return replace(job, hyperparameters={**job.hyperparameters, **more})


def _resources(job: Job, **more: Any) -> Job:
    return replace(job, resources={**job.resources, **more})


def _hundred(job: Job) -> Job:
    names = [f"sagegen-check.{i:02d}_x" for i in range(99 - len(job.hyperparameters))]
    more = {name: str(i) for i, name in enumerate(names)}
    return _more_hyperparameters(job, {**more, "sagegen-check-long": "x" * 2500})


def _json_values(job: Job) -> Job:
    quoted = {
        key: value if isinstance(_typed(value), int | float) else '"' + str(value).replace('"', '\\"') + '"'
        for key, value in job.hyperparameters.items()
    }
    own = {
        "sagemaker_program": '"train.py"',
        "sagemaker_submit_directory": '"s3://bucket/source.tar.gz"',
        "sagemaker_region": '"us-east-1"',
        "sagemaker_job_name": '"sagegen-check"',
        "sagemaker_container_log_level": "20",
    }
    return replace(job, hyperparameters={**quoted, **own})


def _undocumented(job: Job) -> Job:
    names = ("init-config", "metric-definition-regex", "trainingjobconfig", "upstreamoutputdataconfig")
    more: dict[str, bytes | None] = {f"input/config/{name}.json": b"{}" for name in names}
    more |= {f"input/config/{name}.json": b"[]" for name in ("debughookconfig", "profilerconfig")}
    more |= {"output/metrics": None, "output/metrics/sagemaker": None, "output/profiler": None}
    return replace(job, extra={**job.extra, **more})


def _groups(job: Job) -> Job:
    groups = [
        {"hosts": [job.host], "instance_group_name": "group-b", "instance_type": "ml.g5.xlarge"},
    ]
    return _resources(job, current_group_name="group-b", instance_groups=groups)


def _three_keys(job: Job) -> Job:
    keys = ("current_host", "hosts", "network_interface_name")
    return replace(job, resources={key: job.resources[key] for key in keys})


def _local_mode(job: Job) -> Job:
    host = "algo-1-x7k2p"
    resources = {
        "current_host": host,
        "hosts": [host],
        "network_interface_name": "eth0",
        "current_instance_type": "local",
    }
    channels = {name: {"TrainingInputMode": "File"} for name in job.channels}
    return replace(
        job,
        resources=resources,
        channels=channels,
        environment={**job.environment, "AWS_REGION": "us-east-1"},
    )


def _content_types(job: Job) -> Job:
    channels = {
        name: {**channel, "ContentType": "application/octet-stream"} if i % 2 else _without(channel)
        for i, (name, channel) in enumerate(job.channels.items())
    }
    return replace(job, channels=channels)


def _own_entrypoint(job: Job) -> Job:
    """ContainerEntrypoint, as `--entrypoint train`."""
    return replace(job, entrypoint=("train",), command=())


def _without(channel: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in channel.items() if key != "ContentType"}


#: Two jobs that are as strange as is legal. Where one fails, each of its parts is tried alone.
RICH: dict[str, Callable[[Job], Job]] = {
    "T-41": lambda job: job.on_host("algo-7", ["algo-7"]),
    "T-08": lambda job: replace(job, hostname="ip-10-0-93-154"),
    "T-43": lambda job: _resources(job, network_interface_name="ethwe"),
    "T-46": _groups,
    "T-22": _json_values,
    "T-23": lambda job: _more_hyperparameters(job, {"_tuning_objective_metric": "validation:loss"}),
    "T-16": _undocumented,
    "T-30": _content_types,
    "T-80": lambda job: replace(
        job, environment={**job.environment, "SAGEMAKER_MANAGED_WARMPOOL_CACHE_DIRECTORY": CACHE}
    ),
    "T-21": _hundred,  # last: it counts those before
}
PLAIN: dict[str, Callable[[Job], Job]] = {
    "T-83": _local_mode,
    "T-42": _three_keys,
    "T-38": lambda job: replace(job, data="nested"),
}


@dataclass(frozen=True)
class Variants:
    """For each variation: the run that shows whether the image bears it."""

    runs: Mapping[str, Run]
    #: `train` on the PATH, which could also run without the image's ENTRYPOINT.
    own_program: bool


@scenario("train-variants", after=(TRAIN, IMAGE))
def VARIANTS(bench: Bench, evidence: Evidence) -> Variants:
    """Trains under hostile but legal configurations."""
    base = evidence[TRAIN]
    base.succeeded()
    image = evidence[IMAGE]
    own_program = bool(image.entrypoint) and "train" in image.programs
    plain = {**PLAIN, "T-05": _own_entrypoint} if own_program else PLAIN
    runs: dict[str, Run] = {}

    def attempt(changes: Mapping[str, Callable[[Job], Job]]) -> None:
        job = base.job
        for change in changes.values():
            job = change(job)
        run = train(bench, job)
        if run.ok and run.model:
            runs.update(dict.fromkeys(changes, run))
            return
        for identity, change in changes.items():
            runs[identity] = train(bench, change(base.job))

    together(lambda: attempt(RICH), lambda: attempt(plain))
    return Variants(runs, own_program)


@scenario("train-empty", after=(TRAIN,))
def EMPTY(bench: Bench, evidence: Evidence) -> Run:
    """Trains without hyperparameters and without channels."""
    base = evidence[TRAIN]
    base.started()
    job = replace(base.job, hyperparameters={}, channels={}, data="none")
    return train(bench, job, seconds=_patience(bench, base.run))


DRIVER = b"""#!/bin/bash
set -e
python=$(command -v python3 || command -v python)
pip=$(command -v pip3 || command -v pip)
"$python" -c 'print("driver ran")'
"$pip" --version > /opt/ml/model/pip.txt
"""


@scenario("train-driver")
def SDK_DRIVER(bench: Bench, _: Evidence) -> Run:
    """Runs the SDK's driver command, `/bin/bash -c sm_train.sh`, with a stub."""
    script = "/opt/ml/input/data/sm_drivers/sm_train.sh"
    job = replace(
        bench.fixture.job,
        channels={"sm_drivers": CHANNEL, "code": CHANNEL},
        extra={"input/data/sm_drivers/sm_train.sh": DRIVER},
        data="none",
        writable_data=True,
        entrypoint=("/bin/bash",),
        command=("-c", f"chmod +x {script} && {script}"),
    )
    return train(bench, job, seconds=60)


# --- bad jobs -------------------------------------------------------------------------------------------


@scenario("train-fail", after=(TRAIN,))
def BAD(bench: Bench, evidence: Evidence) -> dict[str, Run]:
    """Trains without data, on corrupt data and with impossible hyperparameters."""
    base = evidence[TRAIN]
    base.started()
    seconds = _patience(bench, base.run)
    jobs = {
        "empty channels": replace(base.job, data="empty"),
        "corrupt data": replace(base.job, data="corrupt"),
    }
    if base.job.hyperparameters:
        wrong = dict.fromkeys(base.job.hyperparameters, "not-a-value!")
        jobs["impossible hyperparameters"] = replace(base.job, hyperparameters=wrong)
    runs = together(*(lambda job=job: train(bench, job, seconds=seconds) for job in jobs.values()))
    return dict(zip(jobs, runs, strict=True))


def _patience(bench: Bench, base: Run) -> float:
    """Enough for a job that is like one that took so long, and no more."""
    return min(bench.limits.timeout, 30 + 5 * base.exit.seconds)


# --- interrupted jobs -----------------------------------------------------------------------------------


def shapes(log: Sequence[tuple[float, str]]) -> Counter[str]:
    """How often the log holds each kind of line, numbers aside."""
    return Counter(re.sub(r"[\d.e+-]+", "#", text).strip() for _, text in log if text.strip())


def repeats(run: Run, other: Run) -> bool:
    """Whether a run printed at least all that another did."""
    mine, theirs = shapes(run.log), shapes(other.log)
    return bool(theirs) and all(mine[shape] >= count for shape, count in theirs.items())


def goes_on(run: Run, lines: int) -> bool:
    """Whether a run, after so many lines of its log, twice printed one more of a kind that it had printed."""
    before, after = shapes(run.log[:lines]), shapes(run.log[lines:])
    return any(count > 1 and before[shape] for shape, count in after.items())


#: A job of a second has no middle to interrupt: until then it runs on a part of a CPU.
SHORT_SECONDS, SLOW_CPUS = 20.0, 0.25


def midway(box: Box, bench: Bench, base: Run) -> bool:
    """Wait for the first checkpoint; where there are none, for half of the time. False: it has ended."""
    half = 0.5 * base.exit.seconds
    if box.spec.cpus:
        # Most of a short job is its start, which uses one CPU.
        half /= box.spec.cpus
    while box.state().running:
        begun = time.monotonic()
        if _saved(box, base) if base.checkpoints else box.age > half:
            break
        bench.lab.pause(max(0.05, time.monotonic() - begun))
    return box.state().running


def _saved(box: Box, base: Run) -> bool:
    """Whether a checkpoint is complete: a file that is still being written may have a name of its own."""
    kinds = {_kind(name) for name, file in base.checkpoints.items() if file.kind == "file"}
    found = kinds & {_kind(name) for name in box.names("/opt/ml/checkpoints")}
    return found == kinds or (bool(found) and len(box.logs()) > 0.5 * len(base.log))


def _kind(name: str) -> str:
    """A file's name, numbers aside."""
    return re.sub(r"\d+", "#", name)


@dataclass(frozen=True)
class Termination:
    """SIGTERM in the middle of a job."""

    run: Run
    stop: Exit | None  # None: it had ended before
    #: /opt/ml/checkpoints just before, as SIGKILL would have left it.
    saved: IO[bytes] | None = None
    #: Lines of the log just before.
    lines: int = 0
    #: What the processes below PID 1 got to know: told, not told, or there are none (None).
    told: bool | None = None
    alone: bool = True  # PID 1 is the one that works
    left_early: bool = False  # PID 1 ended while its children could not


# Waits until they have stopped, or two seconds: who finds both signals at once takes SIGTERM first, whose
# number is lower, and then it is pending no more.
PAUSE_CHILDREN = """
paused=
for d in /proc/[0-9]*; do
  p=${d#/proc/}
  read -r s < $d/stat 2>/dev/null || continue
  echo "$s"
  [ $p = 1 ] || [ $p = $$ ] || { kill -STOP $p && paused="$paused $p"; } 2>/dev/null
done
runs() {
  while read -r k v; do [ "$k" = State: ] && break; done < /proc/$1/status
  case $v in [TtZX]*|'') return 1;; esac
} 2>/dev/null
n=0
for p in $paused; do
  while runs $p && [ $n -lt 100 ]; do n=$((n + 1)); sleep 0.02; done
done
"""
PENDING = """
for p in PIDS; do
  while read -r k v; do case $k in SigPnd:|ShdPnd:) echo "$p $v";; esac; done < /proc/$p/status
done 2>/dev/null
"""
SIGTERM_BIT = 1 << 14
WATCH_SECONDS = 10.0


@scenario("train-term", after=(TRAIN,), again=True)
def TERMINATED(bench: Bench, evidence: Evidence) -> Termination:
    """Sends SIGTERM in the middle of a training job."""
    base = evidence[TRAIN]
    full = base.succeeded()
    found: dict[str, Any] = {}
    spec, line = bench.training(base.job, bench.lab.network())
    line = (
        line.replace("docker run --rm", "docker run --rm --name repro", 1)
        + " # meanwhile: docker stop -t 120 repro"
    )
    spec = replace(spec, cpus=SLOW_CPUS if full.exit.seconds < SHORT_SECONDS else None)
    with bench.lab.container(spec) as box:
        box.write("/opt/ml", tree(base.job))
        box.start()
        if not midway(box, bench, full):
            return Termination(record(box, line, box.state()), None)
        with box.frozen():
            saved = box.archive("/opt/ml/checkpoints")
            lines = len(box.logs())
            single = box.processes() == 1
        # The job goes on meanwhile: nothing that is not needed happens from here on.
        children, alone = ([], True) if single else _children(box.shell(PAUSE_CHILDREN) or "")
        if not box.signal("SIGTERM"):
            return Termination(record(box, line, box.state()), None, saved)
        begun = time.monotonic()
        box.hurry()
        if children:
            found = _watch_children(box, bench, children)
            box.shell(f"kill -CONT {' '.join(children)}")
        state = box.wait(max(0.1, bench.limits.stop_training - (time.monotonic() - begun)))
        seconds = time.monotonic() - begun
        if state.running:
            box.signal("SIGKILL")
            box.wait(10)
        stop = Exit(state.code, seconds, state.finished_at, state.out_of_memory)
        return Termination(record(box, line, state), stop, saved, lines, alone=alone, **found)


def _children(stat: str) -> tuple[list[str], bool]:
    """The processes below PID 1 that are not ours, and whether PID 1 is the one that works."""
    ticks: dict[str, int] = {}
    for line in stat.splitlines():
        pid, _, rest = line.partition(" ")
        fields = rest.rpartition(")")[2].split()
        if len(fields) > 12 and (pid == "1" or fields[1] != "0"):
            ticks[pid] = int(fields[11]) + int(fields[12])
    children = [pid for pid in ticks if pid != "1"]
    return children, not children or ticks.get("1", 0) > max(ticks[pid] for pid in children)


def _watch_children(box: Box, bench: Bench, children: list[str]) -> dict[str, bool]:
    """Children that are stopped cannot act on a signal, so it stays visible once it has arrived."""
    deadline = time.monotonic() + WATCH_SECONDS
    while time.monotonic() < deadline:
        if not box.state().running:
            return {"told": False, "left_early": True}
        pending = box.shell(PENDING.replace("PIDS", " ".join(children))) or ""
        for line in pending.splitlines():
            if int(line.split()[1], 16) & SIGTERM_BIT:
                return {"told": True}
        bench.lab.pause(0.1)
    return {"told": False}


@dataclass(frozen=True)
class Restart:
    """A job that starts with the checkpoints of one that was interrupted."""

    resumed: Run
    saved: int | None  # files; None: the other had ended before


@scenario("train-resume", after=(TRAIN, TERMINATED), again=True)
def RESUMED(bench: Bench, evidence: Evidence) -> Restart:
    """Starts again with the checkpoints that a sudden end in the middle of a job would have left."""
    base = evidence[TRAIN]
    if not base.succeeded().checkpoints:
        raise Skip("nothing was saved in /opt/ml/checkpoints")
    archive = evidence[TERMINATED].saved
    if not archive:
        return Restart(train(bench, base.job), None)
    archive.seek(0)
    saved = sum(file.kind == "file" for file in read_tar(archive).values())
    return Restart(train(bench, base.job, checkpoints=archive), saved)


# --- clusters -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cluster:
    """What the hosts of a cluster did: two with data, of which the second came late, and one without."""

    late: Mapping[str, Run]
    empty: Mapping[str, Run]


@scenario("train-cluster", after=(TRAIN,), waits=True)
def CLUSTER(bench: Bench, evidence: Evidence) -> Cluster:
    """Trains on several hosts, one of which comes late and one of which gets no file."""
    base = evidence[TRAIN]
    base.succeeded()
    late = bench.limits.late_host
    runs = _cluster(bench, base, {"algo-2": late}, "algo-3")
    if all(run.ok for run in runs.values()):
        return Cluster({host: runs[host] for host in ("algo-1", "algo-2")}, runs)
    # Which of the two was it?
    return Cluster(_cluster(bench, base, {"algo-2": late}), _cluster(bench, base, {}, "algo-2"))


def _cluster(bench: Bench, base: Base, late: Mapping[str, float], empty: str = "") -> dict[str, Run]:
    """A job on two hosts, or three: when each comes, and which of them gets no file."""
    hosts = ["algo-1", "algo-2", "algo-3"][: 3 if empty == "algo-3" else 2]
    seconds = _patience(bench, base.run) + 2 * max(late.values(), default=0.0)

    def one(host: str, network: str) -> Run:
        job = base.job.on_host(host, hosts)
        if empty:
            channels = {n: {**c, "S3DistributionType": "ShardedByS3Key"} for n, c in job.channels.items()}
            job = replace(job, channels=channels, data="empty" if host == empty else job.data)
        bench.lab.pause(late.get(host, 0.0))
        return train(bench, job, network=network, seconds=seconds)

    with bench.lab.cluster() as network:
        runs = together(*(lambda host=host: one(host, network) for host in hosts))
    return dict(zip(hosts, runs, strict=True))


# --- from training to hosting ---------------------------------------------------------------------------


def to_tar_gz(archive: IO[bytes]) -> IO[bytes]:
    """The model folder as SageMaker stores it: model.tar.gz without the folder's own name."""
    archive.seek(0)
    out: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115
    with (
        gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1) as packed,
        tarfile.open(fileobj=archive, mode="r|") as source,
        tarfile.open(fileobj=packed, mode="w") as target,
    ):
        for entry in source:
            entry.name = entry.name.partition("/")[2]
            if not entry.name or not (entry.isfile() or entry.isdir()):
                continue
            # Who extracts the archive is not documented; that everybody may read it is the kind reading.
            entry.mode |= 0o755 if entry.isdir() else 0o644
            entry.uid = entry.gid = 0
            target.addfile(entry, source.extractfile(entry) if entry.isfile() else None)
    out.seek(0)
    return out


@dataclass(frozen=True)
class Artifact:
    """Volumes with a model as the endpoint will see it."""

    volume: str
    neutral: bool
    corrupt: str | None


@scenario("model", after=(TRAIN,))
def MODEL(bench: Bench, evidence: Evidence) -> Artifact:
    """Packs the trained model as model.tar.gz and unpacks it for hosting."""
    packed: IO[bytes] | None = None
    if given := bench.fixture.given_model():
        packed = tempfile.SpooledTemporaryFile()  # noqa: SIM115
        packed.write(given)
    elif (run := evidence[TRAIN].run).ok and run.model and run.model_archive:
        packed = to_tar_gz(run.model_archive)
    if packed is None:
        return Artifact(bench.lab.volume(make_tar({})), True, None)
    with packed:
        packed.seek(0)
        volume = bench.lab.volume(packed)
        packed.seek(0)
        corrupt = bench.lab.volume(_corrupted(packed))
    return Artifact(volume, False, corrupt)


def _corrupted(packed: IO[bytes]) -> bytes:
    with tarfile.open(fileobj=packed, mode="r:gz") as source:
        names = [entry.name for entry in source if entry.isfile()]
    return make_tar(dict.fromkeys(names, b"\x00garbage, not a model\xff" * 3))
