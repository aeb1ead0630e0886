"""Chapter T: how a job fails."""

from __future__ import annotations

import re

from sagegen.check.core import Area, Evidence, Verdict, broken, doubtful, passed, rule, skipped
from sagegen.check.pages import OUTPUT, RUNNING, SIGNALS
from sagegen.check.scenarios.bad_jobs import BAD, EMPTY
from sagegen.check.scenarios.train import TRAIN

REASON_CHARACTERS = 1024


@rule(
    "T-24",
    Area.TRAIN,
    why="Both are optional in CreateTrainingJob; a hang or a silent death costs a paid start to understand.",
    fix="Use defaults, or exit non-zero with a sentence in /opt/ml/output/failure.",
    page=RUNNING,
    needs=(EMPTY,),
)
def nothing_given(evidence: Evidence) -> Verdict:
    run = evidence[EMPTY]
    if run.ok:
        return passed("succeeded with defaults")
    if run.exit.running or run.start_error:
        return broken(run.end, run.line)
    if not run.failure:
        return broken(f"{run.end}, and no failure file", run.line)
    return passed("failed cleanly")


@rule(
    "T-50",
    Area.TRAIN,
    why="Nothing else tells SageMaker whether the job completed or failed.",
    fix="Let exceptions end the process with a non-zero code; PID 1 must pass on its child's.",
    page=SIGNALS,
    needs=(TRAIN, BAD),
)
def exit_code(evidence: Evidence) -> Verdict:
    base = evidence[TRAIN]
    run = base.started()
    if not run.ok and not base.neutral:
        if run.needs_network():
            return skipped("training needs a network, see T-12")
        return broken(run.end, run.line)
    for name, bad in evidence[BAD].items():
        if bad.exit.running:
            return broken(f"{name}: {bad.end}", bad.line)
        if bad.ok and (bad.failure or not bad.model):
            what = "wrote a failure file" if bad.failure else "left no model"
            return broken(f"{name}: {what}, and the exit code is 0", bad.line)
    codes = {name: bad.exit.code if bad.exit.code is not None else -1 for name, bad in evidence[BAD].items()}
    return passed(
        run.end if run.ok else "bad jobs fail", **{name.replace(" ", "_"): c for name, c in codes.items()}
    )


@rule(
    "T-51",
    Area.TRAIN,
    why="Its first 1024 characters become FailureReason: all that the user sees without reading logs.",
    fix="Write the cause first, in UTF-8, as the last thing before a non-zero exit; and nothing on success.",
    page=OUTPUT,
    needs=(TRAIN, BAD),
)
def failure_file(evidence: Evidence) -> Verdict:
    base = evidence[TRAIN]
    run = base.started()
    failed = {name: bad for name, bad in evidence[BAD].items() if bad.exit.code and not bad.start_error}
    if run.exit.code:
        failed["this job"] = run
    for name, bad in failed.items():
        if not bad.failure:
            return broken(f"{name}: {bad.end}, and no failure file", bad.line)
        try:
            text = bad.failure.decode()
        except UnicodeDecodeError:
            return broken(f"{name}: the failure file is not UTF-8", bad.line)
        if not text.strip():
            return broken(f"{name}: the failure file is empty", bad.line)
        if len(text) > REASON_CHARACTERS and re.match(r"\s*Traceback", text):
            return doubtful(
                f"{name}: {len(text)} characters, and the cause is not among the first 1024",
                bad.line,
                characters=len(text),
            )
    if run.ok and run.failure is not None:
        return doubtful("a failure file after success", run.line)
    if not failed:
        return skipped("no job failed")
    longest = max(len(bad.failure or b"") for bad in failed.values())
    return passed(f"written after {len(failed)} failed jobs", characters=longest)
