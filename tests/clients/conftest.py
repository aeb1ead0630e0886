"""One image for both SDKs, and what each of them did with it."""

from __future__ import annotations

import socket
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from environments import Step, played
from helpers import build_image

from sagegen.render import render

NAME = uuid.uuid4().hex[:8]
LABEL = f"sagegen.test.clients={NAME}"
NETWORK = "sagemaker-local"


def built(repository: Path, name: str) -> Iterator[str]:
    """The repository's image, without the containers and the network that local modes leave behind."""
    done = build_image(repository, name, f"--label {LABEL}")
    assert done.returncode == 0, done.stderr[-2000:]
    yield name
    listed = ["docker", "ps", "--all", "--quiet", "--filter", f"label={LABEL}"]
    left = subprocess.check_output(listed, text=True).split()
    subprocess.run(["docker", "rm", "--force", *left], check=False, capture_output=True)
    subprocess.run(["docker", "rmi", "--force", name], check=False, capture_output=True)
    subprocess.run(["docker", "network", "rm", NETWORK], check=False, capture_output=True)


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clients") / "repository"
    render(folder, {})
    return folder


@pytest.fixture(scope="session")
def image(repository: Path) -> Iterator[str]:
    """A generated scikit-learn image."""
    yield from built(repository, f"sagegen-test-clients:{NAME}")


@pytest.fixture(scope="session")
def v2(image: str, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Step]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return played("sdk_v2", image, repository, tmp_path_factory.mktemp("v2"), port)


@pytest.fixture(scope="session")
def v3(image: str, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Step]:
    return played("sdk_v3", image, repository, tmp_path_factory.mktemp("v3"))


@pytest.fixture(scope="session", params=["pytorch", "sklearn"])
def two_hosts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Step]:
    """SDK v2's local mode with two hosts of an image that trains on them; scikit-learn's does with Dask."""
    folder = tmp_path_factory.mktemp("two-hosts")
    repository = folder / "repository"
    render(repository, {"framework": request.param})
    if request.param == "sklearn":
        with (repository / "requirements.txt").open("a") as requirements:
            requirements.write("dask[distributed]\n")
    (folder / "played").mkdir()
    for name in built(repository, f"sagegen-test-clients:{NAME}-{request.param}"):
        yield played("sdk_v2_hosts", name, repository, folder / "played")["fit_on_two_hosts"]
