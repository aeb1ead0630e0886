"""What the sample's model.py reads as training data, and how it refuses what it cannot read."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from byoc.errors import JobError

SAMPLE = Path(__file__).parents[2] / "template" / "sample"
HEADER = "species,bill_length_mm,bill_depth_mm,flipper_length_mm,body_mass_g"
ROW = "Adelie,39.1,18.7,181,3750"


@pytest.fixture(scope="module")
def read() -> Callable[[Path], tuple[Any, Any]]:
    imports = (SAMPLE / "imports.py").read_text()
    source = [imports, *((SAMPLE / name).read_text() for name in ("columns.py", "functions.py"))]
    head = "from __future__ import annotations\nimport csv\nfrom pathlib import Path\nimport numpy as np\n"
    names: dict[str, Any] = {}
    exec(compile(head + "\n".join(source), "model.py", "exec"), names)
    return names["read"]


def write(folder: Path, *lines: str, name: str = "a.csv", encoding: str = "utf-8", end: str = "\n") -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes("".join(line + end for line in lines).encode(encoding))


def test_rows_are_features_and_indexes_of_species(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    write(tmp_path, HEADER, ROW)
    write(tmp_path, HEADER, "Gentoo,1,2,3,4", name="b.csv")
    features, labels = read(tmp_path)
    assert features.tolist() == np.array([[39.1, 18.7, 181, 3750], [1, 2, 3, 4]], dtype=np.float32).tolist()
    assert labels.tolist() == [0, 2]


def test_a_byte_order_mark_and_windows_lines_change_nothing(
    tmp_path: Path, read: Callable[[Path], Any]
) -> None:
    write(tmp_path, HEADER, ROW, encoding="utf-8-sig", end="\r\n")
    assert len(read(tmp_path)[1]) == 1


def test_hidden_copies_are_not_read(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    for name in ("a.csv", ".a.csv", ".ipynb_checkpoints/a.csv"):
        write(tmp_path, HEADER, ROW, name=name)
    assert len(read(tmp_path)[1]) == 1


@pytest.mark.parametrize(
    "lines, reason",
    [
        ((HEADER, ROW, "Adelie,,18,180,3700"), r"a\.csv, line 3: .*'bill_length_mm': ''"),
        ((HEADER, ROW, "adelie,39.1,18.7,181,3750"), r"a\.csv, line 3: .*'adelie'"),
        ((HEADER, "Adelie,39.1,18.7"), r"a\.csv, line 2: .*None"),
        ((HEADER.replace(",", ";"), ROW.replace(",", ";")), r"a\.csv has the columns .*species;bill"),
        ((HEADER,), r"no rows in \.csv files; it holds a\.csv"),
        ((), r"a\.csv has the columns None"),
    ],
)
def test_a_bad_file_is_named_with_what_is_in_it(
    tmp_path: Path, read: Callable[[Path], Any], lines: tuple[str, ...], reason: str
) -> None:
    write(tmp_path, *lines)
    with pytest.raises(JobError, match=reason):
        read(tmp_path)


def test_files_of_another_kind_are_named(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(f"{HEADER}\n{ROW}\n".encode()))
    with pytest.raises(JobError, match=r"it holds a\.csv\.gz"):
        read(tmp_path)
