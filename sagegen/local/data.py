"""S3 objects as a container's files, and the other way round."""

from __future__ import annotations

import gzip
import io
import json
import posixpath
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any

from botocore.exceptions import ClientError

from sagegen.engine import SPOOL_BYTES, Box
from sagegen.local.cloud import Storage, place
from sagegen.local.wire import Fault, not_emulated

Objects = list[tuple[str, str]]  # (key, path in the channel)


def channel_objects(storage: Storage, source: Mapping[str, Any]) -> tuple[str, Objects]:
    """(bucket, [(key, path)]) of a channel's S3DataSource. Raises Fault where there is no object."""
    uri, kind = source["S3Uri"], source["S3DataType"]
    if kind == "ManifestFile":
        prefix, *names = _manifest(storage, uri)
        bucket, base = place(prefix)
        return bucket, [(base + name, name) for name in names]
    if kind != "S3Prefix":
        raise not_emulated(f"S3DataType {kind}")
    bucket, prefix, keys = storage.objects(uri)
    if not keys:
        raise Fault(
            "ClientError", f"Data download failed:S3 key: {uri} has invalid prefix or matched no objects"
        )
    return bucket, [(key, relative(key, prefix)) for key in keys]


def relative(key: str, prefix: str) -> str:
    """What follows the prefix's last whole folder in a key: the key's path in a channel."""
    folder = prefix if prefix.endswith("/") or not prefix else f"{prefix}/"
    if key.startswith(folder):
        return key[len(folder) :]
    return key[len(prefix.rpartition("/")[0]) :].lstrip("/")


def _manifest(storage: Storage, uri: str) -> list[str]:
    try:
        first, *names = json.loads(storage.get(uri))
        found = [first["prefix"], *names]
    except (ValueError, TypeError, KeyError) as error:
        raise Fault(
            "ClientError", f"The manifest {uri} is not a list with a prefix first: {error!r}"
        ) from error
    if not all(isinstance(name, str) for name in found):
        raise Fault("ClientError", f"The manifest {uri} has entries that are no strings")
    return found


class Tree:
    """A tar archive for a container, in a temporary file."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115
        self._tar = tarfile.open(fileobj=self._file, mode="w")  # noqa: SIM115
        self._folders: set[str] = set()

    def folder(self, path: str) -> None:
        """Add a folder and those above it, once each."""
        if path and path not in self._folders:
            self.folder(posixpath.dirname(path))
            self._folders.add(path)
            entry = tarfile.TarInfo(path)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            self._tar.addfile(entry)

    def file(self, path: str, content: bytes) -> None:
        """Add a small file."""
        self.stream(path, io.BytesIO(content), len(content))

    def stream(self, path: str, content: IO[bytes], size: int) -> None:
        """Add a file of so many bytes."""
        safe = posixpath.normpath(path)
        if safe.startswith(("..", "/")):
            raise Fault("ClientError", f"the path {path} leads out of its folder")
        self.folder(posixpath.dirname(safe))
        entry = tarfile.TarInfo(safe)
        entry.size, entry.mode = size, 0o644
        self._tar.addfile(entry, content)

    def objects(self, storage: Storage, folder: str, bucket: str, objects: Objects) -> None:
        """Add S3 objects under a folder."""
        self.folder(folder)
        for key, path in objects:
            try:
                body = storage.read(bucket, key)
            except ClientError as error:
                text = f"Data download failed:{error.response['Error']['Message']} (s3://{bucket}/{key})"
                raise Fault("ClientError", text) from error
            self.stream(f"{folder}/{path}" if folder else path, body, body.content_length)  # type: ignore[attr-defined]

    def done(self) -> IO[bytes]:
        """The archive, to be read."""
        self._tar.close()
        self._file.seek(0)
        return self._file


def pack(boxes: Sequence[Box], folder: str) -> IO[bytes] | None:
    """A tar.gz of what lies in a folder of several containers, the first winning (T-45); None for nothing."""
    spool: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115
    seen: set[str] = set()
    with (
        gzip.GzipFile(fileobj=spool, mode="wb", compresslevel=1, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as packed,
    ):
        for box in boxes:
            with box.archive(folder) as found:
                for entry, content in entries(found):
                    if entry.name not in seen:
                        seen.add(entry.name)
                        packed.addfile(entry, content)
    spool.seek(0)
    return spool if seen else None


def empty() -> IO[bytes]:
    """A tar.gz without an entry."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz"):
        pass
    return io.BytesIO(buffer.getvalue())


def entries(archive: IO[bytes]) -> Iterable[tuple[tarfile.TarInfo, IO[bytes] | None]]:
    """What lies in an archived folder, without the folder's own name."""
    with tarfile.open(fileobj=archive, mode="r|") as source:
        for entry in source:
            entry.name = entry.name.partition("/")[2].rstrip("/")
            if entry.name:
                yield entry, source.extractfile(entry) if entry.isfile() else None


def upload(storage: Storage, box: Box, folder: str, uri: str) -> None:
    """Write every file of a container's folder under an S3 URI."""
    with box.archive(folder) as found:
        for entry, content in entries(found):
            if content is not None:
                with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as spool:
                    shutil.copyfileobj(content, spool)
                    spool.seek(0)
                    storage.put(f"{uri.rstrip('/')}/{entry.name}", spool)


def failure_text(box: Box) -> str:
    """What a failed job says of why (T-51)."""
    found = box.files("/opt/ml/output").get("failure")
    return found.content.decode(errors="replace") if found and found.kind == "file" else ""
