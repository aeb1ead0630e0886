"""`sagegen list`: what the template offers.

The JSON is an interface (our own workflow makes its jobs from it): fields are added, never renamed.

    {"version": "0.1.0",
     "frameworks": [{"name", "title", "backends": [{"name", "title"}], "files": [path],
                     "bases": {device: [image]}, "requirements": {device or backend-device: [pin]}}],
     "data" | "devices" | "python_versions": [{"name", "title"}],
     "stacks": [{"name", "title", "requirements": [pin], "apt": [package], "files": [path]}],
     "combinations": [{"id", "group", "answers": {question: value}, "base_image",
                       "exists": bool, "reason": str or null, "proof": object or null}]}

Combinations of one `group` share the heavy layer of their images: build them in one job.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sagegen import __version__, catalogue, proof
from sagegen.catalogue import Combination

#: On a terminal of fewer columns a table breaks words; its cells are printed one below the other.
NARROW = 72


def show(as_json: bool) -> None:
    """Print the catalogue."""
    if as_json:
        print(json.dumps(document(), indent=2))
    else:
        _print(document())


def document() -> dict[str, Any]:
    """The catalogue as plain data; see the top of this module."""
    combinations = catalogue.combinations()
    return {
        "version": __version__,
        "frameworks": [
            _framework(name, title, [c for c in combinations if c.answers["framework"] == name])
            for name, title in catalogue.choices("framework").items()
        ],
        "data": _named("data"),
        "devices": _named("device"),
        "stacks": [
            _stack(name, title, next(c for c in combinations if c.answers["stack"] == name))
            for name, title in catalogue.choices("stack").items()
        ],
        "python_versions": _named("python_version"),
        "combinations": [
            {
                "id": c.id,
                "group": c.group,
                "answers": c.answers,
                "base_image": c.context["from_image"],
                "exists": c.reason is None,
                "reason": c.reason,
                "proof": proof.proofs().get(c.id),
            }
            for c in combinations
        ],
    }


def _named(question: str) -> list[dict[str, str]]:
    return [{"name": name, "title": title} for name, title in catalogue.choices(question).items()]


def _framework(name: str, title: str, own: list[Combination]) -> dict[str, Any]:
    spec = own[0].context["fw"]
    bases: dict[str, list[str]] = {}
    requirements: dict[str, list[str]] = {}
    for c in own:
        device, backend = c.answers["device"], c.answers.get("keras_backend")
        offered = bases.setdefault(device, [])
        if c.reason is None and c.context["from_image"] not in offered:
            offered.append(c.context["from_image"])
        requirements[f"{backend}-{device}" if backend else device] = _pins(c.context["requirements"])
    if "gpu" in bases:
        bases["gpu"] += sorted({c.context["build"]["cuda_image"] for c in own})
    backends = {c.answers["keras_backend"] for c in own if "keras_backend" in c.answers}
    return {
        "name": name,
        "title": title,
        "backends": [backend for backend in _named("keras_backend") if backend["name"] in backends],
        "bases": bases,
        "requirements": requirements,
        "files": spec["files"],
    }


def _stack(name: str, title: str, example: Combination) -> dict[str, Any]:
    spec = example.context["st"]
    return {
        "name": name,
        "title": title,
        "requirements": _pins(spec["requirements"]),
        "apt": spec["apt"],
        "files": spec["files"],
    }


def _pins(requirements: Iterable[dict[str, str]]) -> list[str]:
    return [requirement["pin"] for requirement in requirements]


def _print(catalogue_: dict[str, Any]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)

    def table(title: str, *columns: str) -> Table:
        made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
        for column in columns:
            made.add_column(column, overflow="fold")
        return made

    def show(made: Table) -> None:
        if console.width >= NARROW:
            console.print(made)
            return
        console.print(Text(f"{made.title}\n", style="bold"))
        for first, *cells in zip(*(list(column.cells) for column in made.columns), strict=True):
            console.print(Text(str(first), style="bold"))
            for column, cell in zip(made.columns[1:], cells, strict=True):
                for line in str(cell).splitlines():
                    console.print(Text(f" {column.header}: {line}"))

    frameworks = table("Frameworks", "framework", "for", "installs", "builds on")
    for framework in catalogue_["frameworks"]:
        for variant, pins in framework["requirements"].items():
            bases = framework["bases"][variant.rsplit("-", 1)[-1]]
            frameworks.add_row(framework["name"], variant, Text("\n".join(pins)), Text("\n".join(bases)))
    stacks = table("Serving stacks", "stack", "is", "installs")
    for stack in catalogue_["stacks"]:
        installs = Text("\n".join(stack["requirements"] + stack["apt"]))
        stacks.add_row(stack["name"], stack["title"], installs)
    names = [stack["name"] for stack in catalogue_["stacks"]]
    combinations = table("Combinations", "", *names, "why not")
    groups: dict[str, dict[str, dict[str, Any]]] = {}
    for c in catalogue_["combinations"]:
        groups.setdefault(c["group"], {})[c["answers"]["stack"]] = c
    for group, cells in groups.items():
        reasons = dict.fromkeys(c["reason"] for c in cells.values() if c["reason"])
        combinations.add_row(group, *(_cell(cells[name]) for name in names), Text("; ".join(reasons)))
    for made in (frameworks, stacks, combinations):
        show(made)
    console.print(Text(proof.standing()), soft_wrap=True)
    for axis in ("data", "devices", "python_versions"):
        values = ", ".join(value["name"] for value in catalogue_[axis])
        console.print(Text(f"{axis.replace('_', ' ').capitalize()}: {values}"))


def _cell(combination: dict[str, Any]) -> Any:
    from rich.text import Text

    if not combination["exists"]:
        return Text("no", style="red")
    if known := combination["proof"]:
        return Text(f"yes, {known['tests']} tests {known['date']}", style="green")
    return Text("yes", style="green")
