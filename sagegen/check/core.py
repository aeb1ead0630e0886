"""What a rule is, what a scenario is, and where both are registered.

A scenario runs containers once and returns evidence. A rule reads evidence and returns a verdict. Modules in
`sagegen.check.rules` register their rules by being imported: nothing lists them by hand.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from sagegen.check.contract import RULE, rows

if TYPE_CHECKING:
    from sagegen.check.rig import Rig

T = TypeVar("T")
PAGES = "https://docs.aws.amazon.com/sagemaker/latest/dg/"


class Area(StrEnum):
    """What `--only` chooses, and how the report is grouped."""

    STATIC = "static"
    TRAIN = "train"
    SERVE = "serve"
    BATCH = "batch"
    MULTI_MODEL = "multi-model"


class Level(StrEnum):
    """How binding a row of the contract is."""

    MUST = "MUST"
    IF_USED = "MUST*"
    PLATFORM = "ENV"
    RECOMMENDED = "REC"
    OPTIONAL = "OPT"
    OBSERVED = "OBS"


class Outcome(StrEnum):
    """The verdict on one rule."""

    PASS = "PASS"
    WARN = "WARN"
    FAIL = "FAIL"
    SKIP = "SKIP"


#: What the breach of a rule is called, by the rule's level.
BREACH = {
    Level.MUST: Outcome.FAIL,
    Level.IF_USED: Outcome.FAIL,
    Level.PLATFORM: Outcome.FAIL,
    Level.RECOMMENDED: Outcome.WARN,
    Level.OPTIONAL: Outcome.WARN,
    Level.OBSERVED: Outcome.WARN,
}

Measured = dict[str, float | int | str]


@dataclass(frozen=True)
class Verdict:
    """What a rule found. `line` reproduces it in a shell."""

    outcome: Outcome | None  # None: a breach, named by the rule's level
    text: str
    measured: Measured = field(default_factory=dict)
    line: str = ""


def passed(text: str, **measured: float | int | str) -> Verdict:
    """The image keeps the rule."""
    return Verdict(Outcome.PASS, text, measured)


def broken(text: str, line: str = "", **measured: float | int | str) -> Verdict:
    """The image breaks the rule: FAIL or WARN, as its level says."""
    return Verdict(None, text, measured, line)


def doubtful(text: str, line: str = "", **measured: float | int | str) -> Verdict:
    """Short of a breach, and worth a warning."""
    return Verdict(Outcome.WARN, text, measured, line)


def unclaimed(claimed: bool, verdict: Verdict) -> Verdict:
    """A breach of what binds only in a hosting mode that the endpoint chooses, such as serverless.

    Where the image says that it is meant for that mode, the breach counts in full. Where it does not, it may
    never be hosted in that mode: a warning then says what would happen.
    """
    if claimed or verdict.outcome:
        return verdict
    text = f"{verdict.text} (counts on serverless endpoints only)"
    return Verdict(Outcome.WARN, text, verdict.measured, verdict.line)


def skipped(reason: str) -> Verdict:
    """The rule cannot be judged here."""
    return Verdict(Outcome.SKIP, reason)


class Skip(Exception):
    """A scenario cannot run, or a rule cannot be judged; the message says why."""


@dataclass(frozen=True, eq=False)
class Scenario(Generic[T]):
    """Containers that run once, for every rule that needs what they show."""

    name: str
    run: Callable[[Rig, Evidence], T]
    after: tuple[Scenario[Any], ...]
    #: Those that go first where they are needed anyway: this one uses what they leave.
    later: tuple[Scenario[Any], ...]
    #: Its timings are judged: nothing else may run meanwhile.
    quiet: bool
    #: It mostly waits: it needs no place among those that work.
    waits: bool
    #: A busy machine can spoil it: before a breach is reported, it runs a second time.
    again: bool

    @property
    def title(self) -> str:
        """The first sentence of its docstring."""
        return (self.run.__doc__ or self.name).strip().split("\n")[0].rstrip(".")


def scenario(
    name: str,
    *,
    after: tuple[Scenario[Any], ...] = (),
    later: tuple[Scenario[Any], ...] = (),
    quiet: bool = False,
    waits: bool = False,
    again: bool = False,
) -> Callable[[Callable[[Rig, Evidence], T]], Scenario[T]]:
    """Turn a function into a scenario that runs when those before it have."""

    def register(run: Callable[[Rig, Evidence], T]) -> Scenario[T]:
        return Scenario(name, run, after, later, quiet, waits, again)

    return register


class Evidence:
    """What the scenarios have found so far."""

    def __init__(self) -> None:
        self._found: dict[Scenario[Any], Any] = {}
        #: The scenarios whose results were asked for.
        self.read: set[Scenario[Any]] = set()

    def __getitem__(self, scenario: Scenario[T]) -> T:
        self.read.add(scenario)
        found = self._found[scenario]
        if isinstance(found, Skip):
            raise found
        return cast(T, found)

    def get(self, scenario: Scenario[T]) -> T | None:
        """The same; None where there is nothing."""
        self.read.add(scenario)
        found = self._found.get(scenario)
        return None if isinstance(found, Skip) else cast("T | None", found)

    def add(self, scenario: Scenario[T], found: T | Skip) -> None:
        """Keep a scenario's result, or why it has none."""
        self._found[scenario] = found

    def __contains__(self, scenario: object) -> bool:
        return scenario in self._found


@dataclass(frozen=True)
class Rule:
    """One row of the contract, as a question to the evidence."""

    id: str
    area: Area
    why: str
    fix: str
    page: str
    needs: tuple[Scenario[Any], ...]
    judge: Callable[[Evidence], Verdict]

    @property
    def title(self) -> str:
        """The requirement, as contract.md has it."""
        return rows()[self.id].requirement

    @property
    def level(self) -> Level:
        """How binding it is, as contract.md has it."""
        return Level(rows()[self.id].level)

    @property
    def url(self) -> str:
        """The documentation page."""
        return self.page if self.page.startswith("https://") else f"{PAGES}{self.page}.html"

    def verdict(self, evidence: Evidence) -> Verdict:
        """Judge; what cannot be judged is skipped."""
        try:
            found = self.judge(evidence)
        except Skip as reason:
            return skipped(str(reason))
        if found.outcome is None:
            return Verdict(BREACH[self.level], found.text, found.measured, found.line)
        if found.outcome is Outcome.FAIL and BREACH[self.level] is Outcome.WARN:
            return Verdict(Outcome.WARN, found.text, found.measured, found.line)
        return found


_RULES: dict[str, Rule] = {}


def rule(
    identity: str,
    area: Area,
    *,
    why: str,
    fix: str,
    page: str,
    needs: tuple[Scenario[Any], ...],
) -> Callable[[Callable[[Evidence], Verdict]], Rule]:
    """Register a function as the rule of one row of contract.md, which has the rule's title and level."""

    def register(judge: Callable[[Evidence], Verdict]) -> Rule:
        if identity in _RULES:
            raise ValueError(f"rule {identity} is registered twice")
        if identity not in rows() or rows()[identity].how != RULE:
            raise ValueError(f"contract.md has no row of a rule {identity}")
        _RULES[identity] = Rule(identity, area, why, fix, page, needs, judge)
        return _RULES[identity]

    return register


def rules() -> list[Rule]:
    """Every rule that a module of `sagegen.check.rules` registers, by area and number."""
    from sagegen.check import rules as package

    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
    return sorted(_RULES.values(), key=lambda r: (list(Area).index(r.area), order(r.id)))


PREFIXES = ("T", "S", "B", "A", "SV", "M", "IMG", "SEC", "CFG")


def order(identity: str) -> tuple[int, int]:
    """Sorts IDs as the contract does: S-9 before S-10."""
    prefix, _, number = identity.partition("-")
    if not re.fullmatch(r"\d+", number) or prefix not in PREFIXES:
        raise ValueError(f"{identity!r} is not an ID of the contract")
    return PREFIXES.index(prefix), int(number)


def needed(chosen: list[Rule]) -> list[Scenario[Any]]:
    """The scenarios of these rules, each after those it builds on."""
    found: dict[Scenario[Any], None] = {}

    def visit(scenario: Scenario[Any]) -> None:
        for before in scenario.after:
            visit(before)
        found.setdefault(scenario)

    for one in chosen:
        for scenario in one.needs:
            visit(scenario)
    return list(found)
