"""Each SDK in an environment of its own, and what its user does there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from helpers import ROOT

HERE = Path(__file__).parent
#: The newest of each major version when this was written: what an SDK sends changes without notice.
SDKS = {"v2": "sagemaker[local]==2.257.7", "v3": "sagemaker==3.27.0"}
#: SDK v2 takes no other `docker compose` than one whose version has "v2" in it, which Debian's has not.
COMPOSE = '#!/bin/sh\nexec docker compose "$@"\n'
#: Both report to AWS unless they are told not to.
DEFAULTS = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}}


@dataclass(frozen=True)
class Step:
    """What came of one thing that the SDK's user did."""

    returned: str
    raised: str
    log: str
    seconds: float

    def done(self) -> str:
        """What it returned, if nothing was raised."""
        assert not self.raised, f"{self.log[-3000:]}\n{self.raised}"
        return self.returned

    def artifact(self) -> dict[str, bytes]:
        """The files of the model.tar.gz that it returned the path of."""
        with tarfile.open(self.done().removeprefix("file://")) as archive:
            return {one.name: archive.extractfile(one).read() for one in archive if one.isfile()}  # type: ignore[union-attr]


def environment(sdk: str) -> Path:
    """The Python of an environment with this SDK, kept in build/."""
    folder = ROOT / "build/clients" / SDKS[sdk].replace("[local]", "")
    python, uv = folder / "bin/python", [sys.executable, "-m", "uv", "--quiet"]
    if not (folder / "installed").exists():
        subprocess.run([*uv, "venv", "--clear", "--python", sys.executable, folder], check=True)
        subprocess.run([*uv, "pip", "install", "--python", python, SDKS[sdk]], check=True)
        (folder / "installed").touch()
    return python


def played(program: str, image: str, repository: Path, folder: Path, port: int = 0) -> dict[str, Step]:
    """Run the steps of an SDK's program against a new `sagegen local`; {name: what came of it}."""
    sdk = program.split("_")[1]
    tools = folder / "tools"
    tools.mkdir()
    (tools / "docker-compose").write_text(COMPOSE)
    (tools / "docker-compose").chmod(0o755)
    (tools / "defaults.json").write_text(json.dumps(DEFAULTS))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))}
    settings = {
        "PATH": f"{tools}:{kept['PATH']}",
        "SAGEMAKER_USER_CONFIG_OVERRIDE": str(tools / "defaults.json"),
        "SAGEMAKER_SUPPRESS_V2_WARNING": "1",
    }
    python = [environment(sdk), "-W", "ignore", HERE / f"{program}.py", image, repository, folder, port]
    done = subprocess.run(
        [sys.executable, "-m", "sagegen", "local", "--", *map(str, python)],
        env={**kept, **settings},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {one.stem: Step(**json.loads(one.read_text())) for one in folder.glob("*.json")}
