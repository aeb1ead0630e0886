"""`make release VERSION=1.2.3 [DRY_RUN=1]`: check everything, write the changelog, commit, tag.

It refuses with one line, before it changes anything. After an interruption the same command goes on where it
stopped. Nothing is pushed: the last line says how.
"""

from __future__ import annotations

import argparse
import datetime
import re
import subprocess
import sys
from pathlib import Path

from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sagegen import catalogue, proof  # noqa: E402

#: The tree that `make test` passed on; see the Makefile.
TESTED = ROOT / "build/tested"


class Refusal(Exception):
    """Why there is no release, and what to do."""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("version")
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args()
    try:
        release(options.version, options.dry_run)
    except Refusal as refusal:
        print(f"release: {refusal}", file=sys.stderr)
        return 1
    return 0


def release(text: str, dry_run: bool) -> None:
    version, tag, subject = checked_version(text), f"v{text}", f"Release {text}"
    if git("tag", "--list", tag):
        if git("log", "-1", "--format=%s", tag) != subject or git("branch", "--contains", tag, "main") == "":
            raise Refusal(f"{tag} is the tag of another commit – choose another version, tags never move")
        print(f"{tag} is released already. To publish it: git push origin main {tag}")
        return
    committed = git("log", "-1", "--format=%s") == subject
    if not committed:
        check(version)
        towncrier(text, "--draft" if dry_run else "--yes")
        if dry_run:
            print(f"Everything is ready for {tag}; nothing was changed.")
            return
        git("commit", "--quiet", "--all", "--message", subject)
    elif dry_run:
        print(f"{subject} is committed; only the tag is missing.")
        return
    git("tag", "--annotate", tag, "--message", subject)
    print(f"{tag} is tagged. To publish it: git push origin main {tag}")


def checked_version(text: str) -> Version:
    try:
        version = Version(text)
    except InvalidVersion as error:
        raise Refusal(f"{text!r} is no version – write VERSION=1.2.3") from error
    if str(version) != text or version.local or version.is_devrelease:
        raise Refusal(f"{text!r} is no version of a release – write VERSION=1.2.3 or 1.2.3rc1")
    return version


def check(version: Version) -> None:
    """Refuse a release that is not ready."""
    if (branch := git("branch", "--show-current")) != "main":
        raise Refusal(f"this is the branch {branch or 'of no name'} – git switch main")
    if changed := git("status", "--porcelain"):
        raise Refusal(f"{changed.splitlines()[0][3:]} is not committed – git commit, and retry")
    known = git("branch", "--remotes", "--list", "origin/main")
    if known and (ahead := int(git("rev-list", "--count", "main..origin/main"))):
        raise Refusal(f"origin/main is {ahead} commit(s) ahead – git pull, and retry")
    tags = [Version(tag[1:]) for tag in git("tag", "--list", "v*").split() if re.fullmatch(r"v\d[\w.]*", tag)]
    if tags and version <= max(tags):
        raise Refusal(f"{version} is not newer than {max(tags)} – choose a later version")
    missing = [c.id for c in catalogue.provable() if c.id not in proof.proofs()]
    if missing:
        raise Refusal(
            f"{len(missing)} combination(s) are not proven with this template, first {missing[0]} – "
            "run make matrix MATRIX=--full, and commit sagegen/proof.json"
        )
    if proof.last_date() not in (ROOT / "README.md").read_text():
        raise Refusal(f"the last matrix was on {proof.last_date()} – write that day into README.md")
    if not TESTED.is_file() or TESTED.read_text().strip() != git("rev-parse", "HEAD^{tree}"):
        raise Refusal("make test has not passed on this commit – run it, and retry")
    fragments = list((ROOT / "changes").glob("*.*.md"))
    unreleased = (ROOT / "CHANGELOG.md").read_text().partition("\n## Unreleased\n")[2].partition("\n## ")[0]
    if not fragments and not unreleased.strip():
        raise Refusal("nothing says what has changed – add fragments to changes/")


def towncrier(version: str, mode: str) -> None:
    today = datetime.date.today().isoformat()
    command = [sys.executable, "-m", "towncrier", "build", mode, "--version", version, "--date", today]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Refusal(f"towncrier failed: {said[-1] if said else done.returncode}")
    if mode == "--draft":
        print(done.stdout[done.stdout.find("## ") :])


def git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise Refusal(f"git {arguments[0]} failed: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout.rstrip("\n")


if __name__ == "__main__":
    sys.exit(main())
