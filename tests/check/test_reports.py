"""One report in every format."""

from __future__ import annotations

import importlib
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from sagegen.check import core
from sagegen.check.core import Outcome, Verdict
from sagegen.check.reports import Report, formats, table, write

LINE = "docker run --rm 'a|b' \x1b[31m & <tag>"
OUTCOMES = list(Outcome)
REPORT = Report(
    "team/model:1",
    {
        rule: Verdict(
            OUTCOMES[i % 4], f"found {i} \x00 <&>|", {"seconds": 1.5}, LINE if i % 4 in (1, 2) else ""
        )
        for i, rule in enumerate(core.rules())
    },
    12.3,
)


def render(name: str) -> str:
    text: str = importlib.import_module(f"sagegen.check.reports.{name}").render(REPORT)
    return text


def test_the_formats_are_those_of_the_command_line() -> None:
    from sagegen.cli import cli

    option = next(one for one in cli.commands["check"].params if one.name == "format_")
    assert sorted(option.type.choices) == formats()  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", formats())
def test_every_rule_is_in_every_format(name: str) -> None:
    text = render(name)
    assert all(rule.id in text for rule in REPORT.verdicts)


def test_json_is_complete() -> None:
    found = json.loads(render("json"))
    assert sum(found["counts"].values()) == len(REPORT.verdicts) == len(found["verdicts"])
    assert found["verdicts"][1]["reproduce"] == LINE
    assert found["verdicts"][0]["measured"] == {"seconds": 1.5}


def test_junit_counts_failures_and_skips() -> None:
    root = ElementTree.fromstring(render("junit"))
    assert len(root.findall(".//failure")) == REPORT.counts[Outcome.FAIL]
    assert len(root.findall(".//skipped")) == REPORT.counts[Outcome.SKIP]
    assert sum(int(suite.attrib["tests"]) for suite in root) == len(REPORT.verdicts)


def test_sarif_has_only_breaches_and_their_rules() -> None:
    run = json.loads(render("sarif"))["runs"][0]
    assert len(run["results"]) == REPORT.counts[Outcome.FAIL] + REPORT.counts[Outcome.WARN]
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]


def test_the_table_shows_how_to_reproduce() -> None:
    assert LINE.replace("\x1b", "") in render("table").replace("\x1b", "")


def test_on_40_columns_the_table_cuts_no_title_and_no_finding() -> None:
    lines = table.render(REPORT, 40).replace("\x00", "").splitlines()
    tables = lines[: lines.index(next(line for line in lines if line.startswith(("WARN T", "FAIL T"))))]
    assert max(map(len, tables)) <= 40
    words = set(" ".join(tables).split())
    for rule, verdict in REPORT.verdicts.items():
        assert words >= {rule.id, *(w for w in rule.title.split() if len(w) < 20), verdict.text.split()[1]}


def test_a_report_is_written_to_a_file(tmp_path: Path) -> None:
    write(REPORT, "json", tmp_path / "deep/report.json")
    assert json.loads((tmp_path / "deep/report.json").read_text())["image"] == "team/model:1"
