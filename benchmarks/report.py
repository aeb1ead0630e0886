"""The run as Markdown, for the terminal and for docs/performance.md."""

import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.results import Results, Spread
from benchmarks.targets import DISCIPLINES, STACKS, TARGETS, rivals

BEGIN, END = "<!-- benchmark: begin, written by make bench -->", "<!-- benchmark: end -->"


def markdown(results: Results, plot: str = "") -> str:
    """All tables."""
    parts = [_where(results), _targets(results), _contenders(results), _lead(results), _notes(results)]
    if plot:
        parts.insert(1, f"![Every contender, one panel for each discipline]({plot})")
    return "\n\n".join(part for part in parts if part) + "\n"


def write_into(page: Path, text: str) -> None:
    """Replace the generated part of a page, or add one: the prose around it is a person's."""
    block = f"{BEGIN}\n{text}{END}"
    old = page.read_text(encoding="utf-8") if page.exists() else "# Performance\n"
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    new = pattern.sub(lambda _: block, old) if pattern.search(old) else f"{old.rstrip()}\n\n{block}\n"
    page.write_text(new, encoding="utf-8")


def _where(results: Results) -> str:
    machine = ", ".join(f"{name} {value}" for name, value in results.machine.items())
    cpus, load_cpus = results.options["cpus"], results.options["load_cpus"]
    shared = ", the same ones: it takes its share from everyone" if cpus == load_cpus else ""
    return (
        f"Generated {results.generated} on {machine}."
        f" Medians [lowest–highest] of {len(results.rounds)} rounds of {results.options['seconds']:g} s,"
        f" all contenders in turn within each round, on CPUs {cpus};"
        f" the load generator ran on CPUs {load_cpus}{shared}."
        f" Just after {results.disturbed} of {results.windows} measurements a fixed loop took a fifth longer"
        " on these CPUs than at its best."
    )


def _targets(results: Results) -> str:
    ours = [stack for stack in STACKS if stack in results.named("ours")]
    head = ["ratio"]
    for stack in ours:
        head += [f"{stack}: required", "measured", "reached"]
    rows = []
    for target in TARGETS:
        row = [target.title]
        for stack in ours:
            seen = target.seen(results, stack)
            reached = {True: "yes", False: "**no**", None: "–"}[target.reached(stack, seen)]
            row += [target.requirement(stack), _spread(seen), reached]
        rows.append(row)
    return table(head, rows) if ours else ""


def _contenders(results: Results) -> str:
    names = results.named("ours", "classic", "ceiling", "peer")
    titles = {c.name: f"{c.title} {results.versions.get(c.name) or ''}".strip() for c in results.contenders}
    head = ["", *(f"{d.title}, {d.unit}" for d in DISCIPLINES)]
    rows = [
        [titles[name], *(_spread(results.spread(name, d.column), d.scale) for d in DISCIPLINES)]
        for name in names
    ]
    return table(head, rows)


def _lead(results: Results) -> str:
    """How far ahead of the best of the others: above 1 is ahead."""
    ours = [stack for stack in STACKS if stack in results.named("ours")]
    rows = []
    for discipline in DISCIPLINES:
        row = [discipline.title]
        for stack in ours:
            best = rivals(results, stack, discipline)
            row.append("–" if best is None else f"{_bold(best[1])} × {best[0]}")
        if set(row[1:]) - {"–"}:
            rows.append(row)
    return table(["ahead of the best other", *ours], rows) if rows else ""


def _notes(results: Results) -> str:
    return "\n".join(f"- {name}: {reason}" for name, reason in results.failures.items())


def _bold(lead: float) -> str:
    return _number(lead) if lead >= 1 else f"**{_number(lead)}**"


def _spread(spread: Spread | None, scale: float = 1) -> str:
    if spread is None:
        return "–"
    median, low, high = (_number(value * scale) for value in (spread.median, spread.low, spread.high))
    return f"{median} [{low}–{high}]"


def _number(value: float) -> str:
    """Three digits say all that a benchmark knows."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
