"""A file in the artifact that says what wrote it, so that an image that cannot load it says why."""

import platform
import sys
from itertools import zip_longest
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from byoc import paths
from byoc.framework import MODULES
from byoc.processes import say

# Every other name in the artifact is the user's.
FILE = "byoc-manifest.json"
MOST_BYTES = 64 * 1024


class ManifestError(Exception):
    """The artifact was not made for this image."""


class Manifest(BaseModel, strict=True):
    """What wrote an artifact: the framework's modules, their versions, and the schema of INPUTS."""

    framework: list[str]
    versions: dict[str, str]
    inputs: dict[str, str | list[str | dict[str, Any]]] | None = None
    # Older artifacts name columns of numbers, and no schema.
    features: list[str] | None = None


def write(model_dir: Path, schema: dict[str, Any] | None) -> None:
    """Describe the artifact that training left."""
    versions = {**_versions(), "python": platform.python_version()}
    manifest = Manifest(framework=list(MODULES), versions=versions, inputs=schema)
    with paths.atomic(model_dir / FILE) as file:
        file.write_text(manifest.model_dump_json(indent=2, exclude={"features"}) + "\n", encoding="utf-8")


def verify(model_dir: Path, schema: dict[str, Any] | None) -> None:
    """Compare the artifact with this image. Raises ManifestError if it cannot work, logs if it may not."""
    try:
        with (model_dir / FILE).open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES} bytes")
        artifact = Manifest.model_validate_json(content)
    except FileNotFoundError:
        say(f"the artifact has no {FILE}: what wrote it, and for which columns, is not verified")
        return
    except (OSError, ValueError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise ManifestError(f"{FILE} in the artifact is damaged: {str(reason)[:200]}") from None
    if artifact.framework != list(MODULES):
        theirs, ours = " on ".join(artifact.framework)[:200], " on ".join(MODULES)
        raise ManifestError(f"the artifact is for {theirs}, this image for {ours}")
    if difference := _difference(artifact, schema):
        there, here = (str(side or "nothing declared")[:500] for side in difference)
        raise ManifestError(f"the artifact expects {there}, model.py says {here}")
    for name, here in _versions().items():
        there = artifact.versions.get(name, "unknown")[:50]
        if there.split(".")[0] != here.split(".")[0]:
            raise ManifestError(f"the artifact was written by {name} {there}, this image has {here}")
        if there != here:
            say(f"the artifact was written by {name} {there}, this image has {here}")


def _difference(artifact: Manifest, schema: dict[str, Any] | None) -> tuple[object, object] | None:
    """Where the two declarations differ, or None."""
    theirs, ours = artifact.inputs or {}, schema or {}
    if artifact.features is not None:
        names = [column["name"] for column in ours.get("columns", [])]
        return None if artifact.features == names else (f"the columns {artifact.features}", names)
    if theirs == ours:
        return None
    if theirs.get("type") != ours.get("type"):
        return theirs.get("type"), ours.get("type")
    pairs = zip_longest(theirs.get("columns", []), ours.get("columns", []))
    return next((pair for pair in pairs if pair[0] != pair[1]), (theirs, ours))


def _versions() -> dict[str, str]:
    return {name: str(getattr(sys.modules.get(name), "__version__", "unknown")) for name in MODULES}
