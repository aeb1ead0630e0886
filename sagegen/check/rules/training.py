"""Chapter T: start, configuration, end and artifacts of a training job."""

from __future__ import annotations

import re

from sagegen.check.core import Area, Evidence, Level, Verdict, broken, doubtful, passed, rule, skipped
from sagegen.check.scenarios.image import IMAGE
from sagegen.check.scenarios.training import (
    BAD,
    BIG_WRITES,
    EMPTY,
    SDK_DRIVER,
    TRAIN,
    VARIANTS,
)

DOCKERFILE = "your-algorithms-training-algo-dockerfile"
RUNNING = "your-algorithms-training-algo-running-container"
OUTPUT = "your-algorithms-training-algo-output"
SIGNALS = "your-algorithms-training-signal-success-failure"

REASON_CHARACTERS = 1024


@rule(
    "T-01",
    Level.MUST,
    Area.TRAIN,
    "`docker run IMAGE train` starts",
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
    "T-05",
    Level.RECOMMENDED,
    Area.TRAIN,
    "`train` works without the image's ENTRYPOINT",
    why="ContainerEntrypoint replaces it: an environment that only the ENTRYPOINT sets up is then missing.",
    fix="Set variables with ENV in the Dockerfile, not in the ENTRYPOINT script.",
    page=DOCKERFILE,
    needs=(VARIANTS,),
)
def own_entrypoint(evidence: Evidence) -> Verdict:
    if not evidence[VARIANTS].own_program:
        return skipped("the image has an ENTRYPOINT or a `train` on the PATH, not both")
    return _trained(evidence, "T-05")


def _trained(evidence: Evidence, variation: str) -> Verdict:
    run = evidence[VARIANTS].runs[variation]
    if run.ok and run.model:
        return passed("trained")
    return broken("left no model" if run.ok else run.end, run.line)


@rule(
    "T-09",
    Level.MUST,
    Area.TRAIN,
    "No privileges are needed",
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
    Level.RECOMMENDED,
    Area.TRAIN,
    "No terminal is needed",
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
    Level.RECOMMENDED,
    Area.TRAIN,
    "Trains without a network",
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
    Level.RECOMMENDED,
    Area.TRAIN,
    "Large scratch files go to /tmp",
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
    Level.MUST,
    Area.TRAIN,
    "Hyperparameters arrive as strings",
    why='hyperparameters.json holds {"epochs": "3"}: code that expects a number fails in the cloud only.',
    fix="Convert each value explicitly: int(hp['epochs']), hp['flag'].lower() == 'true'.",
    page=RUNNING,
    needs=(TRAIN,),
)
def string_hyperparameters(evidence: Evidence) -> Verdict:
    base = evidence[TRAIN]
    run = base.started()
    if base.cures.get("T-20"):
        return broken(f"{run.end}; with numbers instead of strings it succeeds", run.line)
    if not base.job.hyperparameters:
        return skipped("the job has no hyperparameters – put some into --opt-ml")
    base.succeeded()
    return passed(f"{len(base.job.hyperparameters)} strings", hyperparameters=len(base.job.hyperparameters))


@rule(
    "T-24",
    Level.RECOMMENDED,
    Area.TRAIN,
    "No hyperparameters and no channels: success or a clean failure",
    why="Both are optional in CreateTrainingJob; a hang or a silent death costs a paid start to understand.",
    fix="Use defaults, or exit non-zero with a sentence in /opt/ml/output/failure.",
    page=RUNNING,
    needs=(EMPTY,),
)
def nothing_given(evidence: Evidence) -> Verdict:
    run = evidence[EMPTY]
    if run.ok:
        return passed("succeeded with defaults")
    if run.exit.running or run.start_error:
        return broken(run.end, run.line)
    if not run.failure:
        return broken(f"{run.end}, and no failure file", run.line)
    return passed("failed cleanly")


@rule(
    "T-33",
    Level.RECOMMENDED,
    Area.TRAIN,
    "Channels are only read",
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


def _variation(identity: str, title: str, why: str, fix: str, page: str, level: Level) -> None:
    @rule(identity, level, Area.TRAIN, title, why=why, fix=fix, page=page, needs=(VARIANTS,))
    def judge(evidence: Evidence) -> Verdict:
        return _trained(evidence, identity)


_variation(
    "T-08",
    "The host name does not matter",
    "/etc/hostname and /etc/hosts are the platform's: names there need not be those of the cluster.",
    "Take current_host from resourceconfig.json instead of the system's host name.",
    RUNNING,
    Level.RECOMMENDED,
)
_variation(
    "T-16",
    "Undocumented files are ignored",
    "The platform adds files of its own under /opt/ml/input/config and /opt/ml/output.",
    "Open the files that you know by name; do not glob the folder.",
    RUNNING,
    Level.OBSERVED,
)
_variation(
    "T-21",
    "100 hyperparameters, long values and odd names",
    "The API allows 100 entries, values of 2500 characters and names with `-`, `.` and `_`.",
    "Ignore hyperparameters that are not yours, and do not export them all to the environment or argv.",
    RUNNING,
    Level.PLATFORM,
)
_variation(
    "T-22",
    "JSON-encoded values and the SDK's own keys",
    'SDK clients send "\\"adam\\"" and add sagemaker_program, sagemaker_region and more.',
    "Try json.loads on each value, fall back to the text, and ignore keys that begin with sagemaker_.",
    RUNNING,
    Level.PLATFORM,
)
_variation(
    "T-23",
    "The tuner's extra hyperparameter",
    "A tuning job adds _tuning_objective_metric to every training job it starts.",
    "Ignore hyperparameters that begin with _tuning_.",
    "automatic-model-tuning-define-metrics-variables",
    Level.PLATFORM,
)
_variation(
    "T-30",
    "A channel's ContentType is optional",
    "inputdataconfig.json has ContentType only where the user set it.",
    "Read it with a default.",
    RUNNING,
    Level.PLATFORM,
)
_variation(
    "T-38",
    "Channels may have sub-folders",
    "An S3 prefix keeps its structure: files can lie at any depth.",
    "Search recursively (rglob) instead of listing the channel's folder.",
    RUNNING,
    Level.RECOMMENDED,
)
_variation(
    "T-41",
    "Hosts may have any name",
    "The documentation warns that host names change at any time: algo-1 is no constant.",
    "Take hosts and current_host from resourceconfig.json.",
    RUNNING,
    Level.PLATFORM,
)
_variation(
    "T-42",
    "A resourceconfig.json with the documented keys only",
    "Instance groups and topology are newer than the documentation and absent in places.",
    "Read everything but current_host, hosts and network_interface_name with a default.",
    RUNNING,
    Level.PLATFORM,
)
_variation(
    "T-43",
    "The network interface may have any name",
    "It is eth0, eth1 or ethwe, depending on where the job runs.",
    "Take network_interface_name from resourceconfig.json, and do not fail where it does not exist.",
    RUNNING,
    Level.RECOMMENDED,
)
_variation(
    "T-46",
    "Instance groups may have any name",
    "In a heterogeneous cluster current_group_name is the user's choice.",
    "Do not compare it with homogeneousCluster.",
    "train-heterogeneous-cluster-configure",
    Level.PLATFORM,
)
_variation(
    "T-80",
    "A warm pool's cache folder",
    "Warm pools set SAGEMAKER_MANAGED_WARMPOOL_CACHE_DIRECTORY, and its folder may not exist yet.",
    "Create it before use, and train without it where the variable is absent.",
    "train-warm-pools",
    Level.PLATFORM,
)
_variation(
    "T-83",
    "The SDK's local mode",
    "Local mode names hosts algo-1-x7k2p, writes shorter files and sets AWS_REGION.",
    "Rely on documented keys only.",
    "https://sagemaker.readthedocs.io/en/stable/overview.html#local-mode",
    Level.RECOMMENDED,
)


@rule(
    "T-50",
    Level.MUST,
    Area.TRAIN,
    "Exit code 0 on success, another on failure",
    why="Nothing else tells SageMaker whether the job completed or failed.",
    fix="Let exceptions end the process with a non-zero code; PID 1 must pass on its child's.",
    page=SIGNALS,
    needs=(TRAIN, BAD),
)
def exit_code(evidence: Evidence) -> Verdict:
    base = evidence[TRAIN]
    run = base.started()
    if not run.ok and not base.neutral:
        if run.needs_network():
            return skipped("training needs a network, see T-12")
        return broken(run.end, run.line)
    for name, bad in evidence[BAD].items():
        if bad.exit.running:
            return broken(f"{name}: {bad.end}", bad.line)
        if bad.ok and (bad.failure or not bad.model):
            what = "wrote a failure file" if bad.failure else "left no model"
            return broken(f"{name}: {what}, and the exit code is 0", bad.line)
    codes = {name: bad.exit.code if bad.exit.code is not None else -1 for name, bad in evidence[BAD].items()}
    return passed(
        run.end if run.ok else "bad jobs fail", **{name.replace(" ", "_"): c for name, c in codes.items()}
    )


@rule(
    "T-51",
    Level.MUST,
    Area.TRAIN,
    "A failed job says why in /opt/ml/output/failure",
    why="Its first 1024 characters become FailureReason: all that the user sees without reading logs.",
    fix="Write the cause first, in UTF-8, as the last thing before a non-zero exit; and nothing on success.",
    page=OUTPUT,
    needs=(TRAIN, BAD),
)
def failure_file(evidence: Evidence) -> Verdict:
    base = evidence[TRAIN]
    run = base.started()
    failed = {name: bad for name, bad in evidence[BAD].items() if bad.exit.code and not bad.start_error}
    if run.exit.code:
        failed["this job"] = run
    for name, bad in failed.items():
        if not bad.failure:
            return broken(f"{name}: {bad.end}, and no failure file", bad.line)
        try:
            text = bad.failure.decode()
        except UnicodeDecodeError:
            return broken(f"{name}: the failure file is not UTF-8", bad.line)
        if not text.strip():
            return broken(f"{name}: the failure file is empty", bad.line)
        if len(text) > REASON_CHARACTERS and re.match(r"\s*Traceback", text):
            return doubtful(
                f"{name}: {len(text)} characters, and the cause is not among the first 1024",
                bad.line,
                characters=len(text),
            )
    if run.ok and run.failure is not None:
        return doubtful("a failure file after success", run.line)
    if not failed:
        return skipped("no job failed")
    longest = max(len(bad.failure or b"") for bad in failed.values())
    return passed(f"written after {len(failed)} failed jobs", characters=longest)


@rule(
    "T-53",
    Level.MUST,
    Area.TRAIN,
    "The model is in /opt/ml/model",
    why="Only what lies there at the end becomes model.tar.gz.",
    fix="Save the final artifacts to /opt/ml/model, unpacked: SageMaker makes the archive.",
    page=OUTPUT,
    needs=(TRAIN,),
)
def model_written(evidence: Evidence) -> Verdict:
    run = evidence[TRAIN].succeeded()
    files = {name: file for name, file in run.model.items() if file.kind == "file"}
    if not files:
        return broken("the folder is empty after success", run.line)
    if "model.tar.gz" in files:
        return doubtful("it holds a model.tar.gz: the archive would be packed twice", run.line)
    total = sum(file.size for file in files.values())
    return passed(f"{len(files)} files, {total / 1e6:.2f} MB", files=len(files), bytes=total)


@rule(
    "S-43",
    Level.MUST,
    Area.TRAIN,
    "No links among the model's files",
    why="Links in model.tar.gz make the creation of the model fail, long after training was paid for.",
    fix="Copy files into /opt/ml/model instead of linking them.",
    page="hosting-faqs",
    needs=(TRAIN,),
)
def no_links(evidence: Evidence) -> Verdict:
    run = evidence[TRAIN].succeeded()
    odd = {name: file for name, file in run.model.items() if file.kind not in ("file", "folder")}
    if odd:
        name, file = next(iter(odd.items()))
        return broken(f"{name} is a {file.kind} to {file.target}", run.line, links=len(odd))
    return passed("none")


@rule(
    "T-55",
    Level.RECOMMENDED,
    Area.TRAIN,
    "The job ends when its work is done",
    why="It is billed until PID 1 exits or MaxRuntime is over.",
    fix="Stop background threads and children; a forgotten daemon keeps the container alive.",
    page=SIGNALS,
    needs=(TRAIN,),
)
def ends_promptly(evidence: Evidence) -> Verdict:
    from sagegen.check.limits import Limits

    run = evidence[TRAIN].run
    if run.exit.running and run.model:
        return broken(f"{run.end}, though the model is written", run.line)
    run = evidence[TRAIN].succeeded()
    if not run.model:
        return skipped("no model was written, see T-53")
    linger = run.exit.finished_at - max(file.modified for file in run.model.values())
    if linger > Limits.make().linger:
        return broken(
            f"{linger:.0f} s between the last artifact and the end", run.line, seconds=round(linger, 1)
        )
    return passed(f"{max(0.0, linger):.1f} s after the last artifact", seconds=round(max(0.0, linger), 1))


@rule(
    "T-72",
    Level.RECOMMENDED,
    Area.TRAIN,
    "No SM_* variables are needed",
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
    Level.MUST,
    Area.TRAIN,
    "The log goes to stdout or stderr",
    why="CloudWatch shows nothing else, and metrics are read from there.",
    fix="Log to the console, with PYTHONUNBUFFERED=1 or flush=True, so that lines appear when they happen.",
    page="logging-cloudwatch",
    needs=(TRAIN,),
)
def logs(evidence: Evidence) -> Verdict:
    run = evidence[TRAIN].started()
    if not any(text.strip() for _, text in run.log):
        return broken("nothing was logged", run.line)
    late = run.exit.finished_at - run.log[0][0] if run.exit.finished_at else run.exit.seconds
    if run.exit.seconds > 10 and len(run.log) > 10 and late < 0.05 * run.exit.seconds:
        return doubtful(
            f"all {len(run.log)} lines came in the last {late:.1f} s: output is buffered", run.line
        )
    return passed(f"{len(run.log)} lines", lines=len(run.log))


@rule(
    "T-78",
    Level.RECOMMENDED,
    Area.TRAIN,
    "A GPU image without a GPU works, or says so",
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
    Level.OBSERVED,
    Area.TRAIN,
    "64 MB of shared memory suffice",
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


@rule(
    "T-82",
    Level.RECOMMENDED,
    Area.TRAIN,
    "The SDK's ModelTrainer can use the image",
    why="It replaces the ENTRYPOINT by /bin/bash and needs python3 and pip3 on the PATH.",
    fix="Install bash, python3 and pip in the image.",
    page="https://sagemaker.readthedocs.io/en/stable/api/training/model_trainer.html",
    needs=(SDK_DRIVER,),
)
def model_trainer(evidence: Evidence) -> Verdict:
    run = evidence[SDK_DRIVER]
    if run.ok and any(name.endswith("pip.txt") for name in run.model):
        return passed("the driver ran")
    return broken(run.end, run.line)
