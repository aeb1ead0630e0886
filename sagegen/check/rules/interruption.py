"""Chapter T: signals, spot instances, checkpoints and clusters."""

from __future__ import annotations

from collections.abc import Mapping

from sagegen.check.core import Area, Evidence, Level, Skip, Verdict, broken, doubtful, passed, rule, skipped
from sagegen.check.limits import Limits
from sagegen.check.scenarios.features import INCREMENTAL, PIPE
from sagegen.check.scenarios.training import (
    CLUSTER,
    RESUMED,
    TERMINATED,
    TRAIN,
    Run,
    goes_on,
    repeats,
)

RUNNING = "your-algorithms-training-algo-running-container"
DOCKERFILE = "your-algorithms-training-algo-dockerfile"
KILLED = 137


@rule(
    "T-60",
    Level.MUST,
    Area.TRAIN,
    "SIGTERM ends training within 120 s",
    why="StopTrainingJob and the time limit send SIGTERM; after 120 s SIGKILL takes what is not saved.",
    fix="Handle SIGTERM: save a checkpoint or the model so far, and exit.",
    page=DOCKERFILE,
    needs=(TRAIN, TERMINATED),
)
def stops_in_time(evidence: Evidence) -> Verdict:
    found = evidence[TERMINATED]
    limits = Limits.make()
    if not found.stop:
        return skipped("the job ended before it could be interrupted – give a longer one with --opt-ml")
    seconds = round(found.stop.seconds, 1)
    if found.stop.running:
        return broken(f"still running {seconds} s after SIGTERM", found.run.line, seconds=seconds)
    if found.stop.code == KILLED:
        return broken(f"exit code 137 {seconds} s after SIGTERM", found.run.line, seconds=seconds)
    if found.stop.seconds > limits.stop_training_slow:
        return doubtful(f"{seconds} s after SIGTERM, of 120 s", found.run.line, seconds=seconds)
    full = evidence[TRAIN].succeeded()
    if repeats(found.run, full) and not goes_on(found.run, found.lines):
        return skipped("the job was about to end when it was interrupted – give a longer one with --opt-ml")
    if repeats(found.run, full):
        return doubtful(
            "SIGTERM changed nothing: the job ran to its end; a longer one would be killed",
            found.run.line,
            seconds=seconds,
        )
    return passed(
        f"exit code {found.stop.code} after {seconds} s", seconds=seconds, exit_code=found.stop.code or 0
    )


@rule(
    "T-61",
    Level.RECOMMENDED,
    Area.TRAIN,
    "SIGTERM reaches the process that trains",
    why="A wrapper that does not pass it on ends alone: its child is killed without saving anything.",
    fix="Use exec in shell scripts, or forward the signal and wait for the child.",
    page=DOCKERFILE,
    needs=(TERMINATED,),
)
def forwards(evidence: Evidence) -> Verdict:
    found = evidence[TERMINATED]
    if not found.stop:
        return skipped("the job ended before it could be interrupted – give a longer one with --opt-ml")
    if found.told is None:
        return passed("PID 1 trains itself")
    if found.told:
        return passed("PID 1 passes it on")
    if found.alone:
        return passed("PID 1 trains itself, and has helpers")
    what = "ended without waiting for its child" if found.left_early else "kept it to itself"
    return broken(f"PID 1 {what}", found.run.line)


@rule(
    "T-64",
    Level.RECOMMENDED,
    Area.TRAIN,
    "An interrupted job goes on from its checkpoint",
    why="Spot instances and cluster repairs restart the container; without checkpoints all is paid twice.",
    fix="Save to /opt/ml/checkpoints, atomically, and look there first when training starts.",
    page="model-checkpoints",
    needs=(TRAIN, TERMINATED, RESUMED),
)
def resumes(evidence: Evidence) -> Verdict:
    full = evidence[TRAIN].succeeded()
    if not full.checkpoints:
        return broken("nothing is saved in /opt/ml/checkpoints", full.line)
    found = evidence[RESUMED]
    if not found.resumed.ok:
        return broken(f"after the restart: {found.resumed.end}", found.resumed.line)
    if not found.resumed.model:
        return broken("after the restart: no model", found.resumed.line)
    if not found.saved:
        return skipped("the job ended before it could be interrupted – give a longer one with --opt-ml")
    if repeats(found.resumed, full):
        return broken("the restarted job did everything again", found.resumed.line)
    return passed(f"goes on from {found.saved} files in /opt/ml/checkpoints", files=found.saved)


def _trouble(runs: Mapping[str, Run]) -> Verdict | None:
    for host, run in runs.items():
        if not run.ok:
            return broken(f"{host}: {run.end}", run.line)
    return None


@rule(
    "T-44",
    Level.PLATFORM,
    Area.TRAIN,
    "Two hosts, one of which comes late",
    why="Hosts start at different moments, and their names resolve late.",
    fix="Retry until every host of resourceconfig.json resolves, for some minutes.",
    page=RUNNING,
    needs=(CLUSTER,),
)
def late_host(evidence: Evidence) -> Verdict:
    found = evidence[CLUSTER].late
    if trouble := _trouble(found):
        return trouble
    times = [run.exit.seconds for run in found.values()]
    return passed(f"both ended well, after {times[0]:.1f} s and {times[1]:.1f} s")


@rule(
    "T-45",
    Level.RECOMMENDED,
    Area.TRAIN,
    "Hosts do not overwrite each other's artifacts",
    why="The model folders of all hosts end in one archive: of two files of one name, one is lost.",
    fix="Let one host write the model, or put the host's name into the file's.",
    page="your-algorithms-training-algo-output",
    needs=(CLUSTER,),
)
def no_clash(evidence: Evidence) -> Verdict:
    found = evidence[CLUSTER].late
    if _trouble(found):
        raise Skip("training on two hosts did not succeed, see T-44")
    first, second = found.values()
    for folder in ("model", "output"):
        mine, theirs = getattr(first, folder), getattr(second, folder)
        for name in sorted(mine.keys() & theirs.keys()):
            a, b = mine[name], theirs[name]
            if a.kind == "file" and (a.size, a.content) != (b.size, b.content):
                return broken(f"both wrote {folder}/{name}, with different contents", first.line)
    return passed("no name twice with different contents")


@rule(
    "T-37",
    Level.RECOMMENDED,
    Area.TRAIN,
    "A host may get no file at all",
    why="ShardedByS3Key deals objects out: with fewer objects than hosts, some get none.",
    fix="Treat an empty channel on a host as no work, and let the others finish.",
    page=RUNNING,
    needs=(CLUSTER,),
)
def empty_shard(evidence: Evidence) -> Verdict:
    found = evidence[CLUSTER].empty
    return _trouble(found) or passed(f"all {len(found)} ended well")


@rule(
    "T-34",
    Level.IF_USED,
    Area.TRAIN,
    "Pipe mode reads FIFOs, epoch by epoch",
    why="The next epoch's FIFO appears late: opening it once and giving up loses the job.",
    fix="Retry until /opt/ml/input/data/CHANNEL_EPOCH exists; close it after the epoch.",
    page=RUNNING,
    needs=(PIPE,),
)
def pipe_mode(evidence: Evidence) -> Verdict:
    run = evidence[PIPE]
    return passed(run.end) if run.ok and run.model else broken(run.end, run.line)


@rule(
    "T-39",
    Level.IF_USED,
    Area.TRAIN,
    "Incremental training starts from model.tar.gz",
    why="The earlier model arrives packed, as /opt/ml/input/data/model/model.tar.gz.",
    fix="Unpack it into a temporary folder and load from there.",
    page="incremental-training",
    needs=(INCREMENTAL,),
)
def incremental(evidence: Evidence) -> Verdict:
    run = evidence[INCREMENTAL].run
    return passed(run.end) if run.ok else broken(run.end, run.line)


@rule(
    "SEC-06",
    Level.RECOMMENDED,
    Area.TRAIN,
    "Archives cannot write outside their folder",
    why="A model from elsewhere with ../ in its paths could overwrite the container's programs.",
    fix='tarfile.extractall(folder, filter="data")',
    page="https://docs.python.org/3/library/tarfile.html#extraction-filters",
    needs=(INCREMENTAL,),
)
def safe_archives(evidence: Evidence) -> Verdict:
    found = evidence[INCREMENTAL]
    return broken("../ in an archive was followed", found.evil.line) if found.escaped else passed("refused")
