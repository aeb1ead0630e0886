"""The graph of a pipeline's state machine, from its definition: Mermaid for the README, and an SVG file.

`python -m sagegen.machine_graph` writes both for each machine that the template has. A solid line is the
way of a run, and a dashed one is an error that a state catches.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from sagegen import catalogue
from sagegen.local.templates import parsed
from sagegen.render import render

FOLDER = catalogue.ROOT / "template/pipeline"
#: {file: the answer that has this machine}.
MACHINES = {"endpoint": "realtime", "model": "batch"}
WIDTH, HEIGHT, ROW, MIDDLE, SIDE = 180, 34, 58, 240, 105
ASIDE, BUS, LOOP = 450, 620, 10  # where a failure of one state stands, and lines run down and back up


def definition(template: str) -> dict[str, Any]:
    """The machine of a CloudFormation template; references are replaced by a 1."""
    text = parsed(template)["Resources"]["Machine"]["Properties"]["DefinitionString"]["Fn::Sub"]
    return json.loads(re.sub(r"\$\{[^}]*\}", "1", text))  # type: ignore[no-any-return]


def edges(machine: dict[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """(from, to, whether an error leads there) of each way between states, once."""
    for name, state in machine["States"].items():
        ways = [(one["Next"], False) for one in (state, *state.get("Choices", ())) if "Next" in one]
        ways += [(state["Default"], False)] if "Default" in state else []
        ways += [(one["Next"], True) for one in state.get("Catch", ())]
        yield from dict.fromkeys((name, to, caught) for to, caught in ways)


def mermaid(machine: dict[str, Any]) -> str:
    """A flowchart, as GitHub draws it in a README."""
    shapes = {"Choice": "{{{}}}", "Succeed": "([{}])", "Fail": "([{}])", "Wait": "[/{}/]"}
    ids = {name: re.sub(r"\W", "", name) for name in machine["States"]}
    lines = ["flowchart TD"]
    for name, state in machine["States"].items():
        box = shapes.get(state["Type"], "[{}]").format(f'"{name}"')
        lines.append(f"  {ids[name]}{box}")
    lines += [f"  {ids[a]} {'-.->' if caught else '-->'} {ids[b]}" for a, b, caught in edges(machine)]
    return "\n".join(lines) + "\n"


def svg(machine: dict[str, Any]) -> str:
    """A drawing: the way of a run from top to bottom, loops on the left, errors on the right."""
    states, order = machine["States"], list(machine["States"])
    ways = list(edges(machine))
    before: dict[str, list[str]] = {name: [] for name in order}
    for a, b, _ in ways:
        if order.index(a) < order.index(b):
            before[b].append(a)
    row: dict[str, int] = {}
    place: dict[str, tuple[int, int]] = {}
    for name in order:
        row[name] = max((row[a] + 1 for a in before[name]), default=0)
    fails = {name: len(before[name]) > 1 for name in order if states[name]["Type"] == "Fail"}
    for name, common in fails.items():  # beside the one state that leads there, or below all that do
        row[name] = max(row.values()) if common else row[before[name][0]]
        place[name] = (BUS if common else ASIDE, 20 + row[name] * ROW)
    for name in order:
        beside = [one for one in order if row[one] == row[name] and one not in fails]
        x = MIDDLE + (2 * beside.index(name) - len(beside) + 1) * SIDE if name in beside else 0
        if beside == [name] and [states[one]["Type"] for one in before[name]] == ["Choice"]:
            x = place[before[name][0]][0]
        place.setdefault(name, (x, 20 + row[name] * ROW))
    drawn = [_way(place, a, b, caught, b in fails) for a, b, caught in ways]
    boxes = [_box(name, states[name], *place[name]) for name in order]
    drawing = "\n".join(drawn + boxes)
    height = 30 + (max(row.values()) + 1) * ROW
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 {height}" font-family="sans-serif"'
        ' font-size="13">\n<defs><marker id="end" markerWidth="8" markerHeight="8" refX="7" refY="4"'
        ' orient="auto"><path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n{drawing}\n</svg>\n'
    )


def _way(place: dict[str, tuple[int, int]], a: str, b: str, caught: bool, fails: bool) -> str:
    (x, y), (to_x, to_y) = place[a], place[b]
    if fails:  # along the row to the right, then down
        down = f"H{to_x}V{to_y - 1}" if to_y > y else f"H{to_x - WIDTH // 2 - 1}"
        path = f"M{x + WIDTH // 2} {y + HEIGHT // 2}{down}"
    elif to_y > y:
        path = f"M{x} {y + HEIGHT}L{to_x} {to_y - 1}"
    else:  # back, around the left
        left, middle = x - WIDTH // 2, to_y + HEIGHT // 2
        path = f"M{left} {y + HEIGHT // 2}H{LOOP}V{middle}H{to_x - WIDTH // 2 - 1}"
    dashes = ' stroke-dasharray="5 4"' if caught else ""
    return f'<path d="{path}" fill="none" stroke="#555"{dashes} marker-end="url(#end)"/>'


def _box(name: str, state: dict[str, Any], x: int, y: int) -> str:
    fill = {"Choice": "#fff4d6", "Succeed": "#dff5e1", "Fail": "#fde2e2", "Wait": "#eee"}
    round_ = HEIGHT // 2 if state["Type"] in ("Succeed", "Fail") else 6
    return (
        f'<rect x="{x - WIDTH // 2}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="{round_}"'
        f' fill="{fill.get(state["Type"], "#e8f0fe")}" stroke="#555"/>'
        f'<text x="{x}" y="{y + 22}" text-anchor="middle">{escape(name)}</text>'
    )


def graphs() -> Iterator[tuple[Path, str]]:
    """Each file of graphs and what belongs into it."""
    for file, hosting in MACHINES.items():
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "repository"
            render(folder, {"deploy": "pipeline", "hosting": hosting})
            machine = definition((folder / "pipeline/template.yaml").read_text(encoding="utf-8"))
        yield FOLDER / f"{file}.mmd", mermaid(machine)
        yield FOLDER / f"{file}.svg", svg(machine)


if __name__ == "__main__":
    for path, text in graphs():
        path.write_text(text)
