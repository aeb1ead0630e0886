"""Render the template: the only module that talks to Copier, by its public functions only."""

from __future__ import annotations

import atexit
import io
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from functools import cache
from pathlib import Path
from typing import Any

import copier
import jinja2
from copier.errors import CopierError, InteractiveSessionError

from sagegen import catalogue
from sagegen.answers import closest, load, refuse_wrong
from sagegen.errors import USAGE, SagegenError
from sagegen.origin import SOURCE as SOURCE
from sagegen.origin import origin

ANSWERS_FILE = ".copier-answers.yml"


def render(
    dest: Path,
    answers: Mapping[str, Any],
    *,
    ask: bool = False,
    proposed: Mapping[str, str] | None = None,
    recorded_origin: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Render the repository for `answers` into `dest` and return all answers that it records.

    Open questions are asked, or take their default. `proposed` replaces defaults of the template.
    No task, extension or migration ever runs.
    """
    refuse_wrong(answers)
    data = {**answers, "sagegen_origin": dict(recorded_origin or origin().recorded())}
    with _explained(left=" – nothing was left behind"):
        copier.run_copy(
            str(template()), dest, data=data, user_defaults=dict(proposed or {}), defaults=not ask, quiet=True
        )
    recorded = load(dest / ANSWERS_FILE)
    return {name: value for name, value in recorded.items() if not name.startswith("_")}


def render_release(
    upstream: Path,
    dest: Path,
    answers: Mapping[str, Any],
    *,
    at: str | None = None,
    before: Path | None = None,
) -> dict[str, Any]:
    """Render the template in the git repository `upstream` and return the answers file, `_commit` included.

    `at` is a tag or commit, without it the latest release. The answers in the file `before` are brought up to
    date as `copier update` does it.
    """
    dest.mkdir()
    if before:
        shutil.copy(before, dest / ANSWERS_FILE)
    # Of a template without releases Copier says that it takes HEAD.
    with _explained(), redirect_stderr(io.StringIO()):
        copier.run_copy(
            str(upstream), dest, dict(answers), vcs_ref=at, defaults=True, overwrite=True, quiet=True
        )
    return load(dest / ANSWERS_FILE)


def update(dest: Path, answers: Mapping[str, Any], *, stay: bool) -> None:
    """`copier update` in `dest`; with `stay` the version remains and only answers change."""
    with _explained(), redirect_stderr(io.StringIO()):
        copier.run_update(
            dest,
            dict(answers),
            vcs_ref=copier.VcsRef.CURRENT if stay else None,
            defaults=True,
            overwrite=True,
            quiet=True,
        )


def user_owned(paths: Iterable[str]) -> set[str]:
    """Those of `paths` that belong to the user: an update never touches them, nor does --force."""
    from pathspec import GitIgnoreSpec

    return set(GitIgnoreSpec.from_lines(catalogue.config()["_skip_if_exists"]).match_files(paths))


@cache
def template() -> Path:
    """A template that Copier takes as it lies.

    Of a git checkout Copier would clone the latest tag, so it gets a copy of the working tree.
    """
    if not (catalogue.ROOT / ".git").exists():
        return catalogue.ROOT
    copy = Path(tempfile.mkdtemp(prefix="sagegen-template-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    shutil.copy(catalogue.ROOT / "copier.yml", copy)
    shutil.copytree(catalogue.ROOT / "template", copy / "template")
    return copy


@contextmanager
def _explained(left: str = "") -> Iterator[None]:
    """Copier's failures as one line each, `left` saying what they leave, and without its own warnings."""
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except InteractiveSessionError as error:
        raise SagegenError(
            "the input ended before the last question – add --defaults, or answer with --data KEY=VALUE"
        ) from error
    except KeyboardInterrupt:
        raise
    except (CopierError, ValueError, TypeError, jinja2.TemplateError) as error:
        raise _refusal(error) from error
    except OSError as error:
        # shutil.Error lists the errors of a whole tree: one of them says enough.
        several = isinstance(error, shutil.Error) and error.args[0]
        why = several[0][-1] if several else error.strerror
        if not why:  # a git command of Copier's, whose output ends with the reason
            raise SagegenError(f"git failed: {str(error).strip().splitlines()[-1]}{left}") from error
        raise SagegenError(f"cannot write the repository: {why}{left}") from error


def _refusal(error: Exception) -> SagegenError:
    """Copier's message about an answer, as one that names the question first."""
    if required := re.match(r'Question "(\w+)" is required', str(error)):
        return SagegenError(f"{required[1]} has no default – add --data {required[1]}=VALUE", USAGE)
    found = re.match(r"(?:Invalid choice|Validation error) for (?:question )?'(\w+)': (.*)", str(error), re.S)
    if not found:
        return SagegenError(f"the template cannot be rendered: {error} – please report this")
    name, reason = found.groups()
    if wrong := re.match(r"'(.*)' is not in \[(.*)\]", reason):
        value, allowed = wrong[1], re.findall(r"'([^']*)'", wrong[2])
        return SagegenError(
            f"{name} cannot be {value}: choose {', '.join(allowed)}.{closest(value, allowed)}", USAGE
        )
    return SagegenError(f"{name} is refused: {reason}", USAGE)
