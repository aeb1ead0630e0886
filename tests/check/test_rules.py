"""Rules on made-up evidence: images that would be too dear to build here."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sagegen.check import core
from sagegen.check.containers import Exit
from sagegen.check.core import Evidence, Outcome, Skip, Verdict
from sagegen.check.scenarios.image import IMAGE, Image
from sagegen.check.scenarios.training import TRAIN, Base, Run, repeats

GOOD = Image(
    "image",
    {"Os": "linux", "Architecture": "amd64", "Size": 10**9, "Config": {}},
    [],
    "application/vnd.docker.distribution.manifest.v2+json",
)


def judge(identity: str, image: Image) -> Verdict:
    evidence = Evidence()
    evidence.add(IMAGE, image)
    return next(rule for rule in core.rules() if rule.id == identity).verdict(evidence)


@pytest.mark.parametrize("identity", ["IMG-01", "IMG-04", "SV-01"])
def test_a_good_image_passes(identity: str) -> None:
    assert judge(identity, GOOD).outcome is Outcome.PASS


@pytest.mark.parametrize("kind", ["manifest", "index"])
def test_an_oci_manifest_warns(kind: str) -> None:
    image = replace(GOOD, manifest_type=f"application/vnd.oci.image.{kind}.v1+json")
    assert judge("IMG-01", image).outcome is Outcome.WARN


@pytest.mark.parametrize("system, processor", [("linux", "arm64"), ("windows", "amd64"), ("linux", "s390x")])
def test_another_processor_fails(system: str, processor: str) -> None:
    image = replace(GOOD, attributes={**GOOD.attributes, "Os": system, "Architecture": processor})
    assert judge("IMG-04", image).outcome is Outcome.FAIL


def test_eleven_gigabytes_warn() -> None:
    verdict = judge("SV-01", replace(GOOD, attributes={**GOOD.attributes, "Size": 11 * 10**9}))
    assert verdict.outcome is Outcome.WARN
    assert verdict.measured == {"bytes": 11 * 10**9}


def test_what_a_scenario_skipped_its_rules_skip() -> None:
    evidence = Evidence()
    evidence.add(IMAGE, Skip("no image today"))
    rule = next(rule for rule in core.rules() if rule.id == "T-04")
    assert rule.verdict(evidence) == core.skipped("no image today")


def log(*lines: str) -> Run:
    return Run("", Exit(0, 1.0), log=[(0.0, line) for line in lines])


def test_a_run_repeats_another_if_it_prints_as_many_lines_of_each_kind() -> None:
    full = log("start", "epoch=1; loss=0.5;", "epoch=2; loss=0.4;")
    assert repeats(log("start", "epoch=1; loss=0.51;", "epoch=2; loss=0.39;", "more"), full)
    assert not repeats(log("start", "resumed after 1", "epoch=2; loss=0.4;"), full)
    assert not repeats(log("start"), full)


def test_buffered_output_is_doubtful() -> None:
    lines = [(100.0, f"epoch={i}") for i in range(20)]
    run = Run("", Exit(0, 60.0, 100.5), log=lines)
    evidence = Evidence()
    evidence.add(TRAIN, Base(run))
    rule = next(rule for rule in core.rules() if rule.id == "T-74")
    assert rule.verdict(evidence).outcome is Outcome.WARN
