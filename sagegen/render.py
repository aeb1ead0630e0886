"""Render the template: the only module that talks to Copier, by its public functions only."""

from __future__ import annotations

import atexit
import difflib
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import copier
import jinja2
import yaml
from copier.errors import CopierError, InteractiveSessionError

from sagegen import catalogue
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
    try:
        copier.run_copy(
            str(template()), dest, data=data, user_defaults=dict(proposed or {}), defaults=not ask, quiet=True
        )
    except InteractiveSessionError as error:
        raise SagegenError(
            "the input ended before the last question – add --defaults, or answer with --data KEY=VALUE"
        ) from error
    except KeyboardInterrupt:
        raise
    except (CopierError, ValueError, TypeError, jinja2.TemplateError) as error:
        raise _explained(error) from error
    except OSError as error:
        # shutil.Error lists the errors of a whole tree: one of them says enough.
        several = isinstance(error, shutil.Error) and error.args[0]
        why = several[0][-1] if several else error.strerror or error
        raise SagegenError(f"cannot write the repository: {why} – nothing was left behind") from error
    recorded = yaml.safe_load((dest / ANSWERS_FILE).read_text())
    return {name: value for name, value in recorded.items() if not name.startswith("_")}


def refuse_wrong(answers: Mapping[str, Any]) -> None:
    """Refuse what Copier accepts (an unknown question, a bool that is none) or fails on without its name."""
    for name, value in answers.items():
        if name not in catalogue.asked():
            raise SagegenError(f"No such question: {name}.{_closest(name, catalogue.asked())}", USAGE)
        type_ = catalogue.questions()[name]["type"]
        if type_ == "bool" and str(value).lower() not in ("true", "false"):
            raise SagegenError(f"{name} cannot be {value}: choose true, false.", USAGE)
        # Copier itself turns numbers into text, as in python_version: 3.13.
        if type_ == "str" and (isinstance(value, bool) or not isinstance(value, str | int | float)):
            found = "empty" if value is None else str(value)[:40]
            raise SagegenError(f"{name} must be text, not {found} – write it in quotes", USAGE)


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


def _explained(error: Exception) -> SagegenError:
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
            f"{name} cannot be {value}: choose {', '.join(allowed)}.{_closest(value, allowed)}", USAGE
        )
    return SagegenError(f"{name} is refused: {reason}", USAGE)


def _closest(word: str, known: Iterable[str]) -> str:
    match = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean {match[0]}?" if match else ""
