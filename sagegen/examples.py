"""`make examples`: the committed renders, so that a change of the template shows what it changes.

A few repositories are kept whole, such that every value of the catalogue is in one of them. Of all
others `digests.json` keeps, per file, which combinations share which bytes and mode, and `shipping.json`
the same for the answers about AWS, given to the default combination.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from sagegen import catalogue
from sagegen.catalogue import Combination
from sagegen.render import SOURCE, render

FOLDER = catalogue.ROOT / "generated_examples"
DIGESTS = "digests.json"
SHIPPING = "shipping.json"
EVERY = "all combinations"
#: What comes after `docker push` changes no image, so one combination shows it.
SHIPPED: dict[str, dict[str, Any]] = {
    "none": {"deploy": "none"},
    "pipeline": {"deploy": "pipeline"},
    "notebooks": {"notebooks": True},
    **{
        hosting: {"deploy": "pipeline", "hosting": hosting, "notebooks": True}
        for hosting in ("serverless", "async", "batch")
    },
}


def write(folder: Path) -> None:
    """Render what belongs into `folder`, replacing what is there."""
    shutil.rmtree(folder, ignore_errors=True)
    for combination in catalogue.covering():
        render_example(combination, folder / combination.id)
    with tempfile.TemporaryDirectory() as scratch:
        every = catalogue.existing() + catalogue.samples()
        trees = {c.id: render_example(c, Path(scratch) / c.id) for c in every}
        (folder / DIGESTS).write_text(json.dumps(digests(trees), indent=1) + "\n")
        (folder / SHIPPING).write_text(json.dumps(digests(shipped(Path(scratch))), indent=1) + "\n")


def render_example(combination: Combination, dest: Path) -> Path:
    """A repository whose bytes depend on its answers alone: no release is recorded in it."""
    render(dest, combination.answers, recorded_origin={"_src_path": SOURCE})
    return dest


def shipped(folder: Path) -> dict[str, Path]:
    """Render the default combination with each of `SHIPPED` into a folder of `folder`."""
    answers, found = catalogue.default().answers, {name: folder / f"shipped-{name}" for name in SHIPPED}
    for name, dest in found.items():
        render(dest, {**answers, **SHIPPED[name]}, recorded_origin={"_src_path": SOURCE})
    return found


def digests(trees: dict[str, Path]) -> dict[str, dict[str, list[str]]]:
    """{file: {mode and SHA-256: combinations that have it}}."""
    found: dict[str, dict[str, list[str]]] = {}
    for name, root in trees.items():
        for path in sorted(root.rglob("*")):
            if path.is_file():
                mode = "755" if path.stat().st_mode & 0o111 else "644"
                digest = f"{mode} {hashlib.sha256(path.read_bytes()).hexdigest()}"
                found.setdefault(path.relative_to(root).as_posix(), {}).setdefault(digest, []).append(name)
    for variants in found.values():
        for digest, names in variants.items():
            variants[digest] = [EVERY] if len(names) == len(trees) else names
    return dict(sorted(found.items()))


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
