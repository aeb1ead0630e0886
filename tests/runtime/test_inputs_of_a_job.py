"""What else a job may bring: an earlier model (T-39), streams (T-34), and channels that nobody reads."""

from __future__ import annotations

import io
import json
import os
import struct
import tarfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from byoc import channels, job, manifest, paths
from byoc.channels import records
from byoc.errors import JobError
from pydantic import BaseModel


class Settings(BaseModel):
    pass


def bring_model(packed: bool, **changes: Any) -> None:
    """Put a model into channel `model`, as this image writes it but for these changes of its manifest."""
    folder = paths.channel("model")
    folder.mkdir(parents=True)
    (folder / "weights").write_text("x")
    manifest.write(folder, None)
    content = json.loads((folder / manifest.FILE).read_text())
    (folder / manifest.FILE).write_text(json.dumps(content | changes))
    if packed:
        with tarfile.open(folder / "model.tar.gz", "w:gz") as tar:
            for file in (folder / "weights", folder / manifest.FILE):
                tar.add(file, file.name)
                file.unlink()


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
def test_the_model_channel_is_a_folder_whichever_way_it_came(opt_ml: Path, packed: bool) -> None:
    bring_model(packed)
    previous = job.read(Settings).previous_model()
    assert previous is not None
    assert (previous / "weights").read_text() == "x"


def test_a_job_without_a_model_channel_has_no_previous_model(opt_ml: Path) -> None:
    assert job.read(Settings).previous_model() is None


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"framework": ["torch"]}, r"^channel 'model': the artifact is for torch, this image for sklearn"),
        ({"versions": {"sklearn": "0.9"}}, r"^channel 'model': the artifact was written by sklearn 0\.9"),
    ],
)
def test_a_model_that_another_framework_wrote_is_named(
    opt_ml: Path, changes: dict[str, Any], reason: str
) -> None:
    bring_model(True, **changes)
    with pytest.raises(JobError, match=reason):
        job.read(Settings).previous_model()


@pytest.mark.parametrize("kind", ["../outside", "/outside", "link", "cut"])
def test_an_archive_that_leaves_its_folder_or_is_cut_is_refused(opt_ml: Path, kind: str) -> None:
    archive = paths.channel("model") / "model.tar.gz"
    archive.parent.mkdir(parents=True)
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo(kind)
        if kind == "link":
            member.type, member.linkname = tarfile.SYMTYPE, "/etc"
        else:
            member.size = 1 << 16
        tar.addfile(member, io.BytesIO(os.urandom(1 << 16)))
    if kind == "cut":
        os.truncate(archive, 1000)
    folder = opt_ml / "unpacked"
    if kind == "/outside":  # tarfile takes the leading slash away
        channels.unpack(archive, folder)
        assert (folder / "outside").exists()
        return
    with pytest.raises(JobError, match=r"^model\.tar\.gz cannot be unpacked"):
        job.read(Settings).previous_model()


def record(data: bytes, part: int = 0) -> bytes:
    return struct.pack("<II", 0xCED7230A, part << 29 | len(data)) + data + bytes(-len(data) % 4)


def pipe(name: str = "train") -> job.Job[Settings]:
    """A job whose channel is in Pipe mode."""
    paths.channel("").mkdir(parents=True)
    paths.config("x").parent.mkdir(parents=True)
    paths.config("inputdataconfig").write_text(json.dumps({name: {"TrainingInputMode": "Pipe"}}))
    return job.read(Settings)


def feed(fifo: Path, data: bytes, after: float = 0) -> threading.Thread:
    """Do SageMaker's part: make a FIFO, perhaps late, and write to it until the reader closes it."""

    def write() -> None:
        time.sleep(after)
        os.mkfifo(fifo)
        with suppress(BrokenPipeError):
            fifo.write_bytes(data)

    thread = threading.Thread(target=write)
    thread.start()
    return thread


def test_each_epoch_of_a_pipe_channel_is_a_stream_that_may_come_late_and_be_left_early(opt_ml: Path) -> None:
    current = pipe()
    assert current.has_channel("train")
    feeding = [feed(paths.channel("train_0"), bytes(1 << 20)), feed(paths.channel("train_1"), b"a\nb\n", 0.3)]
    with current.stream("train", 0) as first:
        assert first.readline(8) == bytes(8)
    with current.stream("train", 1) as second:
        assert list(second) == [b"a\n", b"b\n"]
    for thread in feeding:
        thread.join(timeout=10)
        assert not thread.is_alive()


def test_the_other_name_of_the_training_channel_streams_too(opt_ml: Path) -> None:
    current = pipe("training")
    feeding = feed(opt_ml / "input/data/training_0", b"x")
    with current.stream("train", 0) as stream:
        assert stream.read() == b"x"
    feeding.join(timeout=10)


def test_recordio_is_read_record_by_record(opt_ml: Path) -> None:
    magic = struct.pack("<I", 0xCED7230A)
    stream = (
        record(b"one") + record(b"") + record(b"a", 1) + record(b"b", 2) + record(b"c", 3) + record(b"end!")
    )
    assert list(records(io.BytesIO(stream))) == [b"one", b"", magic.join([b"a", b"b", b"c"]), b"end!"]


@pytest.mark.parametrize("stream", [b"1,2,3\n4,5,6\n", record(b"one")[:-2], record(b"one")[:6]])
def test_what_is_not_recordio_or_is_cut_is_refused(stream: bytes) -> None:
    with pytest.raises(JobError, match="the stream"):
        list(records(io.BytesIO(stream)))


def test_asking_for_the_folder_of_a_stream_names_the_way_out(opt_ml: Path) -> None:
    with pytest.raises(JobError, match=r"channel 'train' is in Pipe mode: use job\.stream\(\), or FastFile"):
        pipe().channel("train")


def test_asking_for_the_stream_of_a_folder_says_so(opt_ml: Path) -> None:
    paths.channel("train").mkdir(parents=True)
    with pytest.raises(JobError, match="channel 'train' is not in Pipe mode"):
        job.read(Settings).stream("train", 0)


def test_a_channel_that_nobody_asked_for_is_known(opt_ml: Path) -> None:
    for name in ("training", "model", "extra"):
        paths.channel(name).mkdir(parents=True)
        (paths.channel(name) / "file").touch()
    current = job.read(Settings)
    current.channel("train")
    assert current.unread_channels() == ["extra", "model"]
