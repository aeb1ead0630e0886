"""Runs the verbs of the repository in this folder, each in a fork: boto3's import takes longer than a verb.

Each line of stdin is an order: `arguments`, `environment`, and

- `answers`: {operation: what AWS answers}, `[code, message]` for an error, a list of these for one after the
  other. With it nothing is sent: what is not named does not exist, and each change succeeds;
- `hit`: `[signal, "before" or "after", [operations]]`: the process gets the signal at its first call that
  changes something and is none of these. A push of the image counts as a call.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import boto3
from botocore.awsrequest import AWSResponse

sys.path.insert(0, os.getcwd())
verbs = importlib.import_module("deploy.__main__")
for verb in verbs.VERBS:
    importlib.import_module(f"deploy.{'asynchronous' if verb == 'async' else verb}")

READS = ("Describe", "Get", "List", "Head", "BatchGet", "InvokeEndpoint")
MISSING = ["ValidationException", 'Could not find "it".']


class Hooks:
    """What an order does to the calls of one verb."""

    def __init__(self, order: dict[str, Any], told: Path) -> None:
        self.answers, self.told = order.get("answers"), told
        self.sign, self.when, self.done = order.get("hit") or (0, "", [])

    def before(self, model: Any, **_: Any) -> Any:
        self.hit("before", model.name)
        if self.answers is None:
            return None
        default: Any = {} if self.changes(model.name) else MISSING
        answer = self.answers.get(model.name, default)
        if isinstance(answer, list) and not isinstance(answer[0], str):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, dict):
            meta = {"ResponseMetadata": {"HTTPStatusCode": 200}}
            return AWSResponse("", 200, {}, None), {**answer, **meta}
        error = {"Code": answer[0], "Message": answer[1]}
        return AWSResponse("", 400, {}, None), {"Error": error, "ResponseMetadata": {"HTTPStatusCode": 400}}

    def after(self, model: Any, **_: Any) -> None:
        self.hit("after", model.name)

    @staticmethod
    def changes(name: str) -> bool:
        return not name.startswith(READS) or name == "InvokeEndpointAsync"

    def hit(self, when: str, name: str) -> None:
        if self.sign and when == self.when and self.changes(name) and name not in self.done:
            self.sign, sign = 0, self.sign
            self.told.write_text(name)
            os.kill(os.getpid(), sign)


def run(order: dict[str, Any], scratch: Path) -> None:
    """Become the verb."""
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(scratch / name, os.O_WRONLY | os.O_CREAT), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(order["environment"])
    hooks, session, command = Hooks(order, scratch / "hit"), boto3.Session, subprocess.run

    def hooked(**given: Any) -> boto3.Session:
        made = session(**given)
        made.events.register("before-call", hooks.before)
        made.events.register("after-call", hooks.after)
        return made

    def watched(words: Any, **given: Any) -> Any:
        hooks.hit("before", "push" if "build_and_push.sh" in words else "Get")
        done = command(words, **given)
        hooks.hit("after", "push" if "build_and_push.sh" in words else "Get")
        return done

    boto3.Session, subprocess.run = hooked, watched  # type: ignore[assignment, misc]
    sys.argv = ["deploy", *order["arguments"]]
    try:
        code = verbs.main()
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 99
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


for line in sys.stdin:
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        if (child := os.fork()) == 0:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            run(json.loads(line), scratch)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        files = [scratch / one for one in ("out", "err", "hit")]
        told = [file.read_text() if file.exists() else "" for file in files]
    print(json.dumps([code, *told]), flush=True)
