"""What SageMaker puts under /opt/ml: from the user's folder, or neutral, in every legal variation."""

from __future__ import annotations

import io
import json
import os
import shlex
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sagegen import platform
from sagegen.engine import make_tar
from sagegen.errors import USAGE, SagegenError
from sagegen.platform import CHANNEL, CONFIG, RESOURCES

GARBAGE = bytes(range(128, 256)) * 8 + b"\x00this is not data\xff\xfe"


@dataclass(frozen=True)
class Job(platform.Job):
    """One training job of the check."""

    data: str = "given"  # how the channels' files are changed: see Fixture.data
    tty: bool = False


class Fixture:
    """The user's /opt/ml folder, or a neutral one."""

    def __init__(self, opt_ml: Path | None) -> None:
        self.opt_ml = opt_ml
        if opt_ml is None:
            self.job = Job({}, {"train": {**CHANNEL, "ContentType": "text/csv"}, "validation": CHANNEL})
            return
        if not (opt_ml / "input").is_dir() and not (opt_ml / "model").is_dir():
            raise SagegenError(f"{opt_ml} has neither input/ nor model/ – give a folder like /opt/ml", USAGE)
        config = {name: self._config(name) for name in CONFIG}
        channels = config["inputdataconfig"] or {
            folder.name: CHANNEL for folder in self._data_folder().glob("*") if folder.is_dir()
        }
        self.job = Job(config["hyperparameters"] or {}, channels, {**RESOURCES, **_neutral(config)})

    @property
    def is_neutral(self) -> bool:
        """The user did not say what this image trains on."""
        return self.opt_ml is None or not (self.opt_ml / "input").is_dir()

    @property
    def has_data(self) -> bool:
        """There are files in the channels."""
        return bool(self._files())

    def _data_folder(self) -> Path:
        return (self.opt_ml or Path()) / "input/data"

    def _config(self, name: str) -> dict[str, Any]:
        file = (self.opt_ml or Path()) / f"input/config/{name}.json"
        if not file.exists():
            return {}
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SagegenError(f"{file} cannot be read: {error} – fix it", USAGE) from error
        if not isinstance(content, dict):
            raise SagegenError(f"{file} is not a JSON object – fix it", USAGE)
        return content

    def data(self, kind: str) -> IO[bytes]:
        """The channels as a tar archive: given, nested, corrupt, or none."""
        archive: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for channel in self.job.channels if kind != "none" else ():
                _add(tar, channel, None)
            for name, source in self._files() if kind not in ("none", "empty") else ():
                channel, _, rest = name.partition("/")
                if kind == "nested":
                    name = f"{channel}/part-0/day=1/{rest}"
                if kind == "corrupt":
                    _add(tar, name, GARBAGE)
                elif isinstance(source, bytes):
                    _add(tar, name, source)
                else:
                    entry = tar.gettarinfo(source, name)
                    entry.uid = entry.gid = 0
                    entry.uname = entry.gname = "root"
                    entry.mode = 0o644
                    with source.open("rb") as content:
                        tar.addfile(entry, content)
        archive.seek(0)
        return archive

    def _files(self) -> list[tuple[str, Path | bytes]]:
        if self.is_neutral:
            rows = b"".join(b"%d,%d,%d\n" % (i % 2, i, 7 * i % 13) for i in range(40))
            return [("train/data.csv", rows), ("validation/data.csv", rows)]
        folder = self._data_folder()
        found = []
        for parent, _, names in os.walk(folder):
            for name in names:
                path = Path(parent, name)
                if path.is_file():
                    found.append((path.relative_to(folder).as_posix(), path))
        return sorted(found)

    def given_model(self) -> bytes | None:
        """The user's own model folder as a tar.gz, if there is one."""
        folder = self.opt_ml / "model" if self.opt_ml else None
        if not folder or not folder.is_dir() or not any(p.is_file() for p in folder.rglob("*")):
            return None
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    entry = tar.gettarinfo(path, path.relative_to(folder).as_posix())
                    entry.uid = entry.gid = 0
                    entry.uname = entry.gname = "root"
                    with path.open("rb") as content:
                        tar.addfile(entry, content)
        return buffer.getvalue()

    # --- how a person does the same ---------------------------------------------------------------------

    def prepare(self, job: Job) -> str:
        """Shell commands that make the job's /opt/ml in a folder $w."""
        steps = ["w=$(mktemp -d)"]
        if self.opt_ml:
            steps.append(f'cp -r {shlex.quote(str(self.opt_ml))}/. "$w"')
        steps.append('mkdir -p "$w"/{input/config,input/data,model,output/data,checkpoints}')
        usual = self.job.files() if self.opt_ml else {}
        for name, content in job.files().items():
            if content is None or (usual.get(name) == content and self._has(name)):
                continue
            text = content.decode(errors="replace")
            steps.append(
                f'mkdir -p "$w/{os.path.dirname(name)}" && printf %s {shlex.quote(text)} > "$w/{name}"'
            )
        steps += {
            "none": ['rm -rf "$w"/input/data/*'],
            "empty": ['find "$w/input/data" -type f -delete'],
            "corrupt": [
                'find "$w/input/data" -type f -exec sh -c \'head -c 999 /dev/urandom > "$1"\' - {} \\;'
            ],
            "nested": [
                'for c in "$w"/input/data/*; do mkdir -p "$c/part-0/day=1";'
                ' find "$c" -maxdepth 1 -type f -exec mv {} "$c/part-0/day=1/" \\;; done'
            ],
        }.get(job.data, [])
        return " && ".join(steps)

    def _has(self, name: str) -> bool:
        return bool(self.opt_ml and (self.opt_ml / name).exists())


def _neutral(config: Mapping[str, Any]) -> dict[str, Any]:
    """Only the instance type of the user's resourceconfig.json: hosts are the check's to name."""
    kind = config["resourceconfig"].get("current_instance_type")
    return {"current_instance_type": kind} if kind else {}


def _add(tar: tarfile.TarFile, name: str, content: bytes | None) -> None:
    part = make_tar({name: content})
    with tarfile.open(fileobj=io.BytesIO(part)) as source:
        for entry in source:
            tar.addfile(entry, source.extractfile(entry) if entry.isfile() else None)
