"""Chapter T: signals, spot instances and checkpoints."""

from __future__ import annotations

from sagegen.check.core import Area, Evidence, Verdict, broken, doubtful, passed, rule, skipped
from sagegen.check.jobs import Run
from sagegen.check.limits import Limits
from sagegen.check.pages import DOCKERFILE
from sagegen.check.scenarios.interruption import FINISHING, KILLED, RESUMED, TERMINATED, goes_on, repeats
from sagegen.check.scenarios.train import TRAIN

KILL_CODE = 137


@rule(
    "T-60",
    Area.TRAIN,
    why="StopTrainingJob and the time limit send SIGTERM; after 120 s SIGKILL takes what is not saved.",
    fix="Handle SIGTERM: save a checkpoint or the model so far, and exit.",
    page=DOCKERFILE,
    needs=(TRAIN, TERMINATED, FINISHING),
)
def stops_in_time(evidence: Evidence) -> Verdict:
    found = evidence[TERMINATED]
    limits = Limits.make()
    if spoiled := _late(evidence):
        return spoiled
    if not found.stop:
        return skipped("the job ended before it could be interrupted – give a longer one with --opt-ml")
    seconds = round(found.stop.seconds, 1)
    if found.stop.running:
        return broken(f"still running {seconds} s after SIGTERM", found.run.line, seconds=seconds)
    if found.stop.code == KILL_CODE:
        return broken(f"exit code 137 {seconds} s after SIGTERM", found.run.line, seconds=seconds)
    if found.stop.seconds > limits.stop_training_slow:
        return doubtful(f"{seconds} s after SIGTERM, of 120 s", found.run.line, seconds=seconds)
    full = evidence[TRAIN].succeeded()
    if repeats(found.run, full) and not goes_on(found.run, found.lines):
        return skipped("the job was about to end when it was interrupted – give a longer one with --opt-ml")
    if repeats(found.run, full):
        return broken(
            "SIGTERM changed nothing: the job ran to its end; a longer one would be killed",
            found.run.line,
            seconds=seconds,
        )
    lost = not found.run.checkpoints and not found.run.model
    if lost and (full.checkpoints or (found.run.ok and full.model)):
        return doubtful(
            f"exit code {found.stop.code}, and neither a checkpoint nor a model is left: all work is lost",
            found.run.line,
            seconds=seconds,
        )
    return passed(
        f"exit code {found.stop.code} after {seconds} s", seconds=seconds, exit_code=found.stop.code or 0
    )


def _late(evidence: Evidence) -> Verdict | None:
    """A breach where a job that had all but ended is spoiled by SIGTERM."""
    full = evidence[TRAIN].succeeded()
    for after, run in evidence[FINISHING].items():
        when = f"SIGTERM {after:g} s after the last line of the log"
        if run.ok and full.model and not run.model:
            return broken(f"{when}: exit code 0, and no model", run.line)
        if run.failure is not None and full.model and _sizes(run) == _sizes(full):
            text = run.failure.decode(errors="replace").strip()[:100]
            return doubtful(f"{when}: the model is complete, and the job failed: {text!r}", run.line)
    return None


def _sizes(run: Run) -> dict[str, int]:
    return {name: file.size for name, file in run.model.items() if file.kind == "file"}


@rule(
    "T-61",
    Area.TRAIN,
    why="A wrapper that does not pass it on ends alone: its child is killed without saving anything.",
    fix="Use exec in shell scripts, or forward the signal and wait for the child.",
    page=DOCKERFILE,
    needs=(TRAIN, TERMINATED, KILLED),  # T-50 and T-51 read the last one too
)
def forwards(evidence: Evidence) -> Verdict:
    found = evidence[TERMINATED]
    if not found.stop:
        return skipped("the job ended before it could be interrupted – give a longer one with --opt-ml")
    if found.told is None:
        return passed("PID 1 trains itself")
    if found.told:
        return passed("PID 1 passes it on")
    if found.alone:
        return passed("PID 1 trains itself, and has helpers")
    if found.left_early:
        return broken("PID 1 ended without waiting for its child", found.run.line)
    if found.stop.running or found.stop.code == KILL_CODE or repeats(found.run, evidence[TRAIN].succeeded()):
        return skipped("PID 1 kept it to itself, see T-60")
    return passed("PID 1 tells its child in its own way")


@rule(
    "T-64",
    Area.TRAIN,
    why="Spot instances and cluster repairs restart the container; without checkpoints all is paid twice.",
    fix="Save to /opt/ml/checkpoints, atomically, and look there first when training starts.",
    page="model-checkpoints",
    needs=(TRAIN, TERMINATED, RESUMED),
)
def resumes(evidence: Evidence) -> Verdict:
    full = evidence[TRAIN].succeeded()
    if not full.checkpoints:
        return broken("nothing is saved in /opt/ml/checkpoints", full.line)
    found = evidence[RESUMED]
    if not found.resumed.ok:
        return broken(f"after the restart: {found.resumed.end}", found.resumed.line)
    if not found.resumed.model and evidence[TRAIN].modelled():
        return broken("after the restart: no model", found.resumed.line)
    if not found.saved:
        return skipped("the job ended before it could be interrupted – give a longer one with --opt-ml")
    if repeats(found.resumed, full):
        return broken("the restarted job did everything again", found.resumed.line)
    return passed(f"goes on from {found.saved} files in /opt/ml/checkpoints", files=found.saved)
