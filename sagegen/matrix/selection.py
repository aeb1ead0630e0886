"""Which combinations are run, in which order, and how much of the proof each of them carries.

Each fact is proven once, where it can fail. What depends on the serving stack alone is proven on the default
framework. What depends on the framework is proven on one combination of each heavy layer. Every combination
is built, trained, served and asked for its predictions. `sagegen matrix --full` proves everything everywhere.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import cycle

from sagegen import catalogue
from sagegen.catalogue import Combination
from sagegen.errors import USAGE, SagegenError

#: The rules of `sagegen check` that an image can break by its framework or by the sample's model, although
#: its stack keeps them with the default framework.
FRAMEWORK_RULES = (
    "T-12",  # trains without a network
    "T-37",  # on several hosts, of which one gets no file
    "T-44",  # and one comes late
    "T-45",  # one leaves the model
    "T-60",  # SIGTERM ends training
    "T-61",  # and reaches the process that trains
    "T-64",  # killed, and started again: goes on from the checkpoint
    "T-78",  # a GPU image without a GPU
    "T-79",  # 64 MB of shared memory
    "S-03",  # SIGTERM ends serving
    "S-13",  # healthy in time
    "S-14",  # a corrupt model never becomes healthy
    "S-17",  # /ping answers while a prediction runs
    "S-20",  # the endpoint answers
    "S-41",  # never writes to the model
    "S-75",  # memory and CPUs of a share of an instance
    "SV-01",  # serverless: size of the image
    "SV-03",  # time to start
    "SV-04",  # another user, a read-only file system
    "SV-05",  # disk
)
#: What a generated repository tests about its model, which no serving stack can change.
MODEL_TEST = "tests/test_container.py::test_the_models_own_tests_pass_inside_the_image"
#: And about a job that fails: the runtime's doing, which a complete check proves on each stack (T-50, T-51).
FAILURE_TEST = "tests/test_container.py::test_a_job_that_fails_says_why"


@dataclass(frozen=True)
class Tier:
    """How much is proven on a combination."""

    name: str
    #: Options of `sagegen check`, and of the generated repository's pytest; () is everything.
    check: tuple[str, ...] = ()
    pytest: tuple[str, ...] = ()
    #: Whether cold start and memory are measured.
    measured: bool = True
    #: Servers that run at a time at most.
    servers: int = 4


COMPLETE = Tier("complete")


def layer() -> Tier:
    """The proof of a heavy layer: the static rules and those of the framework."""
    from sagegen.check import core

    static = [rule.id for rule in core.rules() if rule.area is core.Area.STATIC]
    rules = dict.fromkeys([*static, *FRAMEWORK_RULES])
    options = tuple(part for rule in rules for part in ("--rule", rule))
    return Tier("layer", options, ("--deselect", FAILURE_TEST))


#: A short training, the expected predictions, SIGTERM, and the static rules.
SHORT = Tier(
    "short",
    ("--only", "static"),
    ("--deselect", FAILURE_TEST, "--deselect", MODEL_TEST),
    measured=False,
    servers=1,
)
#: The same and the model's own tests: another kind of data has another model.
SAMPLE = Tier("sample", ("--only", "static"), ("--deselect", FAILURE_TEST), measured=False, servers=1)


@cache
def tiers() -> dict[str, Tier]:
    """The tier of every combination, whatever is selected: {id: tier}.

    A heavy layer has one representative, and one more for each framework that no layer before it had; their
    stacks alternate.
    """
    found: dict[str, Tier] = {}
    models: set[tuple[str, ...]] = set()
    stacks = cycle(catalogue.choices("stack"))
    of_layer = layer()
    for group in heavy_layers(catalogue.existing()).values():
        found |= dict.fromkeys((c.id for c in group), SHORT)
        stacks_proven = [c for c in group if c.group == catalogue.default().group]
        if stacks_proven:
            found |= dict.fromkeys((c.id for c in stacks_proven), COMPLETE)
            models.add(_model(stacks_proven[0]))
            continue
        new = {_model(c): c.group for c in reversed(group) if _model(c) not in models} or {(): group[0].group}
        models |= new.keys()
        for name in reversed(new.values()):
            offered = {c.answers["stack"]: c for c in group if c.group == name}
            stack = next(stack for stack in stacks if stack in offered)
            found[offered[stack].id] = of_layer
    return found | {c.id: SAMPLE for c in catalogue.samples()}


def _model(combination: Combination) -> tuple[str, ...]:
    """What decides the sample's model and how it is loaded."""
    answers = combination.answers
    return answers["framework"], answers.get("keras_backend", "")


def select(filters: dict[str, tuple[str, ...]]) -> dict[str, list[Combination]]:
    """The combinations that pass every filter, by heavy layer, each under the name of its first group."""
    for question, wanted in filters.items():
        for value in wanted:
            if value not in (known := catalogue.choices(question)):
                raise SagegenError(f"no such {question}: {value} – choose {', '.join(known)}", USAGE)
    groups = heavy_layers(
        c
        for c in catalogue.provable()
        if all(not wanted or c.answers.get(question) in wanted for question, wanted in filters.items())
    )
    if not groups:
        raise SagegenError("no combination is left – see `sagegen list`", USAGE)
    # Groups of the same library one after the other, while the installer still has it.
    libraries = {name: group[0].context["build"]["title"] for name, group in groups.items()}
    order = list(dict.fromkeys(libraries.values()))
    return {name: groups[name] for name in sorted(groups, key=lambda name: order.index(libraries[name]))}


def heavy_layers(combinations: Iterable[Combination]) -> dict[str, list[Combination]]:
    """The combinations that share requirements and Python, and so the largest layer of their images.

    Two frameworks, or both devices, may require the same.
    """
    groups: dict[str, list[Combination]] = defaultdict(list)
    names: dict[str, str] = {}
    for c in combinations:
        required = json.dumps([c.context["requirements"], c.answers["python_version"]])
        groups[names.setdefault(required, c.group)].append(c)
    return dict(groups)
