"""What `--list` and `--explain` print."""

from __future__ import annotations

import json

from sagegen.check import contract, core
from sagegen.errors import USAGE, SagegenError


def listing() -> str:
    """All rules, then the rows without one and why."""
    lines: list[str] = []
    area = None
    for rule in core.rules():
        if rule.area != area:
            area = rule.area
            lines += ["", area.upper()] if lines else [area.upper()]
        lines.append(f"  {rule.id:<7} {rule.level:<6} {rule.title}")
    lines += ["", "WITHOUT A RULE OF THEIR OWN"]
    for row in contract.rows().values():
        if row.how != contract.RULE:
            lines.append(f"  {row.id:<7} {row.level:<6} {row.requirement} – {row.how}")
    return "\n".join(lines)


def listing_as_json() -> str:
    """The same for programs: `area` is null where a row has no rule, and `how` says what it has instead."""
    areas = {rule.id: rule.area for rule in core.rules()}
    rows = [
        {
            "id": row.id,
            "level": row.level,
            "area": areas.get(row.id),
            "requirement": row.requirement,
            "how": row.how,
        }
        for row in contract.rows().values()
    ]
    return json.dumps(rows, indent=2)


def explain(identity: str) -> str:
    """The whole story of one row."""
    row = contract.rows().get(identity.upper())
    if row is None:
        raise SagegenError(f"{identity!r} is not a row of the contract – see sagegen check --list", USAGE)
    rule = next((one for one in core.rules() if one.id == row.id), None)
    if rule is None:
        return f"{row.id} ({row.level})  {row.requirement}\n\nNo rule of its own: {row.how}"
    scenarios = "\n".join(f"  - {one.title}" for one in core.needed([rule]))
    breach: str = core.BREACH[rule.level]
    if rule.level is core.Level.IF_USED:
        breach += ", where the image claims the feature"
    return (
        f"{rule.id} ({rule.level}, {rule.area})  {rule.title}\n\n"
        f"Why:           {rule.why}\n"
        f"A breach is:   {breach}\n"
        f"How to fix:    {rule.fix}\n"
        f"Read more:     {rule.url}\n\n"
        f"The check runs:\n{scenarios}"
    )
