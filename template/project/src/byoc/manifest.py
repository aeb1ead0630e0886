"""A file in the artifact that says what wrote it, so that an image that cannot load it says why."""

import platform
import sys
from collections.abc import Sequence
from pathlib import Path

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
    """What wrote an artifact: the framework's modules, their versions, and model.py's FEATURES."""

    framework: list[str]
    versions: dict[str, str]
    features: list[str]


def write(model_dir: Path, features: Sequence[str]) -> None:
    """Describe the artifact that training left."""
    versions = {**_versions(), "python": platform.python_version()}
    manifest = Manifest(framework=list(MODULES), versions=versions, features=list(features))
    with paths.atomic(model_dir / FILE) as file:
        file.write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


def verify(model_dir: Path, features: Sequence[str]) -> None:
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
    if artifact.features != list(features):
        theirs = str(artifact.features)[:500]
        raise ManifestError(f"the artifact expects the columns {theirs}, model.py says {list(features)}")
    for name, here in _versions().items():
        there = artifact.versions.get(name, "unknown")[:50]
        if there.split(".")[0] != here.split(".")[0]:
            raise ManifestError(f"the artifact was written by {name} {there}, this image has {here}")
        if there != here:
            say(f"the artifact was written by {name} {there}, this image has {here}")


def _versions() -> dict[str, str]:
    return {name: str(getattr(sys.modules.get(name), "__version__", "unknown")) for name in MODULES}
