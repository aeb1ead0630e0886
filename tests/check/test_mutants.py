"""Every rule is proven both ways: a mutant breaks it, and the healthy image keeps it."""

from __future__ import annotations

import subprocess

import pytest
from bank import Bank, breaches
from mutants import MUTANTS, Mutant

from sagegen.check import core
from sagegen.check.core import Outcome

pytestmark = pytest.mark.mutants

#: What the healthy image cannot show: it has no CUDA, and lies in no registry.
UNJUDGED = {"T-77", "T-78", "IMG-01"}


@pytest.fixture(scope="module", autouse=True)
def begun(bank: Bank, request: pytest.FixtureRequest) -> None:
    """All that this module's selected tests will ask for begins together."""
    here = [item for item in request.session.items if item.parent is request.node]
    if any(item.name == "test_the_healthy_image_keeps_every_rule" for item in here):
        _ = bank.healthy_report
    parameters = [getattr(getattr(item, "callspec", None), "params", {}) for item in here]
    bank.begin([each["mutant"] for each in parameters if "mutant" in each])


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.id)
def test_a_mutant_breaks_its_rule_and_no_other(bank: Bank, mutant: Mutant) -> None:
    report = bank.report(mutant)
    found = breaches(report)
    assert set(found) == {mutant.breaks} | mutant.also, found
    lines = {rule.id: verdict.line for rule, verdict in report.verdicts.items()}
    assert "docker " in lines[mutant.breaks]


def test_a_server_that_listens_on_ipv6_only_is_judged_long_before_the_time_is_up(bank: Bank) -> None:
    mutant = next(one for one in MUTANTS if one.id == "S-10-ipv6-only")
    report = bank.report(mutant)
    assert report.seconds < mutant.patience / 2
    (verdict,) = (verdict for rule, verdict in report.verdicts.items() if rule.id == "S-10")
    assert "for IPv6 only" in verdict.text


def test_the_healthy_image_keeps_every_rule(bank: Bank) -> None:
    report = bank.healthy_report.result()
    assert breaches(report) == {}
    skipped = {rule.id for rule, verdict in report.verdicts.items() if verdict.outcome is Outcome.SKIP}
    assert skipped == UNJUDGED


def test_no_rule_without_a_mutant() -> None:
    broken = {mutant.breaks for mutant in MUTANTS}
    assert {rule.id for rule in core.rules()} == broken


@pytest.mark.parametrize(
    "identity, outcome",
    [
        ("T-10", Outcome.FAIL),  # MUST
        ("T-60-ignored", Outcome.FAIL),
        ("T-51-tail-only", Outcome.FAIL),
        ("T-51-banner", Outcome.FAIL),
        ("S-50", Outcome.FAIL),  # MUST*, claimed
        ("T-41", Outcome.FAIL),  # ENV
        ("T-37", Outcome.WARN),  # REC
        ("T-16", Outcome.WARN),  # OBS
        ("B-04", Outcome.WARN),  # OPT
        ("SV-01", Outcome.FAIL),  # serverless, claimed
        ("SV-05", Outcome.FAIL),
        ("SV-05-unclaimed", Outcome.WARN),
        ("SV-04", Outcome.WARN),  # whose surroundings are not documented
    ],
)
def test_the_level_decides_between_fail_and_warn(bank: Bank, identity: str, outcome: Outcome) -> None:
    mutant = next(one for one in MUTANTS if one.id == identity)
    verdicts = {rule.id: verdict for rule, verdict in bank.report(mutant).verdicts.items()}
    assert verdicts[mutant.breaks].outcome is outcome


@pytest.mark.parametrize("identity", ["T-41", "T-51-tail-only", "T-38"])
def test_the_line_reproduces_the_breach(bank: Bank, identity: str) -> None:
    """The printed line, pasted into a shell, shows the same."""
    mutant = next(one for one in MUTANTS if one.id == identity)
    verdicts = {rule.id: verdict for rule, verdict in bank.report(mutant).verdicts.items()}
    line = verdicts[mutant.breaks].line
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert "exit code 1" in done.stdout, done.stderr
