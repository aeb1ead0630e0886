"""An image at rest: its history, its manifest and its files."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from sagegen.engine.archives import Stream
from sagegen.engine.connection import TROUBLE
from sagegen.engine.containers import HEAD_BYTES, LOG_LINES, Spec, StartFailed
from sagegen.engine.lab import Lab

FOUND = r"%y\t%m\t%s\t%p\t%l\n"
FIND_SECONDS = 60.0


@dataclass(frozen=True)
class Found:
    """One file of the image: f, d or l as `find` says it, and the beginning of a chosen file's content."""

    path: str
    kind: str
    mode: int
    size: int
    target: str = ""
    head: bytes = b""


def manifest_type(lab: Lab) -> str | None:
    """The media type of the image's manifest in its registry, if it names one that answers."""
    registry = lab.image.split("/")[0]
    if "/" not in lab.image or not ("." in registry or ":" in registry or registry == "localhost"):
        return None
    with suppress(*TROUBLE):
        found = lab.api.inspect_distribution(lab.image)  # type: ignore[no-untyped-call]
        return str(found["Descriptor"]["mediaType"])
    return None


def history(lab: Lab) -> list[str]:
    """The commands that built the image."""
    layers = lab.api.history(lab.image)  # type: ignore[no-untyped-call]
    return [str(layer.get("CreatedBy") or "") for layer in layers]


def find(lab: Lab, conditions: Sequence[str], heads: Callable[[str], object]) -> list[Found] | None:
    """What the image's own `find` finds; None where it has none that is GNU's.

    `heads` tells by a file's path whether the beginning of its content is read.
    """
    searched = ("/", "(", "-path", "/proc", "-o", "-path", "/sys", "-o", "-path", "/dev", ")", "-prune")
    command = (*searched, "-o", "(", *conditions, ")", "-printf", FOUND)
    with lab.container(Spec(command=command, entrypoint=("find",), user="0")) as box:
        try:
            box.start()
        except StartFailed:
            return None
        ended = box.wait(FIND_SECONDS)
        lines = [text for _, text in box.logs()]
        if ended.code != 0 or len(lines) >= LOG_LINES:
            return None
        found = []
        for line in lines:
            kind, mode, size, path, target = [*line.split("\t"), "", "", "", ""][:5]
            if not path.startswith("/") or not re.fullmatch("[0-7]+", mode) or not size.isdecimal():
                return None
            head = box.head(path) if kind == "f" and heads(path) else b""
            found.append(Found(path, kind, int(mode, 8), int(size), target, head))
        return found


def export(lab: Lab, heads: Callable[[str], object]) -> Iterator[Found]:
    """Every file of the image, the slow way: through an archive of all of them. `heads` as in `find`."""
    with lab.container(Spec(command=("export",), entrypoint=("export",))) as box:
        stream = lab.api.export(box.id, chunk_size=2**20)
        with tarfile.open(fileobj=Stream(stream), mode="r|", errorlevel=0) as archive:
            for entry in archive:
                lab.check_open()
                yield _found(archive, entry, heads)
                archive.members = []  # type: ignore[attr-defined]


def in_layers(lab: Lab, heads: Callable[[str], object]) -> Iterator[Found]:
    """The files that `heads` chooses in every layer, also those that a later layer removes.

    Reads the whole image from the engine: about a second for each 500 MB.
    """
    with tarfile.open(fileobj=Stream(lab.api.get_image(lab.image)), mode="r|") as image:
        for blob in image:
            lab.check_open()
            content = image.extractfile(blob) if blob.isfile() else None
            image.members = []  # type: ignore[attr-defined]
            if content is None:
                continue
            # Blobs are layers or JSON; the latter are no archives.
            with suppress(tarfile.ReadError), tarfile.open(fileobj=content, mode="r|*") as layer:
                for entry in layer:
                    if entry.isfile() and heads("/" + entry.name):
                        yield _found(layer, entry, heads)
                    layer.members = []  # type: ignore[attr-defined]


def _found(archive: tarfile.TarFile, entry: tarfile.TarInfo, heads: Callable[[str], object]) -> Found:
    path = "/" + entry.name.removeprefix("./").strip("/")
    content = archive.extractfile(entry) if entry.isfile() and heads(path) else None
    kind = "d" if entry.isdir() else "l" if entry.issym() else "f"
    head = content.read(HEAD_BYTES) if content else b""
    return Found(path, kind, entry.mode, entry.size, entry.linkname, head)
