"""The containers that tests share: started when a selected test asks for them, and always removed."""

import shlex
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from docker_tools import (
    MYSELF,
    PATIENCE_SECONDS,
    PAYLOADS,
    REPOSITORY,
    UNPRIVILEGED,
    Container,
    Containers,
    Endpoint,
    docker,
    make_opt_ml,
    read_failure,
    write_config,
)
from pytest_docker.plugin import Services

COMPOSE_FILE = str(REPOSITORY / "compose.yaml")

# Most of a container's time is the framework's import. Those that a run needs start together, in this order:
# what needs no model of the sample training, then that training, then everything that serves its result.
# The jobs without an end come last, or are killed early: they would keep the CPU from the others.
STARTED_TOGETHER = (
    "long_training",
    "old_style_training",
    "slow_endpoint",
    "empty_endpoint",
    "killed_training",
    "training",
    "endpoint",
    "pipeline_endpoint",
    "serverless_container",
    "corrupt_endpoint",
    "restarted_training",
)


@pytest.fixture(scope="session")
def head_start(request: pytest.FixtureRequest) -> None:
    """Start every container that the selected tests need at once, instead of one after the other."""
    wanted = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    for name in STARTED_TOGETHER:
        if name in wanted:
            request.getfixturevalue(name)


@pytest.fixture(scope="session")
def image() -> str:
    """The image under test: $IMAGE, or the one that compose.yaml names. Built first where there is none."""
    try:
        subprocess.run(["docker", "version"], check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        pytest.fail("no Docker engine answers: start Docker, or run tests/test_model.py alone", pytrace=False)
    name = docker("compose", "--file", COMPOSE_FILE, "config", "--images", "serve").splitlines()[-1]
    if subprocess.run(["docker", "image", "inspect", name], capture_output=True).returncode:
        subprocess.run(["make", "build", f"IMAGE={name}"], cwd=REPOSITORY, check=True)
    return name


@pytest.fixture(scope="session")
def containers(image: str, docker_compose_project_name: str) -> Iterator[Containers]:
    """Starts containers of the image, and removes them when the tests are over."""
    started = Containers(image, docker_compose_project_name)
    yield started
    started.remove()


# --- training -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Training:
    """A training job in a container, and its /opt/ml on this machine."""

    opt_ml: Path
    container: Container


@dataclass(frozen=True)
class FinishedTraining:
    """What a job left behind."""

    opt_ml: Path
    exit_code: int
    log: str
    failure: str


@pytest.fixture(scope="session")
def opt_ml_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which each training job gets its own /opt/ml."""
    return tmp_path_factory.mktemp("opt_ml")


@pytest.fixture(scope="session")
def training(image: str, docker_compose_project_name: str, opt_ml_root: Path) -> FinishedTraining:
    """`make train` on the sample data. Every endpoint serves its model."""
    opt_ml = make_opt_ml(opt_ml_root / "sample")
    settings = [f"IMAGE={image}", f"OPT_ML={opt_ml}", f"COMPOSE_PROJECT_NAME={docker_compose_project_name}"]
    done = subprocess.run(
        ["env", *settings, "local_test/train_local.sh"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    return FinishedTraining(opt_ml, done.returncode, done.stdout, read_failure(opt_ml))


@pytest.fixture(scope="session")
def model_dir(training: FinishedTraining) -> Path:
    """The sample training's model."""
    if training.exit_code:
        pytest.fail(f"there is no model to serve, because the sample training failed:\n{training.log}")
    return training.opt_ml / "model"


@pytest.fixture(scope="session")
def long_training(containers: Containers, opt_ml_root: Path) -> Training:
    """A job that would not end by itself."""
    opt_ml = make_opt_ml(opt_ml_root / "long", epochs="1000000")
    return Training(opt_ml, containers.train(opt_ml))


@pytest.fixture(scope="session")
def killed_training(long_training: Training) -> FinishedTraining:
    """The same, killed after a few epochs as if memory had run out."""
    opt_ml, container = long_training.opt_ml, long_training.container
    container.wait_for("epoch=3;")
    container.kill_all_but_pid_1()
    return FinishedTraining(opt_ml, container.wait(), container.log, read_failure(opt_ml))


@pytest.fixture(scope="session")
def restarted_training(containers: Containers, killed_training: FinishedTraining) -> Training:
    """The same job again, as SageMaker restarts it: with the checkpoints that it had saved (T-63)."""
    return Training(killed_training.opt_ml, containers.train(killed_training.opt_ml))


@pytest.fixture(scope="session")
def old_style_training(containers: Containers, opt_ml_root: Path) -> Training:
    """What older clients send, what the strictest settings forbid, and no GPU, all in one job."""
    hyperparameters = {
        "epochs": '"3"',
        "sagemaker_region": '"us-east-1"',
        "_tuning_objective_metric": "test_accuracy",
    }
    opt_ml = make_opt_ml(opt_ml_root / "old_style", **hyperparameters)
    (opt_ml / "input" / "data" / "train").rename(opt_ml / "input" / "data" / "training")
    write_config(opt_ml, "inputdataconfig", {"training": {"TrainingInputMode": "File"}})
    resources = {"current_host": "algo-7", "hosts": ["algo-7"], "network_interface_name": "ethwe"}
    write_config(opt_ml, "resourceconfig", resources)
    uid, gid = UNPRIVILEGED
    for path in (opt_ml, *opt_ml.rglob("*")):
        shutil.chown(path, uid, gid)
    forbidden = (
        "--network",
        "none",
        "--read-only",
        "--tmpfs",
        "/tmp",
        "--env",
        "NVIDIA_VISIBLE_DEVICES=void",
    )
    options = (*forbidden, "--entrypoint", "train")
    return Training(opt_ml, containers.train(opt_ml, *options, user=f"{uid}:{gid}", command=()))


# --- serving --------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def docker_compose_project_name() -> Iterator[str]:
    """The beginning of every name that this run gives; what compose made under it goes at the end."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    yield name
    docker("compose", "--file", COMPOSE_FILE, "--project-name", name, "down", "--volumes", "--remove-orphans")


@pytest.fixture(scope="session")
def docker_compose_file() -> str:
    """What pytest-docker starts."""
    return COMPOSE_FILE


@pytest.fixture(scope="session")
def docker_compose_command(image: str, model_dir: Path) -> str:
    """Compose with the sample training's model, on a port that is free."""
    settings = [f"IMAGE={image}", f"OPT_ML={model_dir.parent}", f"RUN_AS={MYSELF}", "PORT=0"]
    return shlex.join(["env", *settings, "docker", "compose"])


@pytest.fixture(scope="session")
def docker_setup() -> list[str]:
    """Training is a command, not a service: only `serve` is brought up."""
    return ["up --detach serve"]


@pytest.fixture(scope="session")
def docker_cleanup() -> list[str]:
    """Nothing here: docker_compose_project_name cleans up, also what `up` left when it failed."""
    return []


@pytest.fixture(scope="session")
def endpoint(docker_services: Services, docker_compose_project_name: str) -> Iterator[Endpoint]:
    """The endpoint of compose.yaml, with the workers that `serve` planned."""
    container = Container(f"{docker_compose_project_name}-serve-1")
    rows = (PAYLOADS / "rows.csv").read_bytes()
    with Endpoint(container, docker_services.port_for("serve", 8080), first_request=rows) as started:
        yield started


@pytest.fixture(scope="session")
def slow_endpoint(containers: Containers, opt_ml_root: Path) -> Endpoint:
    """An endpoint whose one worker predicts for as many seconds as a row's first value says."""
    artifact = opt_ml_root / "slow" / "model"
    artifact.mkdir(parents=True)
    (artifact / "empty").touch()  # slow_model.py asks for no more
    return containers.endpoint(
        artifact, "--volume", f"{REPOSITORY}/tests/slow_model.py:/opt/program/model.py:ro"
    )


@pytest.fixture(scope="session")
def pipeline_endpoint(containers: Containers, model_dir: Path) -> Endpoint:
    """A batch transform job's container in an inference pipeline: another port, and limits of its own.

    The last tests kill its processes.
    """
    settings = {
        "SAGEMAKER_BIND_TO_PORT": "9123",
        "SAGEMAKER_SAFE_PORT_RANGE": "9000-9999",
        "SAGEMAKER_BATCH": "True",
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": "1",
        "SAGEMAKER_BATCH_STRATEGY": "SINGLE_RECORD",
        "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": "3",
    }
    options = ("--entrypoint", "serve")
    return containers.endpoint(model_dir, *options, command=(), port=9123, **settings)


@pytest.fixture(scope="session")
def serverless_container(containers: Containers, model_dir: Path) -> Container:
    """An endpoint with nothing but its model: no root, no writable disk, no network."""
    uid, gid = UNPRIVILEGED
    options = ("--user", f"{uid}:{gid}", "--read-only", "--tmpfs", "/tmp", "--network", "none")
    return containers.serve(
        model_dir, *options, ports=(), HOSTING_MODE="serverless", SAGEMAKER_MODEL_SERVER_WORKERS=""
    )


@pytest.fixture(scope="session")
def corrupt_endpoint(containers: Containers, model_dir: Path, opt_ml_root: Path) -> Iterator[Endpoint]:
    """An endpoint whose model files hold something else."""
    corrupt = shutil.copytree(model_dir, opt_ml_root / "corrupt" / "model")
    for file in corrupt.rglob("*"):
        if file.is_file() and file.name != "manifest.json":
            file.write_bytes(b"not a model")
    with containers.endpoint(corrupt) as started:
        yield started


@pytest.fixture(scope="session")
def empty_endpoint(containers: Containers, opt_ml_root: Path) -> Iterator[Endpoint]:
    """An endpoint without any model file."""
    empty = opt_ml_root / "empty" / "model"
    empty.mkdir(parents=True)
    with containers.endpoint(empty) as started:
        yield started
