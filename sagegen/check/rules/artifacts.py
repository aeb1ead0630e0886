"""Chapters T and S: what a job leaves for hosting."""

from __future__ import annotations

from sagegen.check.core import Area, Evidence, Verdict, broken, doubtful, passed, rule
from sagegen.check.limits import Limits
from sagegen.check.pages import OUTPUT, SIGNALS
from sagegen.check.scenarios.train import TRAIN


@rule(
    "T-53",
    Area.TRAIN,
    why="Only what lies there at the end becomes model.tar.gz.",
    fix="Save the final artifacts to /opt/ml/model, unpacked: SageMaker makes the archive.",
    page=OUTPUT,
    needs=(TRAIN,),
)
def model_written(evidence: Evidence) -> Verdict:
    run = evidence[TRAIN].succeeded()
    files = {name: file for name, file in run.model.items() if file.kind == "file"}
    if not files:
        return broken("the folder is empty after success", run.line)
    if "model.tar.gz" in files:
        return doubtful("it holds a model.tar.gz: the archive would be packed twice", run.line)
    total = sum(file.size for file in files.values())
    return passed(f"{len(files)} files, {total / 1e6:.2f} MB", files=len(files), bytes=total)


@rule(
    "S-43",
    Area.TRAIN,
    why="Links in model.tar.gz make the creation of the model fail, long after training was paid for.",
    fix="Copy files into /opt/ml/model instead of linking them.",
    page="hosting-faqs",
    needs=(TRAIN,),
)
def no_links(evidence: Evidence) -> Verdict:
    run = evidence[TRAIN].succeeded()
    odd = {name: file for name, file in run.model.items() if file.kind not in ("file", "folder")}
    if odd:
        name, file = next(iter(odd.items()))
        return broken(f"{name} is a {file.kind} to {file.target}", run.line, links=len(odd))
    return passed("none")


@rule(
    "T-55",
    Area.TRAIN,
    why="It is billed until PID 1 exits or MaxRuntime is over.",
    fix="Stop background threads and children; a forgotten daemon keeps the container alive.",
    page=SIGNALS,
    needs=(TRAIN,),
)
def ends_promptly(evidence: Evidence) -> Verdict:

    run = evidence[TRAIN].ended()
    run = evidence[TRAIN].modelled()
    linger = run.exit.finished_at - max(file.modified for file in run.model.values())
    if linger > Limits.make().linger:
        return broken(
            f"{linger:.0f} s between the last artifact and the end", run.line, seconds=round(linger, 1)
        )
    return passed(f"{max(0.0, linger):.1f} s after the last artifact", seconds=round(max(0.0, linger), 1))
