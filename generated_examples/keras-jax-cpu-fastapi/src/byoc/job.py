"""A training job as model.py sees it: hyperparameters, channels, hosts and checkpoints."""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, BinaryIO, Generic, TypeVar

from pydantic import BaseModel

from byoc import channels, hyperparameters, manifest, metrics, paths
from byoc.errors import JobError, NothingToDo
from byoc.processes import say

H = TypeVar("H", bound=BaseModel)
T = TypeVar("T")

# Older examples call the training channel `training`.
ALIASES = {"train": "training"}
# SDK v3's ModelTrainer adds them for its own launcher.
SDK_CHANNELS = {"code", "sm_drivers"}


class OneProcess:
    """A job's only process. Several share and save checkpoints as byoc.distributed does it."""

    from_leader = staticmethod(lambda value: value)
    alone = nullcontext


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
    # inputdataconfig.json: each channel's input mode and content type (T-30).
    channels: Mapping[str, Any] = field(default_factory=dict)
    # What model.py's INPUTS declare, which an earlier model must share.
    schema: dict[str, Any] | None = None
    distributed: Any = OneProcess
    _asked: set[str] = field(default_factory=set)

    @property
    def rank(self) -> int:
        """This process's position among all that train together; one process a host, or a GPU (T-41)."""
        return int(os.environ.get("RANK") or self.hosts.index(self.current_host))

    @property
    def is_leader(self) -> bool:
        """True in the one process that writes the model: files of all hosts end in one archive (T-45)."""
        return self.rank == 0

    def has_channel(self, name: str) -> bool:
        """Whether this channel exists and holds at least one file (T-37) or is in Pipe mode."""
        return self._in_pipe_mode(name) is not None or self._find(name) is not None

    def channel(self, name: str) -> Path:
        """The folder of a channel, which is read-only (T-33). Raises JobError if it is missing or empty."""
        if self._in_pipe_mode(name):
            raise JobError(f"channel {name!r} is in Pipe mode: use job.stream(), or FastFile mode")
        if found := self._find(name):
            return found
        if not self.is_leader and any(paths.channel(n).is_dir() for n in _names(name)):
            raise NothingToDo(f"channel {name!r} has no file for this host")
        raise JobError(f"channel {name!r} is missing or empty; the job has {self._given() or 'no channel'}")

    def is_sharded(self, name: str) -> bool:
        """Whether each host has other files of this channel (T-37)."""
        return any(
            self.channels.get(n, {}).get("S3DistributionType") == "ShardedByS3Key" for n in _names(name)
        )

    def stream(self, name: str, epoch: int) -> BinaryIO:
        """The bytes of a channel in Pipe mode, once for each epoch from 0 (T-34). Close it, or use `with`.

        byoc.channels.records() reads RecordIO from it. Raises JobError if the channel is not in Pipe mode.
        """
        if not (piped := self._in_pipe_mode(name)):
            raise JobError(f"channel {name!r} is not in Pipe mode: use job.channel()")
        return channels.open_fifo(paths.channel(f"{piped}_{epoch}"))

    def previous_model(self) -> Path | None:
        """The folder of the model in channel `model`, from which this job goes on (T-39); None without one.

        A model.tar.gz is unpacked. Raises JobError if it is damaged, or not one of this image.
        """
        if not self.has_channel("model"):
            return None
        folder = self.channel("model")
        if archive := next(iter(sorted(folder.rglob("*.tar.gz"))), None):
            folder = channels.unpack(archive, Path(mkdtemp(prefix="model-")))
        try:
            manifest.verify(folder, self.schema)
        except manifest.ManifestError as error:
            raise JobError(f"channel 'model': {error}") from None
        return folder

    def unread_channels(self) -> list[str]:
        """Channels that nobody asked this job for."""
        return sorted(self.channels.keys() - self._asked - SDK_CHANNELS)

    def _find(self, name: str) -> Path | None:
        self._asked.update(_names(name))
        folders = (paths.channel(candidate) for candidate in _names(name))
        return next((f for f in folders if any(p.is_file() for p in f.rglob("*"))), None)

    def _in_pipe_mode(self, name: str) -> str | None:
        self._asked.update(_names(name))
        modes = {n: self.channels.get(n, {}).get("TrainingInputMode") for n in _names(name)}
        return next((n for n, mode in modes.items() if mode == "Pipe"), None)

    def _given(self) -> str:
        return ", ".join(sorted(self.channels))

    def log_metrics(self, **values: float) -> None:
        """Print one line from which SageMaker's metric regexes read each value (T-75), on the leader."""
        if self.is_leader:
            print(metrics.line(values), flush=True)

    def write_report(self, name: str, report: Mapping[str, Any]) -> None:
        """Save a JSON report beside the model, in /opt/ml/output/data (T-54)."""
        with paths.atomic(paths.output_data() / name) as file:
            file.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")

    def checkpoints(self, suffix: str) -> "Checkpoints":
        """This job's checkpoints, one file per epoch with the given suffix."""
        for half_written in paths.checkpoints().glob(f"{paths.TEMPORARY}*"):  # by a run that was killed
            half_written.unlink(missing_ok=True)
        return Checkpoints(paths.checkpoints(), suffix, distributed=self.distributed)


@dataclass(frozen=True)
class Checkpoints:
    """Numbered files that SageMaker mirrors to S3 and restores when a job restarts (T-63, T-64)."""

    folder: Path
    suffix: str
    keep: int = 2
    distributed: Any = OneProcess

    def latest(self) -> tuple[int, Path] | None:
        """The last completed epoch and its file; None if the job starts from the beginning."""
        found = self._all()
        return max(found) if found else None

    def resume(self, read: Callable[[Path], T]) -> tuple[int, T] | None:
        """The last completed epoch and what `read` makes of its file; None if the job starts afresh.

        A file that `read` raises for is named in the log, and the one before it is used. Of several
        processes, all must ask, and each gets what the leader has: only its host may have checkpoints.
        """
        with self.distributed.alone():
            found = self._newest(read)
        resumed: tuple[int, T] | None = self.distributed.from_leader(found)
        return resumed

    def _newest(self, read: Callable[[Path], T]) -> tuple[int, T] | None:
        for epoch, file in sorted(self._all(), reverse=True):
            try:
                return epoch, read(file)
            except Exception as error:
                say(f"checkpoint {file.name} cannot be read: {type(error).__name__}: {error}")
        if self._all():
            say("no checkpoint can be read: training starts afresh")
        return None

    @contextmanager
    def saving(self, epoch: int) -> Iterator[Path]:
        """Give a path to write to; when complete it is the epoch's checkpoint, and older ones are removed."""
        file = self.folder / f"epoch-{epoch:06d}{self.suffix}"
        with self.distributed.alone(), paths.atomic(file) as temporary:
            yield temporary
        # Later epochs than this one could not be read.
        kept = sorted(found for found in self._all() if found[0] <= epoch)[-self.keep :]
        for _, old in set(self._all()) - set(kept):
            old.unlink(missing_ok=True)

    def _all(self) -> list[tuple[int, Path]]:
        pattern = re.compile(rf"epoch-(\d+){re.escape(self.suffix)}")
        matches = ((pattern.fullmatch(p.name), p) for p in self.folder.glob("epoch-*"))
        return [(int(match[1]), path) for match, path in matches if match]


def _names(channel: str) -> tuple[str, ...]:
    return (channel, ALIASES[channel]) if channel in ALIASES else (channel,)


def read(
    settings: type[H],
    should_stop: Callable[[], bool] = lambda: False,
    schema: dict[str, Any] | None = None,
    distributed: Any = OneProcess,
) -> Job[H]:
    """Read the job from /opt/ml/input/config. Files that SageMaker leaves out mean defaults (T-24)."""
    resources = config("resourceconfig")
    all_hosts, current = hosts(resources)
    found: dict[str, Any] = {path.name: {} for path in paths.channel("").glob("*") if path.is_dir()}
    return Job(
        hyperparameters=hyperparameters.parse(config("hyperparameters"), settings),
        hosts=all_hosts,
        current_host=current,
        network_interface=resources.get("network_interface_name", "eth0"),
        should_stop=should_stop,
        channels=found | config("inputdataconfig"),
        schema=schema,
        distributed=distributed,
    )


def rank() -> int:
    """This process's position among all that train together."""
    all_hosts, current = hosts(config("resourceconfig"))
    return int(os.environ.get("RANK") or all_hosts.index(current))


def hosts(resources: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    """All hosts of the job in the order of their ranks, and this one (T-41)."""
    names = tuple(sorted(resources.get("hosts") or ["algo-1"]))
    current = resources.get("current_host", names[0])
    if current not in names:
        raise JobError(f"resourceconfig.json: current_host {current!r} is not one of its hosts {list(names)}")
    return names, current


def config(name: str) -> dict[str, Any]:
    """One of the JSON files of /opt/ml/input/config; empty if SageMaker left it out."""
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
