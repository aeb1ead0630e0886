"""Chapter T: configurations that are legal and unusual."""

from __future__ import annotations

from sagegen.check.core import Area, Evidence, Verdict, broken, passed, rule, skipped
from sagegen.check.pages import DOCKERFILE, RUNNING
from sagegen.check.scenarios.train import TRAIN
from sagegen.check.scenarios.variants import SDK_DRIVER, VARIANTS


@rule(
    "T-05",
    Area.TRAIN,
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
    runs = evidence[VARIANTS].runs
    run = runs[variation]
    # Of the hosts of a cluster, only one need leave a model.
    if run.ok and (run.model or not evidence[VARIANTS].alone):
        return passed("trained")
    # The files of local mode are short in several ways, each of which has a rule of its own.
    parts = [one for one in ("T-30", "T-42") if not runs[one].ok] if variation == "T-83" else []
    if parts:
        return skipped(f"{run.end}, see {' and '.join(parts)}")
    return broken("left no model" if run.ok else run.end, run.line)


def _variation(identity: str, why: str, fix: str, page: str) -> None:
    @rule(identity, Area.TRAIN, why=why, fix=fix, page=page, needs=(VARIANTS,))
    def judge(evidence: Evidence) -> Verdict:
        return _trained(evidence, identity)


_variation(
    "T-08",
    "/etc/hostname and /etc/hosts are the platform's: names there need not be those of the cluster.",
    "Take current_host from resourceconfig.json instead of the system's host name.",
    RUNNING,
)
_variation(
    "T-16",
    "The platform adds files of its own under /opt/ml/input/config and /opt/ml/output.",
    "Open the files that you know by name; do not glob the folder.",
    RUNNING,
)
_variation(
    "T-21",
    "The API allows 100 entries, values of 2500 characters and names with `-`, `.` and `_`.",
    "Ignore hyperparameters that are not yours, and do not export them all to the environment or argv.",
    RUNNING,
)
_variation(
    "T-22",
    'SDK clients send "\\"adam\\"" and add sagemaker_region, sagemaker_job_name and more.',
    "Try json.loads on each value, fall back to the text, and ignore keys that begin with sagemaker_.",
    RUNNING,
)
_variation(
    "T-23",
    "A tuning job adds _tuning_objective_metric to every training job it starts.",
    "Ignore hyperparameters that begin with _tuning_.",
    "automatic-model-tuning-define-metrics-variables",
)
_variation(
    "T-30",
    "inputdataconfig.json has ContentType only where the user set it.",
    "Read it with a default.",
    RUNNING,
)
_variation(
    "T-38",
    "An S3 prefix keeps its structure: files can lie at any depth.",
    "Search recursively (rglob) instead of listing the channel's folder.",
    RUNNING,
)
_variation(
    "T-41",
    "The documentation warns that host names change at any time: algo-1 is no constant.",
    "Take hosts and current_host from resourceconfig.json.",
    RUNNING,
)
_variation(
    "T-42",
    "Instance groups and topology are newer than the documentation and absent in places.",
    "Read everything but current_host, hosts and network_interface_name with a default.",
    RUNNING,
)
_variation(
    "T-43",
    "It is eth0, eth1 or ethwe, depending on where the job runs.",
    "Take network_interface_name from resourceconfig.json, and do not fail where it does not exist.",
    RUNNING,
)
_variation(
    "T-46",
    "In a heterogeneous cluster current_group_name is the user's choice.",
    "Do not compare it with homogeneousCluster.",
    "train-heterogeneous-cluster-configure",
)
_variation(
    "T-80",
    "Warm pools set SAGEMAKER_MANAGED_WARMPOOL_CACHE_DIRECTORY, and its folder may not exist yet.",
    "Create it before use, and train without it where the variable is absent.",
    "train-warm-pools",
)
_variation(
    "T-83",
    "Local mode names hosts algo-1-x7k2p, writes shorter files and sets AWS_REGION.",
    "Rely on documented keys only.",
    "https://sagemaker.readthedocs.io/en/stable/overview.html#local-mode",
)


@rule(
    "T-82",
    Area.TRAIN,
    why="It replaces the ENTRYPOINT by /bin/bash and needs python3 and pip3 on the PATH.",
    fix="Install bash, python3 and pip in the image.",
    page="https://sagemaker.readthedocs.io/en/stable/api/training/model_trainer.html",
    needs=(TRAIN, SDK_DRIVER),
)
def model_trainer(evidence: Evidence) -> Verdict:
    evidence[TRAIN].started()
    run = evidence[SDK_DRIVER]
    if run.ok and any(name.endswith("pip.txt") for name in run.model):
        return passed("the driver ran")
    return broken(run.end, run.line)
