"""Chapter T: Pipe mode and incremental training."""

from __future__ import annotations

from sagegen.check.core import Area, Evidence, Verdict, broken, passed, rule
from sagegen.check.pages import RUNNING
from sagegen.check.scenarios.channels import INCREMENTAL, PIPE


@rule(
    "T-34",
    Area.TRAIN,
    why="The next epoch's FIFO appears late: opening it once and giving up loses the job.",
    fix="Retry until /opt/ml/input/data/CHANNEL_EPOCH exists; close it after the epoch.",
    page=RUNNING,
    needs=(PIPE,),
)
def pipe_mode(evidence: Evidence) -> Verdict:
    run = evidence[PIPE]
    return passed(run.end) if run.ok and run.model else broken(run.end, run.line)


@rule(
    "T-39",
    Area.TRAIN,
    why="The earlier model arrives packed, as /opt/ml/input/data/model/model.tar.gz.",
    fix="Unpack it into a temporary folder and load from there.",
    page="incremental-training",
    needs=(INCREMENTAL,),
)
def incremental(evidence: Evidence) -> Verdict:
    run = evidence[INCREMENTAL].run
    return passed(run.end) if run.ok else broken(run.end, run.line)


@rule(
    "SEC-06",
    Area.TRAIN,
    why="A model from elsewhere with ../ in its paths could overwrite the container's programs.",
    fix='tarfile.extractall(folder, filter="data")',
    page="https://docs.python.org/3/library/tarfile.html#extraction-filters",
    needs=(INCREMENTAL,),
)
def safe_archives(evidence: Evidence) -> Verdict:
    found = evidence[INCREMENTAL]
    return broken("../ in an archive was followed", found.evil.line) if found.escaped else passed("refused")
