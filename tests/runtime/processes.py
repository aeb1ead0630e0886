"""Training jobs as processes, each with its own model.py and /opt/ml, and without a framework."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from byoc import paths

FRAMEWORK = """
MODULES = ("json",)
def prepare(threads):
    return "no framework"
"""
# Processes that need nothing of each other. One that is gone is noticed as torch.distributed would notice it,
# and SIGTERM is taken as TensorFlow and JAX take it.
DISTRIBUTED = """
import signal
def join():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
def agree(flag):
    return flag
def is_symptom(error):
    return "closed by peer" in str(error) or "timed out" in str(error)
"""
MODEL = """
import os, signal, subprocess, sys, threading, time
from pydantic import BaseModel
from byoc.errors import JobError
from byoc.paths import atomic

class Hyperparameters(BaseModel):
    epochs: int = 3

def save(job):
    (job.model_dir / "model").write_text("x")

def train(job):
"""


def program(folder: Path) -> Path:
    """src/ of a repository whose framework needs no installation, and trains in one process."""
    source = Path(paths.__file__).parent
    shutil.copytree(source, folder / "byoc", ignore=shutil.ignore_patterns("__pycache__", "distributed.py"))
    (folder / "byoc/framework.py").write_text(FRAMEWORK)
    for command in ("train", "serve"):
        shutil.copy(source.parent / command, folder)
    return folder


def program_for_several_hosts(folder: Path) -> Path:
    """The same for a framework that trains on several hosts."""
    (program(folder) / "byoc/distributed.py").write_text(DISTRIBUTED)
    return folder


@dataclass
class Job:
    """A job that may run: model.py's text, and a folder that is /opt/ml to it."""

    program: Path
    folder: Path
    model: str

    def start(
        self, command: str | None = "train", arguments: tuple[str, ...] = ("-m", "byoc"), **environment: str
    ) -> subprocess.Popen[str]:
        """Start it as PID 1 of a container starts: SIGTERM is ignored until there is a handler."""
        self.opt_ml.mkdir(parents=True, exist_ok=True)
        (self.folder / "model.py").write_text(self.model)
        return subprocess.Popen(
            [sys.executable, "-u", *arguments, *([command] if command else [])],
            cwd=self.folder,
            env={
                **os.environ,
                "PYTHONPATH": str(self.program),
                "SAGEMAKER_BASE_DIR": str(self.opt_ml),
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            preexec_fn=lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
        )

    def run(self, command: str | None = "train", **environment: str) -> tuple[int, str]:
        """Run it to its end. Returns the exit code and the log."""
        process = self.start(command, **environment)
        log, _ = process.communicate(timeout=60)
        return process.returncode, log

    def configure(self, name: str, content: Any) -> None:
        """Write one of the files of input/config."""
        file = self.opt_ml / "input/config" / f"{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))

    @property
    def opt_ml(self) -> Path:
        return self.folder / "opt_ml"

    @property
    def failure(self) -> str | None:
        """The failure file's text; None if there is none."""
        file = self.opt_ml / "output/failure"
        return file.read_text(encoding="utf-8") if file.exists() else None


def training(body: str) -> str:
    """A model.py whose train(job) has this body."""
    return MODEL + textwrap.indent(textwrap.dedent(body), "    ")
