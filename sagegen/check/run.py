"""`sagegen check`: choose rules, run their scenarios, judge, report."""

from __future__ import annotations

import mimetypes
import re
import time
from collections.abc import Collection, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sagegen.check import core, explain
from sagegen.check.core import Area, Evidence, Outcome, Rule, Scenario, Skip, Verdict
from sagegen.check.fixture import Fixture
from sagegen.check.limits import Limits
from sagegen.check.progress import Progress
from sagegen.check.reports import Report, write
from sagegen.check.rig import JOB_ENVIRONMENT, Payload, Rig
from sagegen.check.scenarios.train import TRAIN
from sagegen.engine import Closed, Engine, Lab, answering
from sagegen.errors import FAILED, USAGE, SagegenError

PARALLEL = 3


@dataclass(frozen=True)
class Options:
    """The command line of `sagegen check`, option by option."""

    image: str | None
    only: tuple[str, ...] = ()
    rule: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    opt_ml: Path | None = None
    payload: Path | None = None
    content_type: str | None = None
    env: tuple[str, ...] = ()
    gpus: str | None = None
    cpus: float | None = None
    timeout: float | None = None
    format_: str = "table"
    output: Path | None = None
    json_file: Path | None = None
    list_rules: bool = False
    explain: str | None = None


@dataclass(frozen=True)
class Request:
    """What to check, and how."""

    image: str
    rules: tuple[Rule, ...]
    opt_ml: Path | None = None
    payload: Payload | None = None
    #: Of every job and model container, as Environment in CreateTrainingJob and CreateModel.
    environment: Mapping[str, str] = field(default_factory=dict)
    gpus: bool = False
    #: Of each container; all of the machine's where it is None.
    cpus: float | None = None
    limits: Limits = Limits()  # noqa: RUF009
    #: Look twice at what a busy machine can spoil, before it is called a breach.
    again: bool = True


def check(options: Options) -> int:
    """Run the command; return its exit status."""
    if options.list_rules:
        if options.format_ not in ("table", "json"):
            raise SagegenError("the list of rules is a table or JSON – choose --format json", USAGE)
        print(explain.listing() if options.format_ == "table" else explain.listing_as_json())
        return 0
    if options.explain:
        print(explain.explain(options.explain))
        return 0
    if not options.image:
        raise SagegenError("which image? – sagegen check IMAGE, or --list", USAGE)
    request = Request(
        options.image,
        tuple(choose(options.only, options.rule, options.skip, trains(options.opt_ml))),
        options.opt_ml,
        payload(options.payload, options.content_type),
        environment(options.env),
        options.gpus is not None,
        options.cpus,
        Limits.make(options.timeout),
    )
    try:
        engine = Engine.connect()
    except SagegenError as error:
        raise SagegenError(str(error), USAGE) from error
    report = run(engine, request)
    if options.json_file:
        write(report, "json", options.json_file)
    write(report, options.format_, options.output)
    return FAILED if any(v.outcome is Outcome.FAIL for v in report.verdicts.values()) else 0


#: Rules of the image at rest that are about one of the two commands.
TRAINS, SERVES = {"T-02"}, {"S-02"}


def trains(opt_ml: Path | None) -> bool:
    """Whether the user's folder is one for training: a model alone asks about serving."""
    return opt_ml is None or (opt_ml / "input").is_dir()


def choose(
    only: Collection[str], rule: Collection[str], skip: Collection[str], training: bool = True
) -> list[Rule]:
    """The rules that the options select. A rule that --rule names is never left out silently.

    `training`: whether training is asked about where neither --only nor --rule says so.
    """
    everything = {one.id: one for one in core.rules()}
    named, left_out = ([identity.upper() for identity in group] for group in (rule, skip))
    for identity in [*named, *left_out]:
        if identity not in everything:
            raise SagegenError(f"{identity!r} is not a rule – see sagegen check --list", USAGE)
    for identity in named:
        area = everything[identity].area
        if only and area not in only:
            raise SagegenError(f"--only leaves out {identity} – add --only {area}, or drop --only", USAGE)
    asked = set(only) or {area.value for area in Area if training or area is not Area.TRAIN}
    beside = set() if named else _of_other_commands(asked)
    chosen = [
        one
        for identity, one in everything.items()
        if (identity in named if named else one.area in asked) and identity not in {*left_out, *beside}
    ]
    if not chosen:
        raise SagegenError("no rule is left – choose fewer options", USAGE)
    return chosen


def _of_other_commands(asked: set[str]) -> set[str]:
    """The static rules about `train` where only serving was asked about, and the other way round."""
    serving = {Area.SERVE.value, Area.BATCH.value, Area.MULTI_MODEL.value} & asked
    if serving and Area.TRAIN not in asked:
        return TRAINS
    return SERVES if Area.TRAIN in asked and not serving else set()


VARIABLE = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,511}")
VARIABLES, VALUE_CHARACTERS = 100, 1024
#: The check itself gives these their values, as the platform does.
PLATFORM = ("SAGEMAKER_BIND_TO_PORT", "SAGEMAKER_SAFE_PORT_RANGE", "SAGEMAKER_BATCH", "SAGEMAKER_MULTI_MODEL",
            *JOB_ENVIRONMENT)  # fmt: skip


def environment(pairs: Collection[str]) -> dict[str, str]:
    """The variables of --env, within what the API takes (T-71, CFG-08, CFG-09)."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not VARIABLE.fullmatch(name):
            raise SagegenError(f"--env {pair!r} is not KEY=VALUE with a KEY of letters, digits and _", USAGE)
        if len(value) > VALUE_CHARACTERS:
            text = (
                f"--env {name}: the value has {len(value)} characters, and the API takes {VALUE_CHARACTERS}"
            )
            raise SagegenError(f"{text} – shorten it", USAGE)
        if name in PLATFORM:
            raise SagegenError(f"--env {name}: the platform sets it, and so does the check – drop it", USAGE)
        if name in found:
            raise SagegenError(f"--env {name} is given twice – give it once", USAGE)
        found[name] = value
    if len(found) > VARIABLES:
        raise SagegenError(f"--env is given {len(found)} times, and the API takes {VARIABLES}", USAGE)
    return found


#: Of files that the standard library does not know.
TYPES = {
    ".jsonl": "application/jsonlines",
    ".npy": "application/x-npy",
    ".parquet": "application/x-parquet",
}


def payload(file: Path | None, content_type: str | None) -> Payload | None:
    """The request in `file`; its suffix tells the type, where that is not given."""
    if file is None:
        return None
    content_type = content_type or TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0]
    if not content_type:
        raise SagegenError(f"what type is {file}? – give --content-type, for example text/csv", USAGE)
    try:
        return Payload(file.read_bytes(), content_type)
    except OSError as error:
        raise SagegenError(f"cannot read {file}: {error.strerror} – name another file", USAGE) from error


def run(engine: Engine, request: Request, progress: Progress | None = None) -> Report:
    """Run the scenarios that the rules need, and judge. Leaves nothing behind, however it ends."""
    begun = time.monotonic()
    fixture = Fixture(request.opt_ml)
    share = request.limits.memory_share
    lab = Lab(
        engine,
        request.image,
        environment=request.environment,
        gpus=request.gpus,
        cpus=request.cpus,
        memory_share=share,
    )
    rig = Rig(lab, fixture, request.payload, request.limits)
    needed = core.needed(list(request.rules))
    if fixture.given_model() and not any(TRAIN in one.needs for one in request.rules):
        # A model is given, and no rule is about training: it need not run.
        needed = [one for one in needed if one is not TRAIN]
    progress = progress or Progress(request.image)
    try:
        with answering(USAGE), progress:
            evidence = Evidence()
            Scheduler(rig, needed, evidence, progress).run()
            verdicts = {one: one.verdict(evidence) for one in request.rules}
            again = look_again(rig, verdicts, evidence, progress) if request.again else {}
    finally:
        lab.close()
    return Report(request.image, verdicts, time.monotonic() - begun, again)


def look_again(
    rig: Rig, verdicts: dict[Rule, Verdict], evidence: Evidence, progress: Progress
) -> dict[Rule, Verdict]:
    """Repeat the scenarios that a busy machine can spoil and that a breach was found in.

    Returns the first verdicts on the rules that were judged a second time. The second verdict counts, unless
    it is SKIP: then the first one stands, and the rule is not among those that are returned.
    """
    broken = {
        one: verdict
        for one, verdict in verdicts.items()
        if verdict.outcome in (Outcome.FAIL, Outcome.WARN) and _spoilable(one, evidence)
    }
    scenarios = list(dict.fromkeys(s for one in broken for s in _spoilable(one, evidence)))
    Scheduler(rig, scenarios, evidence, progress, parallel=1).run()
    again = {}
    for one, first in broken.items():
        second = one.verdict(evidence)
        if second.outcome is not Outcome.SKIP:
            verdicts[one], again[one] = second, first
    return again


def _spoilable(rule: Rule, evidence: Evidence) -> list[Scenario[Any]]:
    """The scenarios that the verdict was read from and that a busy machine can spoil."""
    evidence.read.clear()
    rule.verdict(evidence)
    return [one for one in rule.needs if one.again and one in evidence.read]


class Scheduler:
    """Runs scenarios in parallel, each after those it builds on; a quiet one runs alone, at the end."""

    def __init__(
        self,
        rig: Rig,
        scenarios: list[Scenario[Any]],
        evidence: Evidence,
        progress: Progress,
        parallel: int = PARALLEL,
    ) -> None:
        self._rig = rig
        # First those for which most others wait.
        self._waiting = sorted(scenarios, key=lambda one: -_followers(one, scenarios))
        self._progress = progress
        self._evidence = evidence
        self._parallel = parallel

    def run(self) -> None:
        """Add everything that is found to the evidence."""
        running: dict[Future[Any], Scenario[Any]] = {}
        pool = ThreadPoolExecutor(max(1, len(self._waiting)), thread_name_prefix="scenario")
        done_well = False
        try:
            while self._waiting or running:
                for one in self._ready(list(running.values())):
                    self._waiting.remove(one)
                    self._progress.begin(one)
                    running[pool.submit(one.run, self._rig, self._evidence)] = one
                done, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in done:
                    one = running.pop(future)
                    self._evidence.add(one, self._result(future))
                    self._progress.end(one)
            done_well = True
        finally:
            if not done_well:
                # After Ctrl-C the threads notice that their containers are gone, and end.
                pool.shutdown(wait=False, cancel_futures=True)
                self._rig.lab.close()
            pool.shutdown(wait=True)

    def _ready(self, running: list[Scenario[Any]]) -> list[Scenario[Any]]:
        if any(one.quiet for one in running):
            return []
        free = self._parallel - sum(not one.waits for one in running)
        pending = {*self._waiting, *running}
        ready = [one for one in self._waiting if pending.isdisjoint({*one.after, *one.later})]
        loud = [one for one in ready if not one.quiet]
        if loud or running:
            return [one for one in loud if one.waits] + [one for one in loud if not one.waits][: max(0, free)]
        return ready[:1]

    def _result(self, future: Future[Any]) -> Any:
        try:
            return future.result()
        except Skip as reason:
            return reason
        except Closed:
            return Skip("interrupted")


def _followers(one: Scenario[Any], scenarios: list[Scenario[Any]]) -> int:
    """How many scenarios wait for this one, or for one that does."""
    return sum(one in other.after or one in other.later for other in scenarios) + sum(
        _followers(other, scenarios) for other in scenarios if one in other.after
    )
