"""proof.json: what the last complete matrix (`sagegen matrix --full`) proved, and of which template.

    {"digest": SHA-256 of the template and of the code that renders it,
     "combinations": {id: {"date", "image_bytes", "tests", "rules", "cold_start_seconds"}}}

A proof holds for the template that it was made with. Where the template has changed since, there is none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from sagegen import catalogue, errors

FILE = Path(__file__).with_name("proof.json")
_RENDERING = ("catalogue.py", "render.py")


def digest(root: Path = catalogue.ROOT) -> str:
    """SHA-256 over what decides a generated repository: the template and the code that renders it."""
    from pathspec import GitIgnoreSpec

    never_copied = GitIgnoreSpec.from_lines(catalogue.config().get("_exclude", []))
    paths = (path for path in (root / "template").rglob("*") if path.is_file())
    files = {path.relative_to(root).as_posix(): path for path in [root / "copier.yml", *paths]}
    files = {name: path for name, path in files.items() if not never_copied.match_file(name)}
    files |= {name: Path(__file__).with_name(name) for name in _RENDERING}
    total = hashlib.sha256()
    for name, path in sorted(files.items()):
        total.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


@cache
def proofs() -> dict[str, dict[str, Any]]:
    """{combination: its proof} of the template as it is now; none is no error."""
    known = _read(FILE)
    return _combinations(known) if known.get("digest") == digest() else {}


def record(file: Path, outcome: Mapping[str, Any]) -> None:
    """Merge the results of a complete matrix into `file`; a combination that failed loses its proof.

    Proofs of another template are dropped.
    """
    known, now = _read(file), digest()
    combinations = _combinations(known) if known.get("digest") == now else {}
    for result in outcome["combinations"]:
        combinations.pop(result["id"], None)
        if result["status"] == "passed":
            combinations[result["id"]] = {
                "date": outcome["date"][:10],
                "image_bytes": result["image_bytes"],
                "tests": result["tests"]["passed"],
                "rules": result["check"]["PASS"],
                "cold_start_seconds": result.get("cold_start_seconds"),
            }
    text = json.dumps({"digest": now, "combinations": dict(sorted(combinations.items()))}, indent=2)
    try:
        file.write_text(text + "\n")
    except OSError as error:
        raise errors.SagegenError(f"cannot write {file}: {error.strerror} – name another file") from error


def checkout_file() -> Path | None:
    """The file of this checkout; None where sagegen is installed, whose files are not ours to change."""
    return FILE if FILE.parent.parent == catalogue.ROOT else None


def sentence(combination: str) -> str | None:
    """The proof of a combination in words, if there is one."""
    if not (known := proofs().get(combination)):
        return None
    size = known["image_bytes"] / 1e9
    return (
        f"{combination}: {known['tests']} tests and {known['rules']} rules passed on {known['date']}, "
        f"image {size:.2f} GB"
    )


def standing() -> str:
    """What holds for the whole catalogue, in one sentence."""
    if known := proofs():
        of = len(catalogue.provable())
        return f"{len(known)} of {of} combinations passed the complete matrix, last on {_last(known)}."
    if old := _combinations(_read(FILE)):
        return f"Not proven since the last change of the template; the last proof was on {_last(old)}."
    return "Not proven yet: run sagegen matrix --full."


def last_date() -> str:
    """The day of the last complete matrix, whatever has changed since."""
    return _last(_combinations(_read(FILE)))


def _last(combinations: Mapping[str, Mapping[str, Any]]) -> str:
    return max(str(proof["date"]) for proof in combinations.values())


def _combinations(known: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = known.get("combinations", {})
    return found


def _read(file: Path) -> dict[str, Any]:
    try:
        known: dict[str, Any] = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    return known
