"""Jobs that cannot succeed."""

from __future__ import annotations

from dataclasses import replace

from sagegen.check.core import Evidence, scenario
from sagegen.check.jobs import Run, patience, together, train
from sagegen.check.rig import Rig
from sagegen.check.scenarios.train import TRAIN


@scenario("train-empty", after=(TRAIN,))
def EMPTY(rig: Rig, evidence: Evidence) -> Run:
    """Trains without hyperparameters and without channels."""
    base = evidence[TRAIN]
    base.started()
    job = replace(base.job, hyperparameters={}, channels={}, data="none")
    return train(rig, job, seconds=patience(rig, base.run))


@scenario("train-fail", after=(TRAIN,))
def BAD(rig: Rig, evidence: Evidence) -> dict[str, Run]:
    """Trains without data, on corrupt data and with impossible hyperparameters."""
    base = evidence[TRAIN]
    base.started()
    seconds = patience(rig, base.run)
    jobs = {
        "empty channels": replace(base.job, data="empty"),
        "corrupt data": replace(base.job, data="corrupt"),
    }
    if base.job.hyperparameters:
        wrong = dict.fromkeys(base.job.hyperparameters, "not-a-value!")
        jobs["impossible hyperparameters"] = replace(base.job, hyperparameters=wrong)
    runs = together(*(lambda job=job: train(rig, job, seconds=seconds) for job in jobs.values()))
    return dict(zip(jobs, runs, strict=True))
