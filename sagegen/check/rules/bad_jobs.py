"""Chapter T: how a job fails."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sagegen.check.core import Area, Evidence, Verdict, broken, doubtful, passed, rule, skipped
from sagegen.check.jobs import Run
from sagegen.check.pages import OUTPUT, RUNNING, SIGNALS
from sagegen.check.scenarios.bad_jobs import BAD, CORRUPT, EMPTY, IMPOSSIBLE, Bad
from sagegen.check.scenarios.interruption import KILLED
from sagegen.check.scenarios.train import TRAIN, Base
from sagegen.platform import limits


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
        if any(not other.failure for other in _failed(evidence.get(TRAIN), evidence.get(BAD)).values()):
            return skipped(f"{run.end}, and no failure file, see T-51")
        return broken(f"{run.end}, and no failure file", run.line)
    return passed("failed cleanly")


def _failed(base: Base | None, bad: Bad | None) -> dict[str, Run]:
    """The jobs that failed, by what was wrong with them."""
    runs = {**(bad.runs if bad else {}), **({"this job": base.run} if base else {})}
    return {name: run for name, run in runs.items() if run.exit.code and not run.start_error}


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
    bad_jobs = evidence[BAD].runs
    empty = evidence.get(EMPTY)
    for name, bad in {**bad_jobs, **({"no channels": empty} if empty else {})}.items():
        if bad.exit.running and bad is not empty:  # T-24 tells of the one without channels
            return broken(f"{name}: {bad.end}", bad.line)
        if bad.ok and bad.failure:
            return broken(f"{name}: wrote a failure file, and the exit code is 0", bad.line)
        if bad.ok and not bad.model and run.model:
            return broken(f"{name}: left no model, and the exit code is 0", bad.line)
    killed = evidence.get(KILLED)
    if killed and killed.exit.running:
        return broken(f"the process that trains was killed, and PID 1 stays: {killed.end}", killed.line)
    if killed and killed.ok and not killed.model:
        return broken("the process that trains was killed: no model, and the exit code is 0", killed.line)
    garbage = bad_jobs.get(CORRUPT)
    if run.ok and not base.neutral and garbage and garbage.ok:
        return doubtful("the data were random bytes, and the job succeeded", garbage.line)
    codes = {name: bad.exit.code if bad.exit.code is not None else -1 for name, bad in bad_jobs.items()}
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
    base, bad_jobs = evidence[TRAIN], evidence[BAD]
    run = base.started()
    failed = _failed(base, bad_jobs)
    for name, bad in failed.items():
        if not bad.failure:
            return broken(f"{name}: {bad.end}, and no failure file", bad.line)
        try:
            text = bad.failure.decode()
        except UnicodeDecodeError:
            return broken(f"{name}: the failure file is not UTF-8", bad.line)
        if not text.strip():
            return broken(f"{name}: the failure file is empty", bad.line)
        cause = text.strip().splitlines()[-1]
        if re.match(r"\s*Traceback", text) and cause not in text[: limits.FAILURE_CHARACTERS]:
            return broken(
                f"{name}: {len(text)} characters, and the cause is not among the first 1024",
                bad.line,
                characters=len(text),
            )
    if run.ok and run.failure is not None:
        return doubtful("a failure file after success", run.line)
    killed = evidence.get(KILLED)
    if killed and killed.exit.code and not killed.failure:
        return doubtful(
            f"the process that trains was killed: {killed.end}, and PID 1 wrote no failure file", killed.line
        )
    if not failed:
        return skipped("no job failed")
    if run.ok and (same := _same_reason(failed, evidence.get(EMPTY))):
        return same
    longest = max(len(bad.failure or b"") for bad in failed.values())
    return passed(f"written after {len(failed)} failed jobs", characters=longest)


def _same_reason(failed: Mapping[str, Run], empty: Run | None) -> Verdict | None:
    """A breach where jobs that failed for different reasons give the same one."""
    texts = {name: _plain(run) for name, run in failed.items()}
    corrupt, others = texts.get(CORRUPT), {IMPOSSIBLE: texts.get(IMPOSSIBLE)}
    if empty and empty.exit.code and empty.failure:
        others["no channels"] = _plain(empty)
    for name, text in others.items():
        if (
            corrupt is None
            or text is None
            or corrupt[: limits.FAILURE_CHARACTERS] != text[: limits.FAILURE_CHARACTERS]
        ):
            continue
        line = failed[CORRUPT].line
        if corrupt != text:
            return broken(f"{CORRUPT} and {name}: the same first 1024 characters, the cause after them", line)
        if name == IMPOSSIBLE:  # that there is no data to use may be said of both others
            return broken(f"{CORRUPT} and {name}: the same text, {corrupt.strip()[:100]!r}", line)
    return None


def _plain(run: Run) -> str:
    """Its failure text, numbers aside."""
    return re.sub(r"\d+", "#", (run.failure or b"").decode(errors="replace"))
