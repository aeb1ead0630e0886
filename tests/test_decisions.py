"""Decision records say when they were made and whether they hold, and the index lists each of them so."""

from __future__ import annotations

import re

import pytest
from helpers import ROOT

FOLDER = ROOT / "docs" / "decisions"
RECORDS = sorted(FOLDER.glob("0*.md"))


@pytest.mark.parametrize("name", [record.name for record in RECORDS])
def test_a_record_has_a_date_and_a_status_which_the_index_repeats(name: str) -> None:
    text = (FOLDER / name).read_text()
    title = re.match(r"# (\d+)\. (.+)\n", text)
    state = re.search(r"^Date: (\d{4}-\d\d-\d\d)[^.]*\. Status: (accepted|superseded)\b", text, re.MULTILINE)
    assert title, "no title with the record's number"
    assert state, "no line with date and status"
    row = f"| {title[1]}. [{title[2]}]({name}) | {state[1]} | {state[2]}"
    assert row in (FOLDER / "README.md").read_text()
