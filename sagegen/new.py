"""`sagegen new`: a complete repository, or none.

Everything is rendered beside its destination first and moved into place when it is complete, so a
wrong answer, a full disk or Ctrl-C leaves nothing half-written.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import tempfile
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sagegen.errors import USAGE, SagegenError


def new(
    dest: Path | None,
    defaults: bool,
    data: tuple[str, ...],
    answers: Path | None,
    force: bool,
    dry_run: bool,
) -> None:
    """Ask, render, move into place, and say what comes next."""
    from sagegen.answers import parse, read, refuse_wrong, with_choices
    from sagegen.render import render

    given = with_choices({**(read(answers) if answers else {}), **parse(data)})
    if given:
        refuse_wrong(given)
    if dest:
        _check(dest, force)
    ask = not defaults and sys.stdin.isatty()
    named = _name_after(dest) if dest and "project_name" not in given else None
    if named is not None and not ask:
        if not named:
            raise SagegenError(f"{dest} holds no name for the project – add --data project_name=NAME", USAGE)
        given["project_name"] = named
    with _stage(dest, dry_run) as stage:
        tree = stage / (dest.resolve().name if dest else "repository")
        recorded = render(tree, given, ask=ask, proposed={"project_name": named} if named else {})
        if not ask:
            _check_answers(given, recorded, defaults)
        dest = dest or Path(recorded["project_name"])
        _check(dest, force, recorded if ask else None)
        files = _files(tree)
        kept = set() if dry_run else _move(tree, dest, files, force)
    renamed = named not in (None, dest.resolve().name) and recorded["project_name"] == named
    _report(dest, files, kept, recorded, dry_run, renamed)


def _name_after(dest: Path) -> str:
    """The folder's name as a project_name: Modèle_2 becomes modele-2, r becomes r-model; else nothing."""
    # An ASCII locale hands over UTF-8 as bytes that it cannot read.
    folder = os.fsencode(dest.resolve().name).decode(errors="ignore")
    ascii_ = unicodedata.normalize("NFKD", folder).encode("ascii", "ignore").decode().lower()
    name = re.sub("[^a-z0-9]+", "-", ascii_).strip("-")[:50].rstrip("-")
    return f"{name}-model" if len(name) == 1 else name


def _check_answers(given: Mapping[str, Any], recorded: Mapping[str, Any], defaults: bool) -> None:
    """Without a terminal an open question is an error, and so is an answer that nothing asked for."""
    if not defaults and (missing := recorded.keys() - given.keys()):
        raise SagegenError(
            f"not answered, and there is no terminal to ask in: {', '.join(sorted(missing))} "
            "– add --defaults, or answer with --data KEY=VALUE",
            USAGE,
        )
    for name in given.keys() - recorded.keys():
        raise SagegenError(f"{name} does not apply to the other answers – leave it out", USAGE)


def _check(dest: Path, force: bool, recorded: Mapping[str, Any] | None = None) -> None:
    """Refuse a destination that cannot or must not be written, before anything is asked if possible."""
    try:
        dest.lstat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise SagegenError(
            f"cannot write {str(dest)[:80]}: {error.strerror} – name another folder"
        ) from error
    if dest.is_symlink() and not dest.exists():
        raise SagegenError(f"{dest} is a broken link – remove it or name another folder")
    if dest.exists() and not dest.is_dir():
        raise SagegenError(f"{dest} is a file – name another folder")
    home = dest if dest.is_dir() else _ancestor(dest)
    if not home.is_dir() or not os.access(home, os.W_OK | os.X_OK):
        raise SagegenError(f"{home} is not a folder that you may write – name another folder")
    if dest.is_dir() and not force and not all(_may_stay(path.name) for path in dest.iterdir()):
        again = "name another folder" if recorded is None else _again(recorded)
        raise SagegenError(f"{dest} is not empty – {again}, or add --force to replace what has the same name")


def _again(recorded: Mapping[str, Any]) -> str:
    """What repeats a run in another folder: nobody should type ten answers twice."""
    answers = " ".join(f"--data {shlex.quote(f'{name}={value}')}" for name, value in recorded.items())
    return f"name another folder: sagegen new DEST {answers}"


def _ancestor(dest: Path) -> Path:
    """The nearest folder above `dest` that exists."""
    return next(folder for folder in dest.absolute().parents if folder.exists())


_STAGE = ".sagegen-"


#: What a folder may hold that is still new: a git repository as a hosting service makes it.
_STAYS = re.compile(r"\.git|\.gitignore|(README|LICENSE)(\.\w+)?")


def _may_stay(name: str) -> bool:
    return name.startswith(_STAGE) or bool(_STAYS.fullmatch(name))


@contextmanager
def _stage(dest: Path | None, dry_run: bool) -> Iterator[Path]:
    """A temporary folder on the file system of `dest`, so that moving into place is a rename."""
    home = Path.cwd() if dest is None else dest if dest.is_dir() else _ancestor(dest)
    try:
        stage = tempfile.TemporaryDirectory(prefix=_STAGE, dir=None if dry_run else home)
    except OSError as error:
        raise SagegenError(f"cannot write into {home}: {error.strerror} – name another folder") from error
    with stage as path:
        yield Path(path)


def _files(tree: Path) -> list[str]:
    return sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*") if not path.is_dir())


def _move(tree: Path, dest: Path, files: list[str], force: bool) -> set[str]:
    """Put the rendered tree in place; the files of the user that it met and left alone are returned."""
    try:
        if not dest.exists():
            dest.parent.mkdir(parents=True, exist_ok=True)
            tree.rename(dest)
            return set()
        return _merge(tree, dest, files, force)
    except OSError as error:
        raise SagegenError(f"cannot write {dest}: {error.strerror} – name another folder") from error


def _merge(tree: Path, dest: Path, files: list[str], force: bool) -> set[str]:
    from sagegen.render import user_owned

    root = dest.resolve()
    for name in files:
        # Everything is checked before the first file moves: a merge must not stop half-way.
        target = root / name
        if target.is_dir() or not target.parent.resolve().is_relative_to(root):
            raise SagegenError(f"{target} is in the way – move it, or name another folder")
        for folder in target.relative_to(root).parents:
            if (root / folder).exists() and not (root / folder).is_dir():
                raise SagegenError(f"{root / folder} is in the way – move it, or name another folder")
    present = {name for name in files if (root / name).exists()}
    # Without --force there is nothing in `dest` but what may stay.
    kept = user_owned(present) if force else present
    for name in files:
        if name not in kept:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).replace(root / name)
    return kept


def _report(
    dest: Path, files: list[str], kept: set[str], recorded: Mapping[str, Any], dry_run: bool, renamed: bool
) -> None:
    from rich.console import Console
    from rich.text import Text
    from rich.tree import Tree

    from sagegen.catalogue import identify
    from sagegen.origin import REMEDY, origin
    from sagegen.proof import sentence

    console = Console(highlight=False, soft_wrap=True)
    root = Tree(Text(f"{dest}/", style="bold"), guide_style="dim")
    folders: dict[str, Tree] = {"": root}
    for name in files:
        *parents, leaf = name.split("/")
        for depth, folder in enumerate(parents):
            path = "/".join(parents[: depth + 1])
            if path not in folders:
                folders[path] = folders["/".join(parents[:depth])].add(Text(f"{folder}/", style="blue"))
        label = Text(leaf)
        if name in kept:
            label.append("  kept: it is yours", style="yellow")
        folders["/".join(parents)].add(label)
    console.print(root)
    if dry_run:
        console.print(f"\n{len(files)} files; nothing was written.")
        return
    if renamed:
        name = recorded["project_name"]
        console.print(
            Text(f"\nThe project is called {name}: {dest.resolve().name} is not a valid project name.")
        )
    # The images of a proof are built on the slim base.
    if recorded["base_image"] == "slim" and (proof := sentence(identify(recorded))):
        console.print(Text(f"\nProven: {proof}", style="green"))
    if unknown := origin().unknown:
        console.print(Text(f"\nNo update will reach this repository: {unknown}. {REMEDY}.", style="yellow"))
    console.print("\nNext:")
    for command in (f"cd {shlex.quote(str(dest))}", "make build", "make test"):
        console.print(Text(f"  {command}"))
