"""SARIF 2.1.0, as code scanning shows it: breaches only, located in the Dockerfile."""

from __future__ import annotations

import json

from sagegen import __version__
from sagegen.check.core import BREACH, Outcome
from sagegen.check.reports import Report

LEVELS = {Outcome.FAIL: "error", Outcome.WARN: "warning"}


def render(report: Report) -> str:
    """One run."""
    rules = [
        {
            "id": rule.id,
            "name": rule.id.replace("-", ""),
            "shortDescription": {"text": rule.title},
            "fullDescription": {"text": rule.why},
            "help": {"text": rule.fix},
            "helpUri": rule.url,
            "defaultConfiguration": {"level": LEVELS[BREACH[rule.level]]},
        }
        for rule in report.verdicts
    ]
    results = [
        {
            "ruleId": rule.id,
            "ruleIndex": index,
            "level": LEVELS[verdict.outcome],
            "message": {"text": "\n".join(filter(None, [verdict.text, rule.fix, verdict.line]))},
            "locations": [{"physicalLocation": {"artifactLocation": {"uri": "Dockerfile"}}}],
            "partialFingerprints": {"rule": rule.id},
            "properties": {"image": report.image, **verdict.measured},
        }
        for index, (rule, verdict) in enumerate(report.verdicts.items())
        if verdict.outcome in LEVELS
    ]
    driver = {
        "name": "sagegen check",
        "version": __version__,
        "informationUri": "https://github.com/sagegen/sagegen",
        "rules": rules,
    }
    log = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }
    return json.dumps(log, indent=2, ensure_ascii=False) + "\n"
