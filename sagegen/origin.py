"""Where the running template comes from: what `copier update` needs to know of a generated repository."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from sagegen import __version__, catalogue

#: The public repository, in Copier's spelling. Forks record their own address.
SOURCE = "gh:sagegen/sagegen"
#: What a user of an unknown origin can do.
REMEDY = (
    "To get one that can be updated, install sagegen from git (pipx install "
    "git+https://github.com/sagegen/sagegen) and generate it anew"
)

_PUBLIC = re.compile(r"github\.com[:/]sagegen/sagegen(\.git)?/?\Z")
_RELEASE = re.compile(r"\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?\Z")


@dataclass(frozen=True)
class Origin:
    """A repository and a tag or full commit in it; without `commit`, `unknown` says why there is none."""

    source: str
    commit: str | None = None
    unknown: str | None = None

    def recorded(self) -> dict[str, str]:
        """The entries of the answers file."""
        return {**({"_commit": self.commit} if self.commit else {}), "_src_path": self.source}


@cache
def origin() -> Origin:
    """The origin of this installation's template. Nothing is recorded that may be missing upstream."""
    if (catalogue.ROOT / ".git").exists():
        return from_checkout(catalogue.ROOT)
    try:
        installed = metadata.distribution("sagegen")
    except metadata.PackageNotFoundError:
        return Origin(SOURCE, unknown="this sagegen was copied, not installed")
    return from_installation(json.loads(installed.read_text("direct_url.json") or "null"), __version__)


def from_installation(direct_url: dict[str, Any] | None, version: str) -> Origin:
    """The origin of an installed package, whose `direct_url.json` is absent if an index served it."""
    if direct_url and (vcs := direct_url.get("vcs_info")):
        return Origin(_address(direct_url["url"]), vcs["commit_id"])
    if direct_url and "dir_info" in direct_url:
        return Origin(SOURCE, unknown="this sagegen was installed from a folder, which may hold any version")
    if not _RELEASE.match(version):
        return Origin(SOURCE, unknown=f"sagegen {version} is not a release")
    return Origin(SOURCE, f"v{version}")


def from_checkout(folder: Path) -> Origin:
    """The origin of a git checkout: HEAD, if the template is committed and a remote has the commit."""
    try:
        head = _git(folder, "rev-parse", "HEAD").strip()
        if _git(folder, "status", "--porcelain", "--", "copier.yml", "template"):
            return Origin(SOURCE, unknown="the template in this checkout has changes that are not committed")
        branches = _git(
            folder, "for-each-ref", "--contains", head, "--format=%(refname:lstrip=2)", "refs/remotes"
        )
        for remote in _git(folder, "remote").split():
            if any(branch.startswith(f"{remote}/") for branch in branches.split()):
                return Origin(_address(_git(folder, "remote", "get-url", remote).strip()), head)
    except (OSError, subprocess.CalledProcessError):
        return Origin(SOURCE, unknown="git cannot read this checkout")
    return Origin(SOURCE, unknown="the commit of this checkout is not pushed to a remote")


def _git(folder: Path, *arguments: str) -> str:
    # A git hook that runs sagegen sets GIT_DIR to its own repository.
    environment = {
        name: value for name, value in os.environ.items() if name not in ("GIT_DIR", "GIT_WORK_TREE")
    }
    return subprocess.run(
        ["git", *arguments], cwd=folder, env=environment, check=True, capture_output=True, text=True
    ).stdout


def _address(url: str) -> str:
    """`url` as Copier recognises a git repository, without a password."""
    if _PUBLIC.search(url):
        return SOURCE
    parts = urlsplit(url)
    if parts.scheme in ("http", "https"):
        url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return f"git+{url}" if parts.scheme and not url.endswith(".git") else url
