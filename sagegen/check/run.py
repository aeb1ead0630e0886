"""`sagegen check`: choose rules, run their scenarios, judge, report."""

from __future__ import annotations

import time
from collections.abc import Collection
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sagegen.check import core, explain
from sagegen.check.core import Evidence, Outcome, Rule, Scenario, Skip, Verdict
from sagegen.check.fixture import Fixture
from sagegen.check.limits import Limits
from sagegen.check.progress import Progress
from sagegen.check.reports import Report, write
from sagegen.check.rig import Payload, Rig
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
    gpus: bool = False
    #: Of each container; all of the machine's where it is None.
    cpus: float | None = None
    limits: Limits = Limits()  # noqa: RUF009
    #: Look twice at what a busy machine can spoil, before it is called a breach.
    again: bool = True


def check(options: Options) -> int:
    """Run the command; return its exit status."""
    if options.list_rules:
        print(explain.listing())
        return 0
    if options.explain:
        print(explain.explain(options.explain))
        return 0
    if not options.image:
        raise SagegenError("which image? – sagegen check IMAGE, or --list", USAGE)
    request = Request(
        options.image,
        tuple(choose(options.only, options.rule, options.skip)),
        options.opt_ml,
        _payload(options.payload, options.content_type),
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


def choose(only: Collection[str], rule: Collection[str], skip: Collection[str]) -> list[Rule]:
    """The rules that the options select."""
    everything = core.rules()
    known = {one.id for one in everything}
    for identity in [*rule, *skip]:
        if identity not in known:
            raise SagegenError(f"{identity!r} is not a rule – see sagegen check --list", USAGE)
    chosen = [
        one
        for one in everything
        if (not only or one.area in only) and (not rule or one.id in rule) and one.id not in skip
    ]
    if not chosen:
        raise SagegenError("no rule is left – choose fewer options", USAGE)
    return chosen


def _payload(file: Path | None, content_type: str | None) -> Payload | None:
    if file is None:
        return None
    if not content_type:
        raise SagegenError("--payload needs --content-type, for example text/csv", USAGE)
    try:
        return Payload(file.read_bytes(), content_type)
    except OSError as error:
        raise SagegenError(f"cannot read {file}: {error.strerror} – name another file", USAGE) from error


def run(engine: Engine, request: Request, progress: Progress | None = None) -> Report:
    """Run the scenarios that the rules need, and judge. Leaves nothing behind, however it ends."""
    begun = time.monotonic()
    fixture = Fixture(request.opt_ml)
    share = request.limits.memory_share
    lab = Lab(engine, request.image, gpus=request.gpus, cpus=request.cpus, memory_share=share)
    rig = Rig(lab, fixture, request.payload, request.limits)
    needed = core.needed(list(request.rules))
    if fixture.given_model() and not any(TRAIN in one.needs for one in request.rules):
        # A model is given and nobody asks about training: it need not run.
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
    """Repeat what a busy machine can spoil for the rules that were broken; return what was found at first.

    The second verdict counts, and the report shows both.
    """
    broken = {
        one: verdict
        for one, verdict in verdicts.items()
        if verdict.outcome in (Outcome.FAIL, Outcome.WARN) and any(s.again for s in one.needs)
    }
    scenarios = list(dict.fromkeys(s for one in broken for s in one.needs if s.again))
    Scheduler(rig, scenarios, evidence, progress, parallel=1).run()
    for one in broken:
        verdicts[one] = one.verdict(evidence)
    return broken


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
        self._bench = rig
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
                    running[pool.submit(one.run, self._bench, self._evidence)] = one
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
                self._bench.lab.close()
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
