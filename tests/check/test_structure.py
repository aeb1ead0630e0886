"""What CONTRIBUTING says of the sources' layout is true."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHECK = ROOT / "sagegen/check"


def imported(file: Path) -> set[str]:
    """The top-level packages that a source imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_only_the_engine_package_talks_to_docker() -> None:
    sources = [
        file for folder in ("sagegen", "tests", "benchmarks") for file in (ROOT / folder).rglob("*.py")
    ]
    users = {file for file in sources if imported(file) & {"docker", "requests"}}
    engine = ROOT / "sagegen/engine"
    assert engine / "connection.py" in users
    assert {file.relative_to(ROOT) for file in users if engine not in file.parents} == set()


def test_every_file_of_rules_has_a_file_of_scenarios() -> None:
    rules, scenarios = (
        {file.name for file in (CHECK / kind).glob("*.py")} for kind in ("rules", "scenarios")
    )
    assert rules == scenarios
    assert len(rules) > 8
