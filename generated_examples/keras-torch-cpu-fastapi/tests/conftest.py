"""Compose for the container tests: the image, /opt/ml of a job, and an endpoint that serves its model.

All that these tests know of your model is `local_test/`: the job's input, the requests, the expected answers.
"""

import http.client
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_docker.plugin import Services

REPOSITORY = Path(__file__).parent.parent
LOCAL_TEST = REPOSITORY / "local_test"
START_SECONDS = 480  # S-13
STEP_SECONDS = 900
#: `docker compose ARGUMENTS` with further variables for compose.yaml.
Compose = Callable[..., "subprocess.CompletedProcess[str]"]


def make_opt_ml(folder: Path) -> Path:
    """A new /opt/ml with the input of the job in local_test."""
    shutil.copytree(LOCAL_TEST / "opt_ml" / "input", folder / "input")
    for name in ("model", "output/data", "checkpoints"):
        (folder / name).mkdir(parents=True)
    return folder


@pytest.fixture(scope="session")
def docker_compose_file() -> str:
    """The file that pytest-docker uses."""
    return str(REPOSITORY / "compose.yaml")


@pytest.fixture(scope="session")
def docker_setup() -> list[str]:
    """Nothing: a test starts the service that it needs."""
    return []


@pytest.fixture(scope="session")
def docker_cleanup() -> list[str]:
    """Remove everything that the tests started, including one-off containers."""
    return ["down --volumes --remove-orphans --timeout 1"]


@pytest.fixture(scope="session")
def opt_ml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """/opt/ml of the job that trains the model."""
    return make_opt_ml(tmp_path_factory.mktemp("opt_ml"))


@pytest.fixture(scope="session")
def compose(
    docker_services: Services, docker_compose_file: str, docker_compose_project_name: str, opt_ml: Path
) -> Compose:
    """Runs compose in a project of its own, as this user, on a free port, with both streams as one text."""
    settings = {"OPT_ML": str(opt_ml), "RUN_AS": f"{os.getuid()}:{os.getgid()}", "PORT": "0"}
    project = ["--file", docker_compose_file, "--project-name", docker_compose_project_name]

    def run(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["docker", "compose", *project, *arguments],
            env={**os.environ, **settings, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=STEP_SECONDS,
        )

    return run


@pytest.fixture(scope="session")
def trained(compose: Compose, opt_ml: Path) -> Path:
    """/opt/ml after the training job."""
    done = compose("run", "--rm", "train")
    assert done.returncode == 0, done.stdout  # T-50
    return opt_ml


@pytest.fixture(scope="session")
def port(compose: Compose, trained: Path, docker_services: Services) -> int:
    """The port of a healthy endpoint that serves the trained model."""
    started = compose("up", "--detach", "serve")
    assert started.returncode == 0, started.stdout
    port = docker_services.port_for("serve", 8080)

    def healthy() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            assert compose("ps", "--quiet", "serve").stdout, compose("logs", "serve").stdout
            return False
        finally:
            connection.close()

    docker_services.wait_until_responsive(healthy, timeout=START_SECONDS, pause=0.1)
    return port
