"""A small file in the artifact that says what wrote it, so that loading it elsewhere fails with a reason."""

import json
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

from byoc import paths
from byoc.framework import MODULES
from byoc.processes import say

FILE = "manifest.json"


class ManifestError(Exception):
    """The artifact was not made for this image."""


def write(model_dir: Path, features: Sequence[str]) -> None:
    """Describe the artifact that training left: framework, versions, and the columns that it expects."""
    content = {
        "framework": list(MODULES),
        "versions": {**_versions(), "python": platform.python_version()},
        "features": list(features),
    }
    with paths.atomic(model_dir / FILE) as file:
        file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def verify(model_dir: Path, features: Sequence[str]) -> None:
    """Compare the artifact with this image: an error where it cannot work, a warning where it may not."""
    try:
        content = json.loads((model_dir / FILE).read_text(encoding="utf-8"))
        framework, columns = content["framework"], content["features"]
        versions = dict(content["versions"])
    except FileNotFoundError:
        say(f"the artifact has no {FILE}: nothing is known of what wrote it")
        return
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ManifestError(f"{FILE} in the artifact is damaged: {error!r}") from None
    if framework != list(MODULES):
        mine = " on ".join(MODULES)
        raise ManifestError(f"the artifact is for {' on '.join(framework)}, this image for {mine}")
    if columns != list(features):
        raise ManifestError(f"the artifact expects the columns {columns}, model.py says {list(features)}")
    for name, here in _versions().items():
        there = str(versions.get(name))
        if there.split(".")[0] != here.split(".")[0]:
            raise ManifestError(f"the artifact was written by {name} {there}, this image has {here}")
        if there != here:
            say(f"the artifact was written by {name} {there}, this image has {here}")


def _versions() -> dict[str, str]:
    return {name: str(getattr(sys.modules.get(name), "__version__", "unknown")) for name in MODULES}
