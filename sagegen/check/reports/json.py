"""For programs."""

from __future__ import annotations

import json
from typing import Any

from sagegen.check.core import Rule, Verdict
from sagegen.check.reports import Report


def render(report: Report) -> str:
    """One object: image, seconds, counts, what was looked at twice, and verdicts."""
    return (
        json.dumps(
            {
                "image": report.image,
                "seconds": round(report.seconds, 1),
                "counts": report.counts,
                "again": report.notes,
                "verdicts": [entry(rule, verdict) for rule, verdict in report.verdicts.items()],
            },
            indent=2,
            ensure_ascii=False,
        )
        + "\n"
    )


def entry(rule: Rule, verdict: Verdict) -> dict[str, Any]:
    """One verdict."""
    return {
        "id": rule.id,
        "area": rule.area,
        "level": rule.level,
        "title": rule.title,
        "outcome": verdict.outcome,
        "found": verdict.text,
        "measured": verdict.measured,
        "reproduce": verdict.line,
        "fix": rule.fix,
        "page": rule.url,
    }
