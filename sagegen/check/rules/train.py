"""Chapter T: how the ordinary job starts, runs and logs."""

from __future__ import annotations

import re

from sagegen.check.core import Area, Evidence, Verdict, broken, doubtful, passed, rule, skipped
from sagegen.check.jobs import Run
from sagegen.check.pages import DOCKERFILE, RUNNING
from sagegen.check.scenarios.bad_jobs import BAD, IMPOSSIBLE, Bad
from sagegen.check.scenarios.image import IMAGE
from sagegen.check.scenarios.train import TRAIN

BIG_WRITES = 100 * 10**6


@rule(
    "T-01",
    Area.TRAIN,
    why="This is the whole command line of a training job; CMD is overridden by the one argument.",
    fix="Make `train` an executable on the PATH, or let the ENTRYPOINT accept it as its last argument.",
    page=DOCKERFILE,
    needs=(TRAIN,),
)
def train_starts(evidence: Evidence) -> Verdict:
    run = evidence[TRAIN].run
    if run.start_error or run.exit.code in (126, 127):
        return broken(run.end, run.line)
    return passed("started")


@rule(
    "T-09",
    Area.TRAIN,
    why="Containers run without privileged access: mounts, devices and kernel settings are out of reach.",
    fix="Do without mount, sysctl, iptables and device access at run time.",
    page="amazon-sagemaker-toolkits",
    needs=(TRAIN,),
)
def unprivileged(evidence: Evidence) -> Verdict:
    run = evidence[TRAIN].started()
    refused = next((t for _, t in run.log if "Operation not permitted" in t or "EPERM" in t), None)
    if run.exit.code and refused:
        return broken(refused.strip()[:200], run.line)
    return passed("ran with Docker's default capabilities")


@rule(
    "T-11",
    Area.TRAIN,
    why="SageMaker gives a job neither a terminal nor standard input.",
    fix="Do not read from stdin, and do not ask for a terminal's size without a default.",
    page=RUNNING,
    needs=(TRAIN,),
)
def no_terminal(evidence: Evidence) -> Verdict:
    base = evidence[TRAIN]
    run = base.started()
    if base.cures.get("T-11"):
        return broken(f"{run.end}; with a terminal it succeeds", run.line)
    return passed("ran without a terminal")


@rule(
    "T-12",
    Area.TRAIN,
    why="With network isolation nothing can be downloaded; and without it others' servers decide.",
    fix="Install packages and fetch weights when the image is built; give downloads a short timeout.",
    page="mkt-algo-model-internet-free",
    needs=(TRAIN,),
)
def no_network(evidence: Evidence) -> Verdict:
    base = evidence[TRAIN]
    run = base.isolated or base.run
    if run.ok:
        return passed(run.end)
    if not run.needs_network():
        base.succeeded()
    return broken(run.end, run.line)


@rule(
    "T-18",
    Area.TRAIN,
    why="Everywhere else they fill a small system disk, and the job dies late.",
    fix="Write scratch to /tmp and results under /opt/ml; set HF_HOME and the like to /tmp.",
    page="model-train-storage-tips-considerations",
    needs=(TRAIN,),
)
def scratch(evidence: Evidence) -> Verdict:
    run = evidence[TRAIN].succeeded()
    if run.written > BIG_WRITES:
        return broken(f"{run.written / 1e6:.0f} MB outside /opt/ml and /tmp", run.line, bytes=run.written)
    return passed(f"{run.written / 1e6:.1f} MB outside /opt/ml and /tmp", bytes=run.written)


@rule(
    "T-20",
    Area.TRAIN,
    why='hyperparameters.json holds {"epochs": "3"}: code that expects a number fails in the cloud only.',
    fix="Convert each value explicitly: int(hp['epochs']), hp['flag'].lower() == 'true'.",
    page=RUNNING,
    needs=(TRAIN, BAD),
)
def string_hyperparameters(evidence: Evidence) -> Verdict:
    base = evidence[TRAIN]
    run = base.started()
    if base.cures.get("T-20"):
        return broken(f"{run.end}; with numbers instead of strings it succeeds", run.line)
    if not base.job.hyperparameters:
        return skipped("the job has no hyperparameters – put some into --opt-ml")
    if wrong := _no_effect(base.modelled(), evidence[BAD]):
        return wrong
    return passed(f"{len(base.job.hyperparameters)} strings", hyperparameters=len(base.job.hyperparameters))


def _no_effect(run: Run, bad: Bad) -> Verdict | None:
    """A doubt where hyperparameters change nothing."""
    impossible, other = bad.runs.get(IMPOSSIBLE), bad.other
    if impossible and impossible.ok and impossible.model and bad.changed:
        return doubtful("every hyperparameter was 'not-a-value!', and the job succeeded", impossible.line)
    if other and other.ok and _contents(other) == _contents(run):
        return doubtful(f"{bad.changed}: the model stays the same, byte for byte", other.line)
    return None


def _contents(run: Run) -> dict[str, tuple[int, bytes]]:
    """The model's files: their sizes, and the beginning of each."""
    return {name: (file.size, file.content) for name, file in run.model.items() if file.kind == "file"}


@rule(
    "T-33",
    Area.TRAIN,
    why="In FastFile mode, and from many file systems, channels are mounted read-only.",
    fix="Write to /tmp or /opt/ml/output/data instead of the channel's folder.",
    page=RUNNING,
    needs=(TRAIN,),
)
def read_only_channels(evidence: Evidence) -> Verdict:
    base = evidence[TRAIN]
    run = base.started()
    if base.cures.get("T-33"):
        return broken("fails on read-only channels, and succeeds on writable ones", run.line)
    base.succeeded()
    return passed("channels were read-only")


@rule(
    "T-72",
    Area.TRAIN,
    why="Only AWS's training toolkit sets them; the platform does not.",
    fix="Read the JSON files under /opt/ml/input/config, or install the toolkit.",
    page="model-train-storage-env-var-summary",
    needs=(TRAIN,),
)
def no_toolkit_variables(evidence: Evidence) -> Verdict:
    base = evidence[TRAIN]
    run = base.started()
    if base.cures.get("T-72"):
        return broken(f"{run.end}; with SM_* variables it succeeds", run.line)
    return passed("none was set")


@rule(
    "T-74",
    Area.TRAIN,
    why="CloudWatch shows nothing else, and metrics are read from there.",
    fix="Log to the console, with PYTHONUNBUFFERED=1 or flush=True, so that lines appear when they happen.",
    page="logging-cloudwatch",
    needs=(TRAIN,),
)
def logs(evidence: Evidence) -> Verdict:
    run = evidence[TRAIN].started()
    if not any(text.strip() for _, text in run.log):
        evidence[TRAIN].ended()
        return broken("nothing was logged", run.line)
    late = run.exit.finished_at - run.log[0][0] if run.exit.finished_at else run.exit.seconds
    if run.exit.seconds > 10 and len(run.log) > 10 and late < 0.05 * run.exit.seconds:
        return doubtful(
            f"all {len(run.log)} lines came in the last {late:.1f} s: output is buffered", run.line
        )
    return passed(f"{len(run.log)} lines", lines=len(run.log))


@rule(
    "T-78",
    Area.TRAIN,
    why="A job on the wrong instance type should end with a sentence, not with a CUDA stack trace or a hang.",
    fix="Fall back to the CPU, or write 'no GPU is visible' to the failure file and exit non-zero.",
    page=DOCKERFILE,
    needs=(IMAGE, TRAIN),
)
def without_gpu(evidence: Evidence) -> Verdict:
    image = evidence[IMAGE]
    if not image.cuda and "NVIDIA_VISIBLE_DEVICES" not in image.environment:
        return skipped("not a GPU image")
    run = evidence[TRAIN].started()
    if run.ok or (evidence[TRAIN].neutral and not run.exit.running):
        return passed(run.end)
    if run.exit.running or not run.failure:
        return broken(f"{run.end}, and no failure file", run.line)
    return passed("failed with a message")


@rule(
    "T-79",
    Area.TRAIN,
    why="The size of /dev/shm cannot be set by the API, and Docker's default is 64 MB.",
    fix="Share tensors through files (torch.multiprocessing file_system), or use fewer loader workers.",
    page="https://github.com/aws/sagemaker-python-sdk/issues/937",
    needs=(TRAIN,),
)
def shared_memory(evidence: Evidence) -> Verdict:
    run = evidence[TRAIN].started()
    if run.exit.code == 135 or re.search(r"Bus error|out of shared memory|No space left.*/dev/shm", run.text):
        return broken(run.end, run.line)
    return passed("no shortage with 64 MB")
