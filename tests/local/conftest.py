"""A running `sagegen local`, and an image that tells what it sees."""

from __future__ import annotations

import json
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from emulators import BUCKET, SAGEGEN, STATEMENTS, TRUST, Emulator, left
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
        found = Emulator(process, log)
        document = json.dumps({"Version": "2012-10-17", "Statement": [TRUST]})
        found.client("iam").create_role(RoleName="sagemaker", AssumeRolePolicyDocument=document)
        policy = json.dumps({"Version": "2012-10-17", "Statement": STATEMENTS})
        found.client("iam").put_role_policy(RoleName="sagemaker", PolicyName="all", PolicyDocument=policy)
        found.client("s3").create_bucket(Bucket=BUCKET)
        yield found
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert "Traceback" not in log.read_text()
    assert left(process.pid) == ""
