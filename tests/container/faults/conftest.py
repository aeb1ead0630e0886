"""An image of each stack with its model, and a way to start containers of it that always ends."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from .containers import Container, Containers
from .images import STACKS, Subject, subject
from .load import Load, Request
from .traffic import ROWS, csv_body

FAULTY_MODEL = Path(__file__).with_name("faulty_model.py")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One stack after the other: pytest's own order goes back and forth, and would build each image again."""
    ours = [item for item in items if item.path.parent == FAULTY_MODEL.parent]
    by_stack = iter(sorted(ours, key=_stack))
    items[:] = [next(by_stack) if item in ours else item for item in items]


def _stack(item: pytest.Item) -> str:
    callspec = getattr(item, "callspec", None)
    return str(callspec.params.get("image", "")) if callspec else ""


@pytest.fixture(scope="session", autouse=True)
def _end_well() -> Iterator[None]:
    """A run that is told to end removes its containers, as one that is interrupted does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    yield
    signal.signal(signal.SIGTERM, before)


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
    started.wait_until_complete()
    return started


def with_faults(image: Subject) -> list[str]:
    """Options that put faulty_model.py in model.py's place."""
    return [
        *("--volume", f"{FAULTY_MODEL}:/opt/program/model.py:ro"),
        *("--volume", f"{image.repository}/src/model.py:/opt/program/real_model.py:ro"),
    ]


def waiting_row(seconds: float) -> bytes:
    """A row for faulty_model.py, which keeps a thread for so long."""
    return csv_body([[1000 + seconds, *ROWS[0][1:]]])


@dataclass(frozen=True)
class Stopping:
    """A container that was told to stop, and when: seconds since the epoch."""

    container: Container
    told: float


@pytest.fixture(scope="session")
def stopping(image: Subject) -> Iterator[Stopping]:
    """Told to stop while predictions hang, requests are half there and connections idle.

    It may take half a minute to end, in which other tests run.
    """
    containers = Containers(image.image)
    container = containers.serve(image.model_dir, *with_faults(image))
    halves = (b"", b"POST /invoc", b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n1,")
    with ExitStack() as stack:
        stack.callback(containers.remove)
        container.wait_until_healthy()
        stack.enter_context(
            Load(container.address, [Request("hangs", waiting_row(3600))], clients=2, at_most=2)
        )
        for half in halves * 20:
            client = stack.enter_context(socket.create_connection(container.address, timeout=5))
            client.sendall(half)
        assert container.ping() == 200
        told = time.time()
        container.signal("TERM")
        yield Stopping(container, told)
