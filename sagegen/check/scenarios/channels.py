"""Pipe mode and incremental training, for images that claim them."""

from __future__ import annotations

import io
import tarfile
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import IO

from sagegen.check.core import Evidence, Skip, scenario
from sagegen.check.jobs import Run, train
from sagegen.check.rig import Rig
from sagegen.check.scenarios.artifacts import to_tar_gz
from sagegen.check.scenarios.image import IMAGE
from sagegen.check.scenarios.train import TRAIN
from sagegen.engine import TROUBLE, Box
from sagegen.platform import CHANNEL, PIPES, feeder

LATE_SECONDS = 2.0  # of every FIFO but the first


@scenario("train-pipe", after=(TRAIN, IMAGE))
def PIPE(rig: Rig, evidence: Evidence) -> Run:
    """Trains in Pipe mode: one FIFO per channel and epoch, the next one coming late."""
    rig.require("pipe")
    base = evidence[TRAIN]
    base.modelled()
    if "/bin/sh" not in evidence[IMAGE].executables:
        raise Skip("the check feeds pipes with the image's /bin/sh, see T-81")
    channels = {name: {**channel, "TrainingInputMode": "Pipe"} for name, channel in base.job.channels.items()}
    with rig.fixture.data("given") as archive:
        files = _prefixed(archive, f"{PIPES}/")
    job = replace(base.job, channels=channels, data="none", writable_data=True, extra=files)

    def feed(box: Box) -> None:
        with suppress(*TROUBLE):
            box.detach("/bin/sh", "-c", feeder(LATE_SECONDS))

    return train(rig, job, during=feed, waits=True, seconds=60 + 5 * base.run.exit.seconds)


def _prefixed(archive: IO[bytes], prefix: str) -> dict[str, bytes | None]:
    found: dict[str, bytes | None] = {}
    with tarfile.open(fileobj=archive, mode="r:") as source:
        for entry in source:
            content = source.extractfile(entry) if entry.isfile() else None
            found[prefix + entry.name] = content.read() if content else None
    return found


ESCAPED = "/tmp/sagegen-check-escaped"


@dataclass(frozen=True)
class Incremental:
    """Training that goes on from an earlier model."""

    run: Run
    evil: Run
    escaped: bool


@scenario("train-incremental", after=(TRAIN,))
def INCREMENTAL(rig: Rig, evidence: Evidence) -> Incremental:
    """Trains from an earlier model.tar.gz in the channel `model`; then from one with `../` in its paths."""
    rig.require("incremental")
    base = evidence[TRAIN]
    run = base.modelled()
    assert run.model_archive
    with to_tar_gz(run.model_archive) as packed:
        good = packed.read()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name in ("../" * 8 + ESCAPED.lstrip("/"), ESCAPED):
            entry = tarfile.TarInfo(name)
            archive.addfile(entry, io.BytesIO())
    channels = {**base.job.channels, "model": CHANNEL}
    escaped: list[bool] = []

    def job(content: bytes) -> object:
        more: dict[str, bytes | None] = {"input/data/model/model.tar.gz": content}
        return replace(base.job, channels=channels, writable_data=True, extra={**base.job.extra, **more})

    def look(box: Box) -> None:
        box.wait(30 + 5 * run.exit.seconds)
        escaped.append(ESCAPED.rsplit("/", 1)[1] in box.files("/tmp"))

    ordinary = train(rig, job(good))  # type: ignore[arg-type]
    evil = train(rig, job(buffer.getvalue()), during=look)  # type: ignore[arg-type]
    return Incremental(ordinary, evil, any(escaped))
