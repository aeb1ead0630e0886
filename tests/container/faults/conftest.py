"""An image of each stack with its model, and a way to start containers of it that always ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .containers import Container, Containers
from .images import STACKS, Subject, subject

FAULTY_MODEL = Path(__file__).with_name("faulty_model.py")


@pytest.fixture(scope="session", params=STACKS)
def image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    """A stack's image and model. Built here, unless $SAGEGEN_FAULTS_IMAGE names it, as in `mine-{stack}`."""
    existing = os.environ.get("SAGEGEN_FAULTS_IMAGE", "")
    with subject(request.param, tmp_path_factory.mktemp(f"faults-{request.param}"), existing) as found:
        yield found


@pytest.fixture
def containers(image: Subject) -> Iterator[Containers]:
    """Containers for one test."""
    started = Containers(image.image)
    yield started
    started.remove()


@pytest.fixture(scope="module")
def shared_containers(image: Subject) -> Iterator[Containers]:
    """Containers that the tests of a module share."""
    started = Containers(image.image)
    yield started
    started.remove()


@pytest.fixture
def container(containers: Containers, image: Subject) -> Container:
    """A healthy container with two workers, for one test."""
    started = containers.serve(image.model_dir)
    started.wait_until_healthy()
    return started


def with_faults(image: Subject) -> list[str]:
    """Options that put faulty_model.py in model.py's place."""
    return [
        *("--volume", f"{FAULTY_MODEL}:/opt/program/model.py:ro"),
        *("--volume", f"{image.repository}/src/model.py:/opt/program/real_model.py:ro"),
    ]
