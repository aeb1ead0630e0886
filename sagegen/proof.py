"""What the last complete matrix proved, shipped as data: {combination: image size, tests, rules, date}."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

_SHIPPED = Path(__file__).with_name("proof.json")


@cache
def proofs() -> dict[str, dict[str, Any]]:
    """Every proof that came with this version; none is no error."""
    return _read(_SHIPPED)


def record(file: Path, results: Mapping[str, Any]) -> None:
    """Merge the results of a matrix into `file`; a combination that failed loses its proof."""
    known = _read(file)
    for result in results["combinations"]:
        known.pop(result["id"], None)
        if result["status"] == "passed":
            known[result["id"]] = {
                "date": results["date"][:10],
                "image_bytes": result["image_bytes"],
                "tests": result["tests"]["passed"],
            }
            if result["check"]:
                known[result["id"]]["rules"] = result["check"]["PASS"]
    file.write_text(json.dumps(dict(sorted(known.items())), indent=2) + "\n")


def sentence(combination: str) -> str | None:
    """The proof of a combination in words, if there is one."""
    if not (known := proofs().get(combination)):
        return None
    size = known["image_bytes"] / 1e9
    rules = f" and {known['rules']} rules" if "rules" in known else ""
    return f"{combination}: {known['tests']} tests{rules} passed on {known['date']}, image {size:.2f} GB"


def _read(file: Path) -> dict[str, dict[str, Any]]:
    try:
        known: dict[str, dict[str, Any]] = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    return known
