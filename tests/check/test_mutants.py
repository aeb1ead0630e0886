"""Every rule is proven both ways: a mutant breaks it, and the healthy image keeps it."""

from __future__ import annotations

import subprocess

import pytest
from bank import Bank, breaches
from mutants import MUTANTS, Mutant

from sagegen.check import core
from sagegen.check.core import BREACH, Outcome

pytestmark = pytest.mark.mutants

#: Proven in test_rules.py on made-up evidence: an image of 11 GB, and one in a registry, are too dear here.
ON_PAPER = {"IMG-01", "SV-01", "IMG-04"}
#: What the healthy image cannot show.
UNJUDGED = {"T-77", "T-78", "IMG-01"}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.id)
def test_a_mutant_breaks_its_rule_and_no_other(bank: Bank, mutant: Mutant) -> None:
    report = bank.report(mutant)
    found = breaches(report)
    assert set(found) == {mutant.breaks} | mutant.also, found
    lines = {rule.id: verdict.line for rule, verdict in report.verdicts.items()}
    assert "docker " in lines[mutant.breaks]


def test_the_healthy_image_keeps_every_rule(bank: Bank) -> None:
    report = bank.check(bank.healthy)
    assert breaches(report) == {}
    skipped = {rule.id for rule, verdict in report.verdicts.items() if verdict.outcome is Outcome.SKIP}
    assert skipped == UNJUDGED
    assert report.seconds < 180


def test_no_rule_without_a_mutant() -> None:
    broken = {mutant.breaks for mutant in MUTANTS}
    assert {rule.id for rule in core.rules()} == broken | ON_PAPER


def test_a_must_fails_and_a_recommendation_warns(bank: Bank) -> None:
    """One of each level, from mutants whose breach is the plain one."""
    for mutant in MUTANTS:
        if mutant.id in ("T-10", "T-37", "T-41", "T-16", "S-50", "B-04"):
            report = bank.report(mutant)
            outcome = next(v.outcome for rule, v in report.verdicts.items() if rule.id == mutant.breaks)
            level = next(rule.level for rule in report.verdicts if rule.id == mutant.breaks)
            assert outcome is BREACH[level], mutant.id


@pytest.mark.parametrize("identity", ["T-41", "T-51-tail-only", "T-38"])
def test_the_line_reproduces_the_breach(bank: Bank, identity: str) -> None:
    """The printed line, pasted into a shell, shows the same."""
    mutant = next(one for one in MUTANTS if one.id == identity)
    verdicts = {rule.id: verdict for rule, verdict in bank.report(mutant).verdicts.items()}
    line = verdicts[mutant.breaks].line
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert "exit code 1" in done.stdout, done.stderr
