"""JUnit XML, as CI systems show it. A warning is a passed test with a note."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

from sagegen.check.core import Outcome
from sagegen.check.reports import Report


def render(report: Report) -> str:
    """One suite per area."""
    root = ElementTree.Element(
        "testsuites", name=f"sagegen check {report.image}", time=f"{report.seconds:.1f}"
    )
    for area, verdicts in report.by_area().items():
        outcomes = [verdict.outcome for verdict in verdicts.values()]
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=area,
            tests=str(len(outcomes)),
            failures=str(outcomes.count(Outcome.FAIL)),
            errors="0",
            skipped=str(outcomes.count(Outcome.SKIP)),
        )
        for rule, verdict in verdicts.items():
            case = ElementTree.SubElement(
                suite, "testcase", classname=f"sagegen.{area}", name=f"{rule.id} {rule.title}"
            )
            text = _clean(verdict.text)
            more = _clean("\n".join([verdict.text, rule.why, rule.fix, rule.url, verdict.line]))
            if verdict.outcome is Outcome.FAIL:
                ElementTree.SubElement(case, "failure", message=text).text = more
            elif verdict.outcome is Outcome.SKIP:
                ElementTree.SubElement(case, "skipped", message=text)
            else:
                ElementTree.SubElement(case, "system-out").text = (
                    f"WARN {more}" if verdict.outcome is Outcome.WARN else text
                )
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _clean(text: str) -> str:
    """Without the control characters that XML cannot hold."""
    return re.sub(
        r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\N{REPLACEMENT CHARACTER}", text
    )
