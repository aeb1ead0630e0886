"""A state machine as SVG: states by their distance from the start, an arrow for each way on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

WIDTH, HEIGHT, ACROSS, DOWN = 150, 30, 20, 40


def drawing(machine: Mapping[str, Any], colours: Mapping[str, str]) -> str:
    """The graph. `colours` are those of states, by name."""
    depth = {machine["StartAt"]: 0}
    order = [machine["StartAt"]]
    for name in order:
        for target in targets(machine["States"][name]):
            if target not in depth:
                depth[target] = depth[name] + 1
                order.append(target)
    rows: dict[int, list[str]] = {}
    for name in order:
        rows.setdefault(depth[name], []).append(name)
    places = {
        name: (10 + column * (WIDTH + ACROSS), 10 + row * (HEIGHT + DOWN))
        for row, names in rows.items()
        for column, name in enumerate(names)
    }
    width = 20 + max(len(names) for names in rows.values()) * (WIDTH + ACROSS) + ACROSS
    height = 20 + len(rows) * (HEIGHT + DOWN)
    parts = [
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img"'
        ' font-size="12" text-anchor="middle" fill="none" stroke="currentColor">'
        '<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7"'
        ' orient="auto"><path d="M0 0L10 5L0 10z" fill="currentColor"/></marker></defs>'
    ]
    for name in order:
        for target in targets(machine["States"][name]):
            parts.append(f'<path d="{_way(places[name], places[target])}" marker-end="url(#arrow)"/>')
    for name, (left, top) in places.items():
        colour = colours.get(name, "none")
        kind = machine["States"][name]["Type"]
        parts.append(
            f'<g><title>{escape(kind)}</title><rect x="{left}" y="{top}" width="{WIDTH}" height="{HEIGHT}"'
            f' rx="6" fill="{colour}"/><text x="{left + WIDTH / 2}" y="{top + 19}" fill="currentColor"'
            f' stroke="none">{escape(name[:22])}</text></g>'
        )
    return "".join([*parts, "</svg>"])


def _way(start: tuple[int, int], end: tuple[int, int]) -> str:
    middle = WIDTH // 2
    if end[1] > start[1]:
        return f"M{start[0] + middle} {start[1] + HEIGHT}L{end[0] + middle} {end[1]}"
    side = start[0] + WIDTH
    return (
        f"M{side} {start[1] + HEIGHT // 2}C{side + 40} {start[1]} {end[0] + WIDTH + 40} {end[1] + HEIGHT}"
        f" {end[0] + WIDTH} {end[1] + HEIGHT // 2}"
    )


def targets(state: Mapping[str, Any]) -> Iterator[str]:
    """The states that may come after one."""
    for one in (state, *state.get("Choices", ()), *state.get("Catch", ())):
        if "Next" in one:
            yield one["Next"]
    if "Default" in state:
        yield state["Default"]
