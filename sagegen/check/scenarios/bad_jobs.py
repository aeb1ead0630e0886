"""Jobs that cannot succeed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sagegen.check.core import Evidence, scenario
from sagegen.check.jobs import Run, patience, together, train
from sagegen.check.rig import Rig
from sagegen.check.scenarios.train import TRAIN, typed


@scenario("train-empty", after=(TRAIN,))
def EMPTY(rig: Rig, evidence: Evidence) -> Run:
    """Trains without hyperparameters and without channels."""
    base = evidence[TRAIN]
    job = replace(base.job, hyperparameters={}, channels={}, data="none")
    return train(rig, job, seconds=patience(rig, base.ended()))


@dataclass(frozen=True)
class Bad:
    """Jobs that should fail, by what is wrong with them, and one that should not."""

    runs: Mapping[str, Run]
    #: Other values for every numeric hyperparameter; None where there is none.
    other: Run | None = None
    #: What was changed for it, for people.
    changed: str = ""


CORRUPT, IMPOSSIBLE = "corrupt data", "impossible hyperparameters"


@scenario("train-fail", after=(TRAIN,))
def BAD(rig: Rig, evidence: Evidence) -> Bad:
    """Trains on corrupt data, with impossible hyperparameters, and with other ones."""
    base = evidence[TRAIN]
    seconds = patience(rig, base.ended())
    given = base.job.hyperparameters
    jobs = {CORRUPT: replace(base.job, data="corrupt")} if rig.fixture.has_data else {}
    if given:
        jobs[IMPOSSIBLE] = replace(base.job, hyperparameters=dict.fromkeys(given, "not-a-value!"))
    changed = {name: other for name, value in given.items() if (other := _other(name, value))}
    if changed and base.run.ok:
        jobs[OTHER] = replace(base.job, hyperparameters={**given, **changed})
    found = together(*(lambda job=job: train(rig, job, seconds=seconds) for job in jobs.values()))
    runs = dict(zip(jobs, found, strict=True))
    other = runs.pop(OTHER, None)
    return Bad(runs, other, ", ".join(f"{name}: {given[name]} → {new}" for name, new in changed.items()))


OTHER = "other hyperparameters"
#: Hyperparameters that may leave the model as it is, by parts of their names.
IDLE_NAMES = re.compile(
    r"job|worker|thread|core|cpu|gpu|log|verb|print|save|check|patience|time", re.IGNORECASE
)


def _other(name: str, value: Any) -> str | None:
    """Another value of a numeric hyperparameter that changes the model; None for any other hyperparameter."""
    number = typed(value)
    if name.startswith(("_", "sagemaker_")) or IDLE_NAMES.search(name) or isinstance(number, bool | str):
        return None
    if isinstance(number, int):
        return "2" if number != 2 else "3"
    return f"{number / 2:g}" if number else None
