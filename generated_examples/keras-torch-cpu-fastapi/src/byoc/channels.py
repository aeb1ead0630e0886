"""The files of a training channel, read strictly: what is wrong ends the job, with the file and the line."""

import csv
import gzip
import math
import struct
import tarfile
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from byoc.errors import JobError

# A FIFO of Pipe mode may appear late.
FIFO_SECONDS = 300
# Python's own limit is 128 KiB for each cell.
csv.field_size_limit(2**31 - 1)
RECORD_MAGIC = struct.pack("<I", 0xCED7230A)


def files(channel: Path, *suffixes: str) -> list[Path]:
    """The channel's files whose names end in one of `suffixes`, in lower or upper case, sorted by path.

    Hidden files and folders (`.ipynb_checkpoints`, `._rows.csv`) are not part of a channel. Raises JobError
    where no file is left; it says what the channel holds.
    """
    every = sorted(path for path in channel.rglob("*") if path.is_file())
    visible = [path for path in every if not any(p.startswith(".") for p in path.relative_to(channel).parts)]
    found = [path for path in visible if path.name.lower().endswith(suffixes)]
    if not found:
        names = ", ".join(str(path.relative_to(channel)) for path in visible[:5]) or "no visible file"
        raise JobError(f"channel {channel.name!r} needs {' or '.join(suffixes)} files; it holds {names}")
    return found


class Row(dict[str, str]):
    """One row of a CSV file: the text of each cell by column, and where an error points to."""

    where: str

    def number(self, name: str) -> float:
        """The finite number in a cell. Raises JobError for anything else."""
        try:
            number = float(self[name].replace("_", "?"))  # Python would read 1_000 as well
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise JobError(f"{self.where}: {name} is {self[name]!r}, which is not a number")
        return number

    def choice(self, name: str, choices: Sequence[str]) -> str:
        """The cell, which must be one of `choices`. Raises JobError otherwise."""
        if self[name] not in choices:
            raise JobError(f"{self.where}: {name} is {self[name]!r}, which is none of {', '.join(choices)}")
        return self[name]

    def optional_choice(self, name: str, choices: Sequence[str]) -> str | None:
        """The same, or None where the cell is empty or the file has no such column."""
        return self.choice(name, choices) if self.get(name) else None


def csv_rows(channel: Path, *required: str) -> list[Row]:
    """All rows of a channel's CSV files (UTF-8, commas, a header; `.csv.gz` too).

    Raises JobError where a file is no such CSV, lacks one of the `required` columns, or holds no row.
    """
    rows = [row for file in files(channel, ".csv", ".csv.gz") for row in _rows(file, required)]
    if not rows:
        raise JobError(f"channel {channel.name!r} has no rows in its CSV files")
    return rows


def _rows(file: Path, required: Sequence[str]) -> Iterator[Row]:
    opened = gzip.open if file.suffix.lower() == ".gz" else open
    try:
        with opened(file, "rt", newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines, strict=True)
            columns = [name.strip() for name in reader.fieldnames or ()]
            if lacking := [name for name in required if name not in columns]:
                raise JobError(
                    f"{file.name} lacks {', '.join(lacking)}; its columns are {', '.join(columns) or 'none'}"
                )
            if twice := [name for name, count in Counter(columns).items() if name and count > 1]:
                raise JobError(f"{file.name} names the column {twice[0]} twice")
            reader.fieldnames = columns
            for cells in reader:
                where = f"{file.name}, line {reader.line_num}"
                if None in cells or None in cells.values():
                    raise JobError(f"{where}: the row must have {len(columns)} cells, as the header has")
                row = Row((name, cell.strip()) for name, cell in cells.items())
                row.where = where
                yield row
    except (OSError, EOFError, UnicodeError, csv.Error, zlib.error) as error:
        raise JobError(f"{file.name} is not a CSV file in UTF-8: {error}") from error


def records(stream: BinaryIO) -> Iterator[bytes]:
    """The records of a stream whose RecordWrapperType is RecordIO. Raises JobError if it is not."""
    parts: list[bytes] = []
    while header := stream.read(8):
        if header[:4] != RECORD_MAGIC or len(header) < 8:
            raise JobError("the stream is not RecordIO, or is cut: does the channel set RecordWrapperType?")
        # Three bits say which part of a record follows, and 29 its bytes; it is padded to a multiple of four.
        part, length = divmod(int.from_bytes(header[4:], "little"), 1 << 29)
        data = stream.read(length + -length % 4)
        if len(data) < length:
            raise JobError("the stream ends within a record")
        parts.append(data[:length])
        if part in (0, 3):  # a whole record, or the last part of one that was split at each magic number
            yield RECORD_MAGIC.join(parts)
            parts = []


def open_fifo(fifo: Path) -> BinaryIO:
    """Open a FIFO of Pipe mode, which may appear late (T-34). Raises JobError if it does not appear."""
    deadline = time.monotonic() + FIFO_SECONDS
    while not fifo.exists():
        if time.monotonic() > deadline:
            raise JobError(f"{fifo} did not appear within {FIFO_SECONDS} s")
        time.sleep(0.1)
    return fifo.open("rb")


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack a tar file. Raises JobError if it is damaged or would write outside of `folder` (SEC-06)."""
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise JobError(f"{archive.name} cannot be unpacked: {error}") from None
    return folder
