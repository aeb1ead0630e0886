"""Answers that a user gives: on the command line, and in files."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from sagegen import catalogue
from sagegen.errors import USAGE, SagegenError


def parse(data: tuple[str, ...]) -> dict[str, str]:
    """{question: answer} of `--data KEY=VALUE` options."""
    given = {}
    for item in data:
        name, equals, value = item.partition("=")
        if not equals:
            raise SagegenError(f"--data {item} has no value – write --data {item}=VALUE", USAGE)
        given[name] = value
    return given


def read(file: Path) -> dict[str, Any]:
    """Answers from YAML; a generated repository's own .copier-answers.yml will do."""
    return {name: value for name, value in load(file).items() if name not in ("_commit", "_src_path")}


def load(file: Path) -> dict[str, Any]:
    """Everything that an answers file holds."""
    try:
        answers = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SagegenError(f"cannot read {file}: {error.strerror} – name a YAML file", USAGE) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise SagegenError(
            f"{file} is not YAML{where} – write one 'question: answer' per line", USAGE
        ) from error
    if answers is None:
        return {}
    if not isinstance(answers, dict):
        raise SagegenError(f"{file} holds no answers – write one 'question: answer' per line", USAGE)
    return {str(name): value for name, value in answers.items()}


def with_choices(given: dict[str, Any]) -> dict[str, Any]:
    """`given` with the image that base_image names, as in old answers files, as a choice and a name."""
    image = str(given.get("base_image", ""))
    if re.fullmatch(r"python:3\.\d+-slim", image):
        return given | {"base_image": "slim"}
    if re.search("[:/@]", image):  # else it is a choice, perhaps misspelt
        return {"base_image_name": image} | given | {"base_image": "custom"}
    return given


def refuse_wrong(answers: Mapping[str, Any]) -> None:
    """Refuse what Copier accepts (an unknown question, a bool that is none) or fails on without its name."""
    for name, value in answers.items():
        if name not in catalogue.asked():
            raise SagegenError(f"No such question: {name}.{closest(name, catalogue.asked())}", USAGE)
        type_ = catalogue.questions()[name]["type"]
        if type_ == "bool" and str(value).lower() not in ("true", "false"):
            raise SagegenError(f"{name} cannot be {value}: choose true, false.", USAGE)
        # Copier itself turns numbers into text, as in python_version: 3.13.
        if type_ == "str" and (isinstance(value, bool) or not isinstance(value, str | int | float)):
            found = "empty" if value is None else str(value)[:40]
            raise SagegenError(f"{name} must be text, not {found} – write it in quotes", USAGE)


def closest(word: str, known: Iterable[str]) -> str:
    match = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean {match[0]}?" if match else ""
