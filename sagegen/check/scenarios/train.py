"""The ordinary job, and what made it work if it did not at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sagegen.check.core import Evidence, Skip, scenario
from sagegen.check.fixture import Job
from sagegen.check.jobs import Run, train
from sagegen.check.rig import Rig


@dataclass(frozen=True)
class Base:
    """The ordinary job, and what made it work if it did not at once."""

    run: Run
    #: The same job without any network; `run` itself, where that succeeded.
    isolated: Run | None = None
    #: Changes of the surroundings with which a job that failed succeeds: T-11, T-20, T-33, T-72.
    cures: Mapping[str, bool] = field(default_factory=dict)
    neutral: bool = False
    job: Job = field(default_factory=lambda: Job({}, {}))

    def succeeded(self) -> Run:
        """The run, where it succeeded; else the rule cannot be judged."""
        if self.run.ok:
            return self.run
        if self.neutral:
            raise Skip("training did not succeed on the neutral fixture – give your data with --opt-ml")
        raise Skip("training did not succeed, see T-01 and T-50")

    def modelled(self) -> Run:
        """The run, where it succeeded and left a model."""
        run = self.succeeded()
        if not any(file.kind == "file" for file in run.model.values()):
            raise Skip("training left no model, see T-53")
        return run

    def ended(self) -> Run:
        """The run, where it ended by itself, however."""
        if self.started().exit.running:
            raise Skip("training does not end, see T-50")
        return self.run

    def started(self) -> Run:
        """The run, where it started."""
        if self.run.start_error:
            raise Skip("train cannot start, see T-01")
        return self.run


@scenario("train")
def TRAIN(rig: Rig, _: Evidence) -> Base:
    """Trains as an ordinary job: read-only channels, no network, no terminal, no SM_* variables."""
    job = rig.fixture.job
    neutral = rig.fixture.is_neutral
    isolated = run = train(rig, replace(job, network=False), keep_model=True)
    if _with_a_network(run):
        run = train(rig, job, keep_model=True)
    if run.serves and neutral:
        raise Skip(f"{run.end}: this image does not train")
    if run.ok or run.start_error or run.exit.running:
        return Base(run, isolated, neutral=neutral, job=job)
    # It failed: which single change of the surroundings makes it succeed?
    numbers = {key: typed(value) for key, value in job.hyperparameters.items()}
    changes = {
        "T-33": replace(job, writable_data=True),
        "T-11": replace(job, tty=True),
        "T-72": replace(job, environment={**job.environment, **toolkit_variables(job)}),
    }
    if numbers != dict(job.hyperparameters):
        changes["T-20"] = replace(job, hyperparameters=numbers)
    cures: dict[str, bool] = {}
    for identity, changed in changes.items():
        other = train(rig, replace(changed, network=isolated.needs_network()), keep_model=True)
        cures[identity] = other.ok
        if other.ok:
            # Where SageMaker itself is so kind (File mode is writable), go on from there.
            if identity == "T-33":
                run, job = other, changed
                isolated = isolated if isolated.needs_network() else other
            break
    return Base(run, isolated, cures, neutral, job)


def _with_a_network(run: Run) -> bool:
    """Whether a job that failed without a network is worth a try with one."""
    if run.ok or run.start_error or run.model:
        return False
    # A job that waits may wait for the network; and a server shows only there that it is one.
    return run.needs_network() or run.listens or run.idle_seconds > 0 or not run.exit.running


def typed(text: Any) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except (TypeError, ValueError):
            continue
    return {"true": True, "false": False}.get(str(text).lower(), text)


def toolkit_variables(job: Job) -> dict[str, str]:
    """What SageMaker's training toolkit would set, and the platform does not."""
    found = {
        "SM_MODEL_DIR": "/opt/ml/model",
        "SM_OUTPUT_DIR": "/opt/ml/output",
        "SM_OUTPUT_DATA_DIR": "/opt/ml/output/data",
        "SM_CURRENT_HOST": job.host,
        "SM_HOSTS": f'["{job.host}"]',
        "SM_NUM_GPUS": "0",
    }
    for channel in job.channels:
        found[f"SM_CHANNEL_{channel.upper()}"] = f"/opt/ml/input/data/{channel}"
    for key, value in job.hyperparameters.items():
        found[f"SM_HP_{key.upper()}"] = str(value)
    return found
