"""Pages that come from the code: questions, settings, the contract's rules, and what was proven.

They are written into docs/reference/ and docs/proof.md, which git ignores. A setting that this module does not
describe, and a description of one that is gone, end the build.
"""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sagegen import catalogue, proof
from sagegen.catalogue import Combination
from sagegen.check import contract, core

ROOT = Path(__file__).parent.parent
#: What sets each environment variable that the image reads, beside those in a generated README's table.
SETTINGS = {
    "SAGEMAKER_MAX_PAYLOAD_IN_MB": "largest request body in MiB; a transform job sets it, and 0 means any size",
    "SAGEMAKER_BATCH": "`true` in a transform job, set by SageMaker: the mode is `batch`",
    "SAGEMAKER_BATCH_STRATEGY": "what GET /execution-parameters proposes; without it, SageMaker chooses",
    "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": "what GET /execution-parameters proposes; default: the requests that "
    "all workers handle at a time, at most 100 MB in flight",
    "SAGEMAKER_PROGRAM": "a script that a training job brings in place of `src/model.py`; an endpoint refuses it",
    "PROCESSES_PER_HOST": "processes that train on each host of a job; default: one for each GPU, or one",
    "SAGEMAKER_BIND_TO_PORT": "port of /ping and /invocations; default 8080",
    "SAGEMAKER_BASE_DIR": "folder in place of /opt/ml, for tests",
}
#: Set by the image for its own processes.
INTERNAL = {"PROMETHEUS_MULTIPROC_DIR", "RANK", "LOCAL_WORLD_SIZE"}


def write(folder: Path) -> None:
    """Write every generated page below `folder`."""
    (folder / "reference").mkdir(exist_ok=True)
    pages = {
        "reference/questions.md": questions(),
        "reference/settings.md": settings(),
        "reference/contract.md": rules(),
        "reference/command-line.md": COMMAND_LINE,
        "changelog.md": CHANGELOG,
        "proof.md": proven(folder / "_static"),
    }
    for name, text in pages.items():
        path = folder / name
        if not path.is_file() or path.read_text() != text:  # what is unchanged is not built again
            path.write_text(text)


COMMAND_LINE = """\
# Command line

Every failure is one line on standard error. Exit codes: 0 success, 1 it failed (or there is an update, a conflict
or a broken rule), 2 the command line or an answer is wrong, 130 interrupted.

```{eval-rst}
.. click:: sagegen.cli:cli
   :prog: sagegen
   :nested: full
```
"""

CHANGELOG = """\
```{include} ../CHANGELOG.md
:relative-docs: docs/
```
"""


def questions() -> str:
    """Every question that `sagegen new` asks, with its choices and defaults."""
    lines = [
        "# Questions",
        "",
        "What `sagegen new` asks, in this order. Answer on the command line with `--data QUESTION=ANSWER`, or in a "
        "YAML file with `--answers FILE`. Names and values never change, so an old answers file keeps working.",
        "",
    ]
    for name in catalogue.asked():
        question = catalogue.questions()[name]
        lines += [f"## `{name}`", "", f"{question['help']}.", ""]
        if name == "base_image":
            lines += ["`slim`, `cuda` (on GPU) or `custom`; `base_image_name` names a custom image.", ""]
        elif "choices" in question:
            lines += ["| answer | means |", "|---|---|"]
            lines += [f"| `{value}` | {title} |" for value, title in catalogue.choices(name).items()]
            lines += [""]
        default = question.get("default")
        if default is not None and "{" not in str(default):
            shown = str(default).lower() if isinstance(default, bool) else default
            lines += [f"Default: `{shown}`.", ""]
        if "when" in question:
            asked = re.sub(r"[{}]", "", str(question["when"])).strip()
            lines += [f"Asked where `{asked}`.", ""]
    refused = Counter(c.reason for c in catalogue.combinations() if c.reason)
    lines += ["## What cannot be combined", "", "| combinations | why not |", "|---|---|"]
    lines += [f"| {count} | {reason} |" for reason, count in refused.items()]
    return "\n".join(lines) + "\n"


def settings() -> str:
    """Every environment variable that the image reads."""
    code = "\n".join(path.read_text() for path in (ROOT / "template/project/src/byoc").rglob("*.py"))
    read = set(re.findall(r'environ(?:ment)?\.get\(\s*"([A-Z_]+)"', code))
    read |= set(re.findall(r'_whole\(\s*environment, "([A-Z_]+)"', code))
    readme = (ROOT / "template/project/README.md.jinja").read_text()
    table = re.findall(r"^\| `([A-Z_]+)` \| (.+) \|$", readme, re.MULTILINE)
    known = {name: re.sub(r"\{\{.*?\}\}", "", meaning) for name, meaning in table} | SETTINGS
    if wrong := (read - INTERNAL) ^ known.keys():
        raise SystemExit(
            f"docs/reference.py: these settings are read but not described, or the reverse: {wrong}"
        )
    lines = [
        "# Settings",
        "",
        "Environment variables of a model or a job. Set them in `Environment` of CreateModel or CreateTrainingJob. "
        "An empty value counts as unset. A value that cannot work ends the start with exit code 78 and one line that "
        "names the variable. The log of a start shows what is in force.",
        "",
        "| variable | meaning |",
        "|---|---|",
        *(f"| `{name}` | {meaning} |" for name, meaning in known.items()),
        "",
        "Hyperparameters are not settings: they are fields of `Hyperparameters` in your `src/model.py`. What a "
        "request carries is `INPUTS` there: [your model](../your-model.md).",
    ]
    return "\n".join(lines) + "\n"


def rules() -> str:
    """The contract, row by row, with the story of each rule."""
    known = {rule.id: rule for rule in core.rules()}
    rows = contract.rows().values()
    lines = [
        "# SageMaker's contract",
        "",
        f"{len(rows)} rows: what Amazon SageMaker asks of a container. `sagegen check IMAGE` proves {len(known)} of "
        "them on any image; the others say why there is no rule. `sagegen check --explain ID` prints these stories.",
        "",
        "**MUST** is documented as a requirement, **MUST\\*** counts where the image claims the feature, **ENV** is "
        "what the platform does: a breach fails the check. **REC**, **OPT** and **OBS** (observed, not documented) "
        "warn. **API**, **INFO** and **UNK** are never tested.",
        "",
    ]
    text = contract.FILE.read_text(encoding="utf-8")
    chapters = {
        row: chapter.partition("\n")[0]
        for chapter in text.split("\n## ")[1:]
        for row in re.findall(r"^\| ([A-Z]+-\d+) \|", chapter, re.MULTILINE)
    }
    chapter = ""
    for row in rows:
        rule = known.get(row.id)
        if chapters[row.id] != chapter:
            chapter = chapters[row.id]
            lines += [f"## {chapter}", ""]
        level = row.level.replace("*", "\\*")
        lines += [f"### {row.id} {escaped(row.requirement)}", ""]
        if rule is None:
            lines += [f"**{level}**. No rule: {escaped(row.how)}.", ""]
            continue
        lines += [
            f"**{level}**. {escaped(rule.why)}",
            "",
            f"*How to fix:* {escaped(rule.fix)} [Read more]({rule.url})",
            "",
        ]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Text of the code as Markdown that shows it as it is."""
    return re.sub(r"([<>*_|\[\]])", r"\\\1", text) if "`" not in text else text.replace("<", "\\<")


def proven(pictures: Path) -> str:
    """Every combination that is claimed, with what the last complete matrix measured."""
    recorded = json.loads(proof.FILE.read_text()) if proof.FILE.is_file() else {}
    known: dict[str, dict[str, Any]] = recorded.get("combinations", {})
    matrix = ROOT / "build/matrix.json"
    measured = {}
    if matrix.is_file():
        measured = {one["id"]: one for one in json.loads(matrix.read_text())["combinations"]}
    speed = throughput()
    lines = ["# What is proven", "", proof.standing(), ""]
    if known and recorded.get("digest") != proof.digest():
        lines += [
            "```{admonition} The template has changed since",
            ":class: warning",
            "",
            "A proof counts for the template that it was made with. The numbers below are of the last complete matrix, "
            "not of the template as it is now.",
            "```",
            "",
        ]
    lines += [
        "For each combination the matrix renders the repository, builds the image, runs its tests and asks "
        "`sagegen check` every rule. A dash means: not measured. Throughput is that of `make bench` "
        "([performance](performance.md)), which measures the default framework. Sizes of GPU images include CUDA.",
        "",
        "```{image} _static/image-sizes.svg",
        ":alt: Size of each image",
        "```",
        "",
    ]
    starts = {c.id: seconds for c in catalogue.provable() if (seconds := cold_start(c.id, known, measured))}
    plot(
        pictures / "image-sizes.svg",
        "Image size, GB",
        {c.id: known[c.id]["image_bytes"] / 1e9 for c in catalogue.provable() if c.id in known},
    )
    if starts:
        plot(pictures / "cold-starts.svg", "Cold start to the first answer, s", starts)
        lines += ["```{image} _static/cold-starts.svg", ":alt: Cold start of each image", "```", ""]
    head = ("combination", "proven on", "image", "cold start", "tests", "rules", "requests/s", "versions now")
    rows = [
        row(c, known.get(c.id, {}), cold_start(c.id, known, measured), speed) for c in catalogue.provable()
    ]
    lines += [
        '<div class="table-wrapper"><table class="docutils proof"><thead><tr>',
        *(f"<th>{name}</th>" for name in head),
        "</tr></thead><tbody>",
        *("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>" for cells in rows),
        "</tbody></table></div>",
    ]
    return "\n".join(lines) + "\n"


def row(
    c: Combination, known: Mapping[str, Any], start: float | None, speed: Mapping[str, str]
) -> Iterable[str]:
    pins = [one["pin"] for one in [*c.context["requirements"], *c.context["st"]["requirements"]]]
    versions = ", ".join(html.escape(pin.replace("==", " ")) for pin in pins)
    yield f"<code>{c.id}</code>"
    yield known.get("date", "not yet")
    yield f"{known['image_bytes'] / 1e9:.2f} GB" if known else "–"
    yield f"{start:.1f} s" if start else "–"
    yield str(known.get("tests", "–"))
    yield str(known.get("rules", "–"))
    yield speed.get(c.id, "–")
    yield f"<details><summary>Python {c.answers['python_version']}</summary>{versions}</details>"


def cold_start(name: str, known: Mapping[str, Any], measured: Mapping[str, Any]) -> float | None:
    for source in (measured, known):
        if seconds := source.get(name, {}).get("cold_start_seconds"):
            return float(seconds)
    return None


def throughput() -> dict[str, str]:
    """{combination: requests/s of one CSV row} from the table that `make bench` wrote."""
    text = (ROOT / "docs/performance.md").read_text()
    found = re.findall(r"^\| sagegen, (\w+) stack \| ([\d,]+)", text, re.MULTILINE)
    default = catalogue.default()
    return {catalogue.identify({**default.answers, "stack": stack}): number for stack, number in found}


def plot(file: Path, title: str, values: Mapping[str, float]) -> None:
    """Horizontal bars, a colour for each framework, readable on a light and on a dark page."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    colours = dict(
        zip(catalogue.choices("framework"), ("#2a9d8f", "#e76f51", "#e9a23b", "#5b7fd1"), strict=False)
    )
    names = list(values)[::-1]
    with pyplot.rc_context({"svg.hashsalt": "sagegen", "font.size": 9, "text.color": "#7a8793"}):
        figure, axes = pyplot.subplots(figsize=(7.2, 0.24 * max(len(names), 1) + 0.8))
        bars = axes.barh(
            names, [values[name] for name in names], color=[colours[name.split("-")[0]] for name in names]
        )
        axes.bar_label(bars, fmt="%.1f", padding=3, color="#7a8793", fontsize=8)
        axes.set_title(title, loc="left", color="#7a8793", fontsize=11)
        axes.tick_params(colors="#7a8793", length=0)
        axes.margins(y=0.01)
        axes.xaxis.set_visible(False)
        for side in axes.spines.values():
            side.set_visible(False)
        figure.tight_layout()
        figure.savefig(file, transparent=True, metadata={"Date": None})
        pyplot.close(figure)
