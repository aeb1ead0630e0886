"""A generated repository whose verbs a test runs, as its user would."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accounts import emulator
from emulators import Emulator
from helpers import BASE_IMAGE

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

    def hosting(self, **values: str) -> None:
        """The same in the section [hosting], whose keys another section has too."""
        head, section, text = self.settings.read_text().partition("[hosting]\n")
        text, section, tail = text.partition("[scale]")
        for key, value in values.items():
            text = re.sub(rf"(?m)^{key} = .*$", f"{key} = {value}", text)
        self.settings.write_text(f"{head}[hosting]\n{text}{section}{tail}")

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


#: Whoever kills the process may do so before a call too; Ctrl-C would show the same.
MOMENTS = {signal.SIGINT: ("after",), signal.SIGKILL: ("before", "after")}


class Verbs:
    """The verbs of a repository in a process that is warm: see verbs.py."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        command, pipe = [sys.executable, Path(__file__).with_name("verbs.py")], subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=repository.folder, text=True, stdin=pipe, stdout=pipe)

    def __enter__(self) -> Verbs:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, *arguments: str, **more: Any) -> tuple[int, str, str, str]:
        """The exit code, both streams, and the call at which the verb was hit."""
        order = {"arguments": arguments, "environment": self.repository.environment, **more}
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        code, out, err, hit = json.loads(self._process.stdout.readline())
        assert "Traceback" not in err, err
        return code, out, err, hit

    def done(self, *arguments: str, **more: Any) -> str:
        """What a verb that must succeed printed."""
        code, out, err, _ = self.run(*arguments, **more)
        assert code == 0, f"{arguments}: {out}{err}"
        return out

    def refused(self, *arguments: str, **more: Any) -> str:
        """The one line of a verb that must fail."""
        code, out, err, _ = self.run(*arguments, **more)
        assert code == 1, f"{arguments}: {out}{err}"
        assert err.startswith(f"deploy {arguments[0]}: ") and err.count("\n") == 1, err
        return err

    def survive(self, sign: signal.Signals, *arguments: str, ends: int = 0) -> str:
        """Hit a verb at its first call of each kind, until a run comes to its end; what that one said."""
        hit: dict[str, list[str]] = {when: [] for when in MOMENTS[sign]}
        for when in itertools.cycle(hit):
            code, out, err, at = self.run(*arguments, "--yes", hit=[sign, when, hit[when]])
            if not at:
                assert code == ends, f"{arguments}: {out}{err}"
                assert hit["after"], f"{arguments} was never hit"
                return out + err
            assert code == (130 if sign == signal.SIGINT else -sign), f"{arguments} at {at}: {out}{err}"
            hit[when].append(at)
        raise AssertionError


class Tiny(Repository):
    """A repository whose image is a bare Python with a server of 30 lines.

    Its model answers every request with the hyperparameter `answer`.
    """

    def __init__(self, folder: Path, environment: dict[str, str], **answers: Any) -> None:
        build = {"BASE_IMAGE": BASE_IMAGE, "BUILD_ARGS": ""}
        super().__init__(folder, {**environment, **build}, **answers)
        shutil.rmtree(folder / "src")
        shutil.copytree(Path(__file__).with_name("tiny"), folder, dirs_exist_ok=True)
        for file in (folder / "local_test/payloads").glob("records.[jp]*"):
            file.unlink()
        for channel in ("test", "validation"):
            shutil.rmtree(folder / "local_test/opt_ml/input/data" / channel)
        self.model("cat")

    def model(self, answer: str, **more: str) -> None:
        """What the next training job trains, and what its model must answer."""
        given = self.folder / "local_test/opt_ml/input/config/hyperparameters.json"
        given.write_text(json.dumps({"answer": answer, **more}))
        (self.folder / "local_test/payloads/expected.csv").write_text(answer)


@contextmanager
def account(scratch: Path) -> Iterator[Emulator]:
    """An empty account, whose images leave the engine with it."""
    with emulator(scratch) as local:
        yield local
    pushed = ["docker", "images", "--quiet", "--filter", f"reference={local.exports['REGISTRY']}/*"]
    for image in set(subprocess.check_output(pushed, text=True).split()):
        subprocess.run(["docker", "rmi", "--force", image], check=False, capture_output=True)


def leftovers(local: Emulator, name: str) -> dict[str, Any]:
    """What of this name is in the account and costs, or stands in the way of the next `up`."""
    client = local.client
    targets = client("application-autoscaling").describe_scalable_targets(ServiceNamespace="sagemaker")
    groups = client("logs").describe_log_groups(logGroupNamePrefix="/aws/sagemaker/Endpoints")
    found = {
        "endpoints": client("sagemaker").list_endpoints()["Endpoints"],
        "configurations": client("sagemaker").list_endpoint_configs()["EndpointConfigs"],
        "models": client("sagemaker").list_models()["Models"],
        "buckets": client("s3").list_buckets()["Buckets"],
        "repositories": client("ecr").describe_repositories()["repositories"],
        "roles": client("iam").list_roles()["Roles"],
        "alarms": client("cloudwatch").describe_alarms()["MetricAlarms"],
        "targets": targets["ScalableTargets"],
        "endpoint logs": groups["logGroups"],
    }
    of = {kind: [one for one in every if name in str(one)] for kind, every in found.items()}
    return {kind: every for kind, every in of.items() if every}


def ledger(repository: Repository) -> dict[str, Any]:
    (file,) = repository.folder.glob("deploy/ledger/*.json")
    return json.loads(file.read_text())  # type: ignore[no-any-return]
