"""Markdown, for a pull request or a job summary."""

from __future__ import annotations

from sagegen.check.core import Outcome
from sagegen.check.reports import Report


def render(report: Report) -> str:
    """A table per area, then what to fix."""
    lines = [f"# sagegen check `{report.image}`", "", report.summary, *report.notes, ""]
    for area, verdicts in report.by_area().items():
        lines += [f"## {area}", "", "| | Rule | | Found |", "|---|---|---|---|"]
        for rule, verdict in verdicts.items():
            lines.append(
                f"| {verdict.outcome} | [{rule.id}]({rule.url}) | {rule.title} | {_cell(verdict.text)} |"
            )
        lines.append("")
    wrong = {r: v for r, v in report.verdicts.items() if v.outcome in (Outcome.FAIL, Outcome.WARN)}
    if wrong:
        lines += ["## To fix", ""]
    for rule, verdict in wrong.items():
        lines += [f"### {verdict.outcome} {rule.id} {rule.title}", "", f"{rule.why} **{rule.fix}**", ""]
        if verdict.line:
            lines += ["```sh", verdict.line, "```", ""]
    return "\n".join(lines).rstrip() + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
