"""The table of the contract and the rules say the same, and nothing is missing silently."""

from __future__ import annotations

import re

import pytest

from sagegen.check import contract, core, explain
from sagegen.check.core import Level
from sagegen.errors import SagegenError

ROWS = contract.rows()
RULES = {rule.id: rule for rule in core.rules()}
#: How many rows each chapter has: the contract is closed, so a lost row shows.
CHAPTERS = {"T": 70, "S": 55, "B": 17, "A": 7, "SV": 7, "M": 13, "IMG": 12, "SEC": 6, "CFG": 20}


def test_every_rule_is_a_row_and_every_row_that_says_so_is_a_rule() -> None:
    assert set(RULES) == {identity for identity, row in ROWS.items() if row.how == contract.RULE}


def test_a_row_without_a_rule_gives_a_reason() -> None:
    for row in ROWS.values():
        assert len(row.how) >= len(contract.RULE), row.id
        assert row.requirement, row.id


def test_no_row_is_missing() -> None:
    found: dict[str, int] = {}
    for identity in ROWS:
        chapter = identity.split("-")[0]
        found[chapter] = found.get(chapter, 0) + 1
    assert found == CHAPTERS


def test_covered_by_names_a_rule() -> None:
    for row in ROWS.values():
        if row.how.startswith("covered by"):
            assert set(re.findall(r"[A-Z]+-\d+", row.how)) <= set(RULES), row.id


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_a_rule_tells_its_whole_story(rule: core.Rule) -> None:
    assert rule.why.endswith(".")
    assert rule.fix
    assert rule.url.startswith("https://")
    story = explain.explain(rule.id.lower())
    assert all(part in story for part in (rule.title, rule.why, rule.fix, rule.url, rule.needs[0].title))


def test_unknown_rows_are_never_tested() -> None:
    assert not [row.id for row in ROWS.values() if row.level == "UNK" and row.id in RULES]


def test_every_level_has_a_consequence() -> None:
    assert set(core.BREACH) == set(Level)


def test_list_names_every_row() -> None:
    listing = explain.listing()
    assert all(re.search(rf"^  {identity} ", listing, re.MULTILINE) for identity in ROWS)


def test_an_unknown_id_is_a_usage_error() -> None:
    with pytest.raises(SagegenError, match="T-999") as error:
        explain.explain("T-999")
    assert error.value.exit_code == 2
