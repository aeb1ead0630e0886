"""Every contender's medians with their range, one panel for each discipline."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.results import Results
from benchmarks.targets import DISCIPLINES

COLOURS = {"ours": "#2b6cb0", "classic": "#c05621", "ceiling": "#a0aec0", "peer": "#718096"}


def draw(results: Results, file: Path) -> None:
    """Write an SVG."""
    # The same numbers give the same file.
    mpl.rcParams["svg.hashsalt"] = "sagegen"
    names = results.named("ours", "classic", "ceiling", "peer")[::-1]
    roles = {contender.name: contender.role for contender in results.contenders}
    panels = [d for d in DISCIPLINES if any(results.spread(name, d.column) for name in names)][:8]
    columns = 4
    rows = max(1, -(-len(panels) // columns))
    figure = Figure(figsize=(4 * columns, (0.32 * len(names) + 0.9) * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis, panel in zip(axes.flat, panels, strict=False):
        spreads = [results.spread(name, panel.column) for name in names]
        for position, (name, spread) in enumerate(zip(names, spreads, strict=True)):
            if spread is None:
                continue
            median, low, high = (value * panel.scale for value in (spread.median, spread.low, spread.high))
            axis.barh(position, median, color=COLOURS[roles[name]])
            axis.plot([low, high], [position, position], color="black", linewidth=1)
        axis.set_yticks(range(len(names)), names)
        direction = "more" if panel.higher_is_better else "less"
        axis.set_title(f"{panel.title} ({panel.unit}, {direction} is better)", fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, metadata={"Date": None})
