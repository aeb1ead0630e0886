"""A generated repository whose verbs a test runs, as its user would."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from sagegen.render import render

#: Nobody's keys, nobody's settings: what a test gives is all that boto3 finds.
BARE = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}


class Repository:
    """A rendered repository and the environment that its commands run in."""

    def __init__(self, folder: Path, environment: dict[str, str] | None = None, **answers: Any) -> None:
        render(folder, {"project_name": "penguins", **answers})
        self.folder, self.environment = folder, environment or BARE
        self.settings = folder / "deploy/settings.toml"
        self.set(poll_seconds="1")

    def set(self, **values: str) -> None:
        """Give settings other values, as TOML."""
        text = self.settings.read_text()
        for key, value in values.items():
            text, count = re.subn(rf"(?m)^{key} = .*$", f"{key} = {value}", text)
            assert count == 1, key
        self.settings.write_text(text)

    def start(self, verb: str, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "deploy", verb, *arguments]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, text=True, **pipes)

    def run(self, verb: str, *arguments: str) -> tuple[int, str, str]:
        """The exit code, and both streams."""
        process = self.start(verb, *arguments)
        out, err = process.communicate(timeout=300)
        assert "Traceback" not in err, err
        return process.returncode, out, err

    def done(self, verb: str, *arguments: str) -> str:
        """What a verb that must succeed printed."""
        code, out, err = self.run(verb, *arguments)
        assert code == 0, f"{verb}: {out}{err}"
        return out

    def refused(self, verb: str, *arguments: str) -> str:
        """The one line of a verb that must fail."""
        code, out, err = self.run(verb, *arguments)
        assert code == 1, f"{verb}: {out}{err}"
        assert err.startswith(f"deploy {verb}: ") and err.count("\n") == 1, err
        return err

    def calls(self, verb: str, *arguments: str) -> list[tuple[str, dict[str, Any]]]:
        """What a dry run shows: (operation, request) of each call."""
        printed = self.done(verb, "--dry-run", *arguments)
        shown = re.findall(r"^(\w[\w-]*\.\w+)[^\n]*\n(\{\n.*?^\})", printed, re.M | re.S)
        return [(operation.partition(".")[2], json.loads(request)) for operation, request in shown]
