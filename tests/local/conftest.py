"""A running `sagegen local`, and an image that tells what it sees."""

from __future__ import annotations

import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from emulators import SAGEGEN, Emulator, left, prepared
from helpers import BASE_IMAGE


@pytest.fixture(scope="session")
def image() -> Iterator[str]:
    """An image whose `train` and `serve` tell what they see."""
    name = f"sagegen-test-local:{uuid.uuid4().hex[:8]}"
    folder = Path(__file__).parent / "image"
    command = ["docker", "build", "--quiet", "--tag", name, "--build-arg", f"BASE_IMAGE={BASE_IMAGE}", folder]
    subprocess.run(command, check=True, capture_output=True)
    yield name
    subprocess.run(["docker", "rmi", "--force", name], check=False, capture_output=True)


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An emulator with one role and one bucket."""
    log = tmp_path_factory.mktemp("local") / "calls.json"
    with log.open("w") as calls:
        process = subprocess.Popen(
            [*SAGEGEN, "local", "--json", "--condition", "spot-kill"],
            stdout=subprocess.PIPE,
            stderr=calls,
            text=True,
        )
        found = prepared(Emulator(process, log))
        yield found
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert "Traceback" not in log.read_text()
    assert left(process.pid) == ""
