"""Folders of a container as tar archives, which is how files get in and out."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

FILE_BYTES = 2**20  # read of each file's content
ARCHIVE_BYTES = 16 * 2**30
SPOOL_BYTES = 32 * 2**20  # kept in memory before an archive goes to disk


@dataclass(frozen=True)
class File:
    """One entry of a folder in a container."""

    kind: str
    size: int
    mode: int
    modified: float
    target: str = ""
    content: bytes = b""


def read_tar(archive: IO[bytes]) -> dict[str, File]:
    """The entries of an archive of one folder, without that folder's own name."""
    found: dict[str, File] = {}
    kinds = {tarfile.DIRTYPE: "folder", tarfile.SYMTYPE: "symlink", tarfile.LNKTYPE: "hard link"}
    with suppress(tarfile.TarError), tarfile.open(fileobj=archive, mode="r|") as entries:
        for entry in entries:
            path = entry.name.partition("/")[2].rstrip("/")
            if not path:
                continue
            kind = "file" if entry.isfile() else kinds.get(entry.type, "special file")
            content = b""
            if entry.isfile() and (source := entries.extractfile(entry)):
                content = source.read(FILE_BYTES)
            found[path] = File(kind, entry.size, entry.mode, entry.mtime, entry.linkname, content)
    return found


def make_tar(files: Mapping[str, bytes | None], modes: Sequence[tuple[str, int]] = ()) -> bytes:
    """An archive of files that belong to root; None makes a folder."""
    buffer = io.BytesIO()
    changed = dict(modes)
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.mtime = time.time()
            if content is None:
                entry.type, entry.mode = tarfile.DIRTYPE, changed.get(name, 0o755)
                archive.addfile(entry)
            else:
                entry.size, entry.mode = len(content), changed.get(name, 0o644)
                archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


class Stream(io.RawIOBase):
    """An iterator of chunks as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while len(self._left) < size or size < 0:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._left += chunk
        if size < 0:
            size = len(self._left)
        data, self._left = self._left[:size], self._left[size:]
        return data
