"""A training job as model.py sees it: hyperparameters, channels, hosts and checkpoints."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from byoc import metrics, paths
from byoc.errors import JobError, NothingToDo
from byoc.training import hyperparameters

H = TypeVar("H", bound=BaseModel)

# Older examples call the training channel `training`.
ALIASES = {"train": "training"}


@dataclass(frozen=True)
class Job(Generic[H]):
    """What SageMaker tells a container about its training job."""

    hyperparameters: H
    hosts: tuple[str, ...] = ("algo-1",)
    current_host: str = "algo-1"
    network_interface: str = "eth0"
    model_dir: Path = field(default_factory=paths.model)
    # True once SageMaker asked the job to stop: save a checkpoint and return (T-60).
    should_stop: Callable[[], bool] = lambda: False

    @property
    def rank(self) -> int:
        """This host's position among all hosts, the same on every host (T-41)."""
        return self.hosts.index(self.current_host)

    @property
    def is_leader(self) -> bool:
        """True on the one host that writes the model: files of all hosts end in one archive (T-45)."""
        return self.rank == 0

    def has_channel(self, name: str) -> bool:
        """Whether this channel exists and holds at least one file (T-37)."""
        return self._find(name) is not None

    def channel(self, name: str) -> Path:
        """The folder of a channel, which is read-only (T-33). Raises JobError if it is missing or empty."""
        if found := self._find(name):
            return found
        if not self.is_leader and any(paths.channel(n).is_dir() for n in (name, ALIASES.get(name, name))):
            raise NothingToDo(f"channel {name!r} has no file for this host")
        given = ", ".join(sorted(p.name for p in paths.channel("").glob("*") if p.is_dir()))
        raise JobError(f"channel {name!r} is missing or empty; the job has {given or 'no channel'}")

    def _find(self, name: str) -> Path | None:
        for candidate in (name, ALIASES.get(name, name)):
            folder = paths.channel(candidate)
            if any(p.is_file() for p in folder.rglob("*")):
                return folder
        return None

    def log_metrics(self, **values: float) -> None:
        """Print one line from which SageMaker's metric regexes read each value (T-75)."""
        print(metrics.line(values), flush=True)

    def write_report(self, name: str, report: Mapping[str, Any]) -> None:
        """Save a JSON report beside the model, in /opt/ml/output/data (T-54)."""
        with paths.atomic(paths.output_data() / name) as file:
            file.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")

    def checkpoints(self, suffix: str) -> "Checkpoints":
        """This job's checkpoints, one file per epoch with the given suffix."""
        for half_written in paths.checkpoints().glob(f"{paths.TEMPORARY}*"):  # by a run that was killed
            half_written.unlink(missing_ok=True)
        return Checkpoints(paths.checkpoints(), suffix)


@dataclass(frozen=True)
class Checkpoints:
    """Numbered files that SageMaker mirrors to S3 and restores when a job restarts (T-63, T-64)."""

    folder: Path
    suffix: str
    keep: int = 2

    def latest(self) -> tuple[int, Path] | None:
        """The last completed epoch and its file; None if the job starts from the beginning."""
        found = self._all()
        return max(found) if found else None

    @contextmanager
    def saving(self, epoch: int) -> Iterator[Path]:
        """Give a path to write to; when complete it is the epoch's checkpoint, and older ones are removed."""
        with paths.atomic(self.folder / f"epoch-{epoch:06d}{self.suffix}") as temporary:
            yield temporary
        for _, old in sorted(self._all())[: -self.keep]:
            old.unlink(missing_ok=True)

    def _all(self) -> list[tuple[int, Path]]:
        pattern = re.compile(rf"epoch-(\d+){re.escape(self.suffix)}")
        matches = ((pattern.fullmatch(p.name), p) for p in self.folder.glob("epoch-*"))
        return [(int(match[1]), path) for match, path in matches if match]


def read(schema: type[H], should_stop: Callable[[], bool] = lambda: False) -> Job[H]:
    """Read the job from /opt/ml/input/config. A file that is missing means defaults (T-24)."""
    resources = _config("resourceconfig")
    hosts = tuple(sorted(resources.get("hosts") or ["algo-1"]))
    current = resources.get("current_host", hosts[0])
    if current not in hosts:
        raise JobError(f"resourceconfig.json: current_host {current!r} is not one of its hosts {list(hosts)}")
    return Job(
        hyperparameters=hyperparameters.parse(_config("hyperparameters"), schema),
        hosts=hosts,
        current_host=current,
        network_interface=resources.get("network_interface_name", "eth0"),
        should_stop=should_stop,
    )


def _config(name: str) -> dict[str, Any]:
    file = paths.config(name)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise JobError(f"{file} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise JobError(f"{file} must hold a JSON object")
    return content
