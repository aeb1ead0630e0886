"""The catalogue: what the template offers, read from its own questions and specs.

Nothing here knows a framework or a stack by name. A question with choices that decides the image is an axis,
except the base image: what is proven is proven on the default one. The questions about AWS come after these.
A combination exists when every choice's own validator is silent, so `sagegen list`, the matrix and the
prompts can only ever agree. One axis, `data`, multiplies nothing: see `samples`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

import jinja2
import yaml

_PACKAGED = Path(__file__).parent / "_template"
#: The template: inside the wheel, or the checkout around the package.
ROOT = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parent.parent


@dataclass(frozen=True)
class Combination:
    """One value for every axis, and why the template refuses it, if it does."""

    answers: dict[str, str]
    #: Everything the questions know once these answers are given (fw, st, from_image, …).
    context: dict[str, Any] = field(repr=False)
    reason: str | None = None

    @property
    def id(self) -> str:
        """`keras-jax-gpu-flask`; see `identify`."""
        return identify(self.answers)

    @property
    def group(self) -> str:
        """What decides the heavy layer of the image: combinations of a group share it."""
        return identify(self.answers, "stack")


def identify(answers: Mapping[str, Any], *without: str) -> str:
    """`keras-jax-gpu-flask`; Python and data are appended if not the default (`-py3.11`, `-text`)."""
    names = ("framework", "keras_backend", "device", "stack")
    parts = [answers[name] for name in names if name in answers and name not in without]
    for name, prefix in (("python_version", "py"), ("data", "")):
        default = questions()[name]["default"]
        value = answers.get(name, default)  # a repository of an earlier release has no `data`
        parts += [f"{prefix}{value}"] if value != default else []
    return "-".join(parts)


@cache
def questions() -> dict[str, dict[str, Any]]:
    """Every question of the template in the order it is asked, computed ones included."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((ROOT / "template/questions").glob("*.yml")):
        found |= yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


@cache
def config() -> dict[str, Any]:
    """The template's settings: the first document of copier.yml, the others being includes."""
    settings: dict[str, Any] = yaml.safe_load(
        (ROOT / "copier.yml").read_text(encoding="utf-8").split("\n---", 1)[0]
    )
    return settings


def asked() -> list[str]:
    """The questions that a user may answer: their names are sagegen's API."""
    return [name for name, question in questions().items() if question.get("when") is not False]


def axes() -> list[str]:
    """The questions whose choices make the combinations."""
    decide_the_image = takewhile(lambda name: name != "aws_region", asked())
    return [name for name in decide_the_image if "choices" in questions()[name] and name != "base_image"]


def choices(question: str) -> dict[str, str]:
    """{value: title} of a question."""
    return {value: title for title, value, _ in _choices(questions()[question])}


@cache
def combinations() -> list[Combination]:
    """Every combination of the axes but `data`, refused ones included, in the order of the questions."""
    return _product(data=questions()["data"]["default"])


@cache
def samples() -> list[Combination]:
    """Every framework and backend with each other kind of data; all else has its default.

    A kind of data decides the model and the payloads. No stack, device or Python changes them, and one proof
    holds for all.
    """
    held = {name: questions()[name]["default"] for name in ("device", "python_version", "stack")}
    kinds = list(choices("data"))[1:]
    return [c for kind in kinds for c in _product(data=kind, **held) if c.reason is None]


def provable() -> list[Combination]:
    """What the matrix proves: every combination, and every framework with each other kind of data."""
    return existing() + samples()


@cache
def product() -> list[Combination]:
    """Every combination of all axes that can be generated, `data` included."""
    return [combination for combination in _product() if combination.reason is None]


def existing() -> list[Combination]:
    """The combinations that can be generated."""
    return [combination for combination in combinations() if combination.reason is None]


def default() -> Combination:
    """The combination that answers every question with its default."""
    return next(
        c for c in existing() if all(questions()[name]["default"] == v for name, v in c.answers.items())
    )


def covering() -> list[Combination]:
    """The default combination and as few others as show every value of every axis at least once."""
    rest = existing() + samples()
    missing = {pair for combination in rest for pair in combination.answers.items()}
    shown: list[Combination] = []
    while missing:
        # The first of all combinations holds every default, for choices begin with theirs.
        best = max(rest, key=lambda c: len(missing & c.answers.items())) if shown else default()
        shown.append(best)
        missing -= best.answers.items()
    return shown


def _product(**held: str) -> list[Combination]:
    """Every combination of the axes, refused ones included, with `held` as the one value of an axis."""
    environment = _environment()
    found = [Combination({}, {})]
    for name, question in questions().items():
        found = [
            after
            for before in found
            for after in _ask(environment, name, question, before)
            if name not in held or after.answers.get(name) == held[name]
        ]
    return found


def _ask(
    environment: jinja2.Environment, name: str, question: dict[str, Any], before: Combination
) -> Iterator[Combination]:
    """The combinations that follow when `name` is asked next, as Copier would ask it."""

    def rendered(value: Any) -> Any:
        return environment.from_string(value).render(before.context) if isinstance(value, str) else value

    applies = rendered(question.get("when", True)) in (True, "True")
    if applies and name in axes():
        for _, value, validator in _choices(question):
            reason = " ".join(rendered(validator).split())
            yield Combination(
                {**before.answers, name: value},
                {**before.context, name: value},
                before.reason or reason or None,
            )
        return
    default = rendered(question.get("default"))
    value = default if question["type"] == "str" or default is None else _load(str(default))
    yield Combination(before.answers, {**before.context, name: value}, before.reason)


def _choices(question: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(title, value, validator) of each choice, from either of Copier's two spellings."""
    for title, choice in question["choices"].items():
        if isinstance(choice, dict):
            yield title, choice["value"], choice.get("validator", "")
        else:
            yield title, choice, ""


@cache
def _load(text: str) -> Any:
    return yaml.safe_load(text)


def _environment() -> jinja2.Environment:
    """Jinja as Copier sets it up for this template."""
    options = {name: value for name, value in config()["_envops"].items() if name != "undefined"}
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROOT),
        undefined=jinja2.StrictUndefined,
        extensions=["jinja2_ansible_filters.AnsibleCoreFiltersExtension"],
        **options,
    )
    environment.globals["UNSET"] = ""  # Copier's word for "no default"
    return environment
