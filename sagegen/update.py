"""`sagegen update`: `copier update`, with what changes before it and what is left to do after it.

`copier update` alone does the same to the files. Added here: the changelog, the pins that the user owns,
a refusal that names its remedy, and the conflicts with what to do about each.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import yaml

from sagegen import catalogue, render
from sagegen.answers import load, parse, refuse_wrong
from sagegen.errors import INTERRUPTED, USAGE, SagegenError

REQUIREMENTS = "requirements.txt"
_MARKER = "^<<<<<<< before updating"


@dataclass(frozen=True)
class Release:
    """The template at one commit: how git describes that, and the repository that it renders."""

    version: str
    tree: Path
    changelog: str
    #: {question: default, as the template writes it}
    defaults: dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What an update would bring."""

    old: Release
    new: Release
    #: Whether `new` is later than `old`.
    available: bool
    #: {path: whether it is as it was rendered} of the user's files that are others for the new answers.
    switched: dict[str, bool]


def update(dest: Path, check: bool, diff: bool, data: tuple[str, ...]) -> int:
    """Update the repository in `dest`; 1 means that conflicts remain, or with `check`: there is an update."""
    try:
        if check and diff:
            raise SagegenError("choose --check or --diff", USAGE)
        answers = parse(data)
        # What a newer template asks is not known here; Copier's own answer to the rest is enough.
        refuse_wrong({name: value for name, value in answers.items() if name in catalogue.asked()})
        recorded = _recorded(dest)
        if not check:
            _refuse_unready(dest, committed=not diff)
        with tempfile.TemporaryDirectory(prefix="sagegen-update-") as scratch:
            plan = _plan(dest, recorded, answers, Path(scratch))
            _announce(plan, dest)
            if check:
                return int(plan.available)
            if diff:
                click.echo(_difference(dest, answers, plan, Path(scratch) / "preview"), nl=False)
                return 0
            if not plan.available and not answers:
                return 0
            _apply(dest, answers, plan)
            return _conclude(dest, plan)
    except SagegenError as error:
        if check:  # 1 means that there is an update
            error.exit_code = USAGE
        raise


def _recorded(dest: Path) -> dict[str, Any]:
    file = dest / render.ANSWERS_FILE
    if not os.path.isfile(file):  # Path.is_file raises where the path is too long
        raise SagegenError(f"{dest} has no {file.name} – name the folder of a generated repository", USAGE)
    recorded = load(file)
    for name, what in (("_src_path", "address"), ("_commit", "tag or commit")):
        if not isinstance(recorded.get(name), str):
            raise SagegenError(
                f"{file} does not say which template this repository is from – add the line "
                f"'{name}: ' with the {what} of the template, commit it, and retry"
            )
    return recorded


def _refuse_unready(dest: Path, *, committed: bool) -> None:
    """Refuse a repository in which an update could not be undone, or the last one is not finished."""
    try:
        _git(dest, "rev-parse", "HEAD")
    except SagegenError as error:
        raise SagegenError(
            f"{dest} has no commit to return to – git init, git add --all, git commit, and retry"
        ) from error
    if open_ := [*_unmerged(dest), *_marked(dest)]:
        raise SagegenError(
            f"conflicts of the last update are open in {_some(open_)} – edit what is between <<<<<<< "
            "and >>>>>>>, git add, git commit, and retry"
        )
    if committed and (changed := [name for _, name in _status(dest)]):
        raise SagegenError(
            f"not committed: {_some(changed)} – git commit or git stash --include-untracked, and retry"
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _plan(dest: Path, recorded: dict[str, Any], answers: dict[str, str], scratch: Path) -> Plan:
    upstream = scratch / "upstream"
    _fetch(recorded["_src_path"], upstream)
    commit = recorded["_commit"]
    try:
        _git(upstream, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}")
    except SagegenError as error:
        raise SagegenError(
            f"{recorded['_src_path']} has no commit {commit} – correct _commit in {render.ANSWERS_FILE}"
        ) from error

    def release(name: str, given: dict[str, Any], at: str | None, before: Path | None) -> Release:
        rendered = render.render_release(upstream, scratch / name, given, at=at, before=before)
        for answer in answers.keys() - rendered.keys() if before else ():
            raise SagegenError(f"{answer} does not apply to the other answers – leave it out", USAGE)
        version = rendered["_commit"]
        files = _git(upstream, "ls-tree", "--name-only", version)
        changelog = "CHANGELOG.md" in files.splitlines() and _git(upstream, "show", f"{version}:CHANGELOG.md")
        return Release(version, scratch / name, changelog or "", _defaults(upstream, version))

    old = release("old", recorded, commit, None)
    new = release("new", answers, None, dest / render.ANSWERS_FILE)
    older = subprocess.run(["git", "merge-base", "--is-ancestor", new.version, old.version], cwd=upstream)
    if older.returncode == 0 and answers:  # the version stays, the answers change
        new = release("same", answers, commit, dest / render.ANSWERS_FILE)
    return Plan(old, new, older.returncode != 0, _switched(dest, old.tree, new.tree))


def _defaults(upstream: Path, version: str) -> dict[str, Any]:
    found = {}
    for file in _git(upstream, "ls-tree", "--name-only", version, "template/questions/").splitlines():
        for name, question in yaml.safe_load(_git(upstream, "show", f"{version}:{file}")).items():
            found[name] = question.get("default")
    return found


def _switched(dest: Path, old: Path, new: Path) -> dict[str, bool]:
    """What another framework or device means for the user's files. Without one they are left alone."""
    before, after = load(old / render.ANSWERS_FILE), load(new / render.ANSWERS_FILE)
    if all(before.get(axis) == after.get(axis) for axis in catalogue.axes()):
        return {}
    files = (path.relative_to(new).as_posix() for path in new.rglob("*") if path.is_file())
    found = {}
    for name in sorted(render.user_owned(files)):
        original, changed, mine = (
            (folder / name).read_bytes() if (folder / name).is_file() else None for folder in (old, new, dest)
        )
        if changed != original and mine not in (None, changed):
            found[name] = mine == original
    return found


def _fetch(source: str, folder: Path) -> None:
    """Clone the template with all its tags."""
    url = source.removeprefix("git+")
    for short, long in (("gh:", "https://github.com/"), ("gl:", "https://gitlab.com/")):
        url = url.replace(short, long, 1) if url.startswith(short) else url
    local = Path(url).expanduser()
    url = str(local.resolve()) if local.exists() else url
    try:
        _git(folder.parent, "clone", "--quiet", "--no-checkout", "--", url, str(folder))
    except SagegenError as error:
        raise SagegenError(f"cannot fetch the template from {source}: {error}") from error


def _announce(plan: Plan, dest: Path) -> None:
    if not plan.available:
        print(f"Up to date: {plan.old.version}")
    else:
        print(f"{plan.old.version} → {plan.new.version}")
    for heading, entries in _entries_between(plan.old.changelog, plan.new.changelog):
        print(f"\n{heading}")
        print("\n".join(entries))
    answers = load(plan.new.tree / render.ANSWERS_FILE)
    for name, default in plan.new.defaults.items():
        # An answer is kept, even if it was no more than the default of its time.
        if name in answers and answers[name] == plan.old.defaults.get(name) != default:
            print(f"\n{name}: the default is {default} now, yours stays {answers[name]}.")
            print(f"To change it: sagegen update --data {name}={default}")
    if plan.switched:
        print("\nYours, and another with these answers:")
        for name, untouched in plan.switched.items():
            edited = f"edited: it stays, with the other one beside it as {name}.new"
            print(f"  {name}: {'as it was generated: it is replaced' if untouched else edited}")
    elif lines := list(_pins_to_move(plan, dest)):
        print(f"\nYours to change, in {REQUIREMENTS}:")
        print("\n".join(f"  {line}" for line in lines))


def _entries_between(old: str, new: str) -> Iterator[tuple[str, list[str]]]:
    """The entries of the changelog `new` that `old` lacks, under their headings."""
    known = {entry for _, entries in _sections(old) for entry in entries}
    for heading, entries in _sections(new):
        if added := [entry for entry in entries if entry not in known]:
            yield heading, added


def _sections(changelog: str) -> Iterator[tuple[str, list[str]]]:
    for section in re.split(r"^## ", changelog, flags=re.M)[1:]:
        heading, _, body = section.partition("\n")
        yield (
            heading.strip(),
            [entry.rstrip() for entry in re.split(r"^(?=- )", body, flags=re.M) if entry.strip()],
        )


def _pins_to_move(plan: Plan, dest: Path) -> Iterator[str]:
    """Each pin that the template moved, with the user's line; security fixes arrive no other way."""
    file = dest / REQUIREMENTS
    mine = _pins(file) if file.is_file() else {}
    old, new = _pins(plan.old.tree / REQUIREMENTS), _pins(plan.new.tree / REQUIREMENTS)
    for name, (_, pin) in new.items():
        if name in old and old[name][1] == pin:
            continue
        if name not in mine:
            yield f"add {pin}"
        elif mine[name][1] != pin:
            yield f"line {mine[name][0]}: {mine[name][1]} → {pin}"


def _pins(file: Path) -> dict[str, tuple[int, str]]:
    """{normalised name: (line number, requirement)} of a requirements file."""
    found = {}
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        pin = re.sub(r"(^|\s)#.*", "", line).strip()
        if name := re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", pin):
            found[re.sub("[-_.]+", "-", name[0]).lower()] = (number, pin)
    return found


def _difference(dest: Path, answers: dict[str, str], plan: Plan, preview: Path) -> bytes:
    """The update of the last commit as a diff, made in a clone."""
    top = _git(dest, "rev-parse", "--show-toplevel").strip()
    within = _git(dest, "rev-parse", "--show-prefix").strip()
    _git(preview.parent, "clone", "--quiet", "--", top, str(preview))
    _bring(preview / within, answers, plan)
    _git(preview, "add", "--all")
    return _git_bytes(preview, "diff", "--cached", "HEAD")


def _bring(dest: Path, answers: dict[str, str], plan: Plan) -> None:
    render.update(dest, answers, stay=not plan.available)
    for name, untouched in plan.switched.items():
        shutil.copy(plan.new.tree / name, dest / (name if untouched else f"{name}.new"))


def _apply(dest: Path, answers: dict[str, str], plan: Plan) -> None:
    try:
        _bring(dest, answers, plan)
    except (KeyboardInterrupt, SystemExit) as error:
        status = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else INTERRUPTED
        raise SagegenError(f"interrupted, perhaps half-way – {_undo(dest)} undoes it", status) from error
    except SagegenError as error:
        if _status(dest):
            raise SagegenError(f"{error} – {_undo(dest)} undoes what was done", error.exit_code) from error
        raise


def _undo(dest: Path) -> str:
    git = f"git -C {shlex.quote(str(dest))}" if dest.resolve() != Path.cwd() else "git"
    return f"{git} restore --source=HEAD --staged --worktree . && {git} clean -fd ."


def _conclude(dest: Path, plan: Plan) -> int:
    """Say what changed and what is left to do."""
    unmerged = _unmerged(dest)
    words = {"??": "new", " D": "removed", "A ": "new", "D ": "removed"}
    print("\nFiles:")
    lost = []
    for code, name in _status(dest):
        if name != render.ANSWERS_FILE:
            print(f"  {'conflict' if name in unmerged else words.get(code, 'changed'):<9} {name}")
        if words.get(code) == "removed" and _edited(dest, name, plan.old.tree / name):
            lost.append(name)
    beside = [name for name, untouched in plan.switched.items() if not untouched]
    if unmerged or lost or beside:
        print("\nConflicts:")
        for name in unmerged:
            print(f"  {name}: you and the template changed the same lines.")
            print(f"    Edit what is between <<<<<<< and >>>>>>>, then: git add {shlex.quote(name)}")
        for name in lost:
            print(f"  {name}: the template no longer has it, and you had changed it. To keep yours:")
            print(f"    git restore --source=HEAD --staged --worktree {shlex.quote(name)}")
        for name in beside:
            print(f"  {name}: written for the old answers. Bring it to what {name}.new does, then:")
            print(f"    rm {shlex.quote(name)}.new")
    print("\nNext: make build test, then git add --all and git commit.")
    print(f"To undo: {_undo(dest)}")
    return int(bool(unmerged or lost or beside))


def _edited(dest: Path, name: str, original: Path) -> bool:
    """Whether the last commit holds another content of `name` than the old template rendered."""
    return not original.is_file() or _git_bytes(dest, "show", f"HEAD:./{name}") != original.read_bytes()


def _status(dest: Path) -> list[tuple[str, str]]:
    """(git's two letters, path below `dest`) of all that differs from the last commit."""
    prefix = _git(dest, "rev-parse", "--show-prefix").strip()
    lines = _git(dest, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--", ".")
    return [(line[:2], line[3:].removeprefix(prefix)) for line in lines.split("\0") if line]


def _unmerged(dest: Path) -> list[str]:
    names = _git(dest, "diff", "--name-only", "--relative", "--diff-filter=U", "-z")
    return sorted(name for name in names.split("\0") if name)


def _marked(dest: Path) -> list[str]:
    """Files that were committed with a conflict inside."""
    try:
        found = _git(dest, "grep", "-lz", _MARKER)
    except SagegenError:  # git grep fails where it finds nothing
        return []
    return sorted(name for name in found.split("\0") if name and name not in _unmerged(dest))


def _git(folder: Path, *arguments: str) -> str:
    return _git_bytes(folder, *arguments).decode(errors="replace")


def _git_bytes(folder: Path, *arguments: str) -> bytes:
    try:
        return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True).stdout
    except FileNotFoundError as error:
        raise SagegenError("an update needs git – install it, and retry") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines() or [f"git {arguments[0]} failed"]
        raise SagegenError(said[-1]) from error
