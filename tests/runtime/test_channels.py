"""byoc.channels: what a training channel may hold, and how a job refuses the rest."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from byoc.channels import csv_rows, files
from byoc.errors import JobError

ROWS = "name,size\nred,1\nblue,2.5\n"


def write(channel: Path, name: str, content: bytes) -> None:
    (channel / name).parent.mkdir(parents=True, exist_ok=True)
    (channel / name).write_bytes(content)


@pytest.mark.parametrize(
    "name, content",
    [
        ("a.csv", ROWS.encode()),
        ("deep/er/A.CSV", ROWS.encode()),
        ("a.csv.gz", gzip.compress(ROWS.encode())),
        ("a.csv", ROWS.replace("\n", "\r\n").encode("utf-8-sig")),
        ("a.csv", ROWS.replace(",", " , ").encode()),
        ("a.csv", ROWS.replace("\nred", "\n\nred").encode()),
    ],
    ids=["plain", "in folders and capitals", "compressed", "as Excel saves it", "spaces", "a blank line"],
)
def test_a_csv_file_is_read_however_it_was_saved(tmp_path: Path, name: str, content: bytes) -> None:
    write(tmp_path, name, content)
    rows = csv_rows(tmp_path, "name", "size")
    assert [(row.choice("name", ("red", "blue")), row.number("size")) for row in rows] == [
        ("red", 1.0),
        ("blue", 2.5),
    ]


def test_a_cell_may_hold_a_long_text(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", b"name\n" + b"x" * 200_000)
    assert [len(row["name"]) for row in csv_rows(tmp_path, "name")] == [200_000]


def test_hidden_copies_are_no_part_of_a_channel(tmp_path: Path) -> None:
    for name in ("a.csv", "._a.csv", ".ipynb_checkpoints/a-checkpoint.csv"):
        write(tmp_path, name, ROWS.encode())
    assert [file.name for file in files(tmp_path, ".csv")] == ["a.csv"]


def test_a_channel_without_fitting_files_says_what_it_holds(tmp_path: Path) -> None:
    write(tmp_path, "deep/a.parquet", b"PAR1")
    with pytest.raises(JobError, match=r"needs \.csv or \.csv\.gz files; it holds deep/a\.parquet"):
        csv_rows(tmp_path, "name")


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"name;size\nred;1\n", r"^a\.csv lacks name, size; its columns are name;size$"),
        (b"", r"^a\.csv lacks name, size; its columns are none$"),
        (b"name,size,size\nred,1,2\n", r"^a\.csv names the column size twice$"),
        (b"name,size,x,x\nred,1,2,3\n", r"^a\.csv names the column x twice$"),
        (b"name,size\n", r"has no rows"),
        (b"name,size\nred,1\nblue\n", r"^a\.csv, line 3: .*2 cells"),
        (b"name,size\nred,1,2\n", r"^a\.csv, line 2: .*2 cells"),
        (ROWS.encode("utf-16"), r"^a\.csv is not a CSV file in UTF-8: "),
        (b'name,size\n"red,1\n', r"^a\.csv is not a CSV file in UTF-8: "),
    ],
    ids=[
        "semicolons",
        "empty",
        "one name twice",
        "another name twice",
        "header alone",
        "short row",
        "long row",
        "UTF-16",
        "an open quote",
    ],
)
def test_a_file_that_is_no_such_csv_is_refused_by_name(tmp_path: Path, content: bytes, reason: str) -> None:
    write(tmp_path, "a.csv", content)
    with pytest.raises(JobError, match=reason):
        csv_rows(tmp_path, "name", "size")


def test_half_a_compressed_file_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path, "a.csv.gz", gzip.compress(ROWS.encode())[:-10])
    with pytest.raises(JobError, match=r"^a\.csv\.gz is not a CSV file"):
        csv_rows(tmp_path, "name", "size")


@pytest.mark.parametrize("cell", ["", "large", "nan", "inf", "1e999", "1,5", "1_0"])
def test_a_cell_that_is_no_finite_number_is_named_with_its_line(tmp_path: Path, cell: str) -> None:
    write(tmp_path, "a.csv", f'name,size\nred,1\nblue,"{cell}"\n'.encode())
    with pytest.raises(JobError, match=rf"^a\.csv, line 3: size is '{cell}'"):
        csv_rows(tmp_path, "size")[1].number("size")


def test_a_choice_is_refused_unless_it_is_one_and_an_optional_one_may_be_absent(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", b"name,size\nRed,1\n,2\n")
    wrong, empty = csv_rows(tmp_path, "name")
    with pytest.raises(JobError, match=r"^a\.csv, line 2: name is 'Red', which is none of red, blue$"):
        wrong.optional_choice("name", ("red", "blue"))
    assert empty.optional_choice("name", ("red", "blue")) is None
    assert empty.optional_choice("no such column", ("red", "blue")) is None
