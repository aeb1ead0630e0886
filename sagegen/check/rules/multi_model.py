"""Chapter M: multi-model endpoints, where the label claims them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sagegen.check.core import Area, Evidence, Verdict, broken, doubtful, passed, rule, skipped
from sagegen.check.endpoint import slowest
from sagegen.check.probe import Exchange
from sagegen.check.scenarios.image import IMAGE
from sagegen.check.scenarios.multi_model import CYCLES, LABEL, MODELS, Models, content
from sagegen.check.scenarios.serving import SERVE

API = "mms-container-apis"
BUILD = "build-multi-model-build-container"
MULTI = Area.MULTI_MODEL


@rule(
    "M-01",
    MULTI,
    why="CreateModel refuses Mode=MultiModel without it; and without the API it is a false promise.",
    fix=f"LABEL {LABEL}=true, if and only if the model API is there.",
    page=BUILD,
    needs=(IMAGE, SERVE),
)
def label(evidence: Evidence) -> Verdict:
    image, found = evidence[IMAGE], evidence[SERVE]
    value = (image.config.get("Labels") or {}).get(LABEL)
    offered = isinstance(content(found.asked.models), dict) and "models" in content(found.asked.models)
    if value is None:
        if found.asked.models and found.asked.models.ok and offered:
            return doubtful("GET /models answers, but the label is missing", found.line)
        return skipped("not claimed, and not offered")
    if value.lower() != "true":
        return broken(f"the label's value is {value!r}", image.line)
    return passed("present")


def _models(
    identity: str, why: str, fix: str, page: str = API
) -> Callable[[Callable[[Models], Verdict]], None]:
    def register(judge: Callable[[Models], Verdict]) -> None:
        @rule(identity, MULTI, why=why, fix=fix, page=page, needs=(MODELS,))
        def judged(evidence: Evidence) -> Verdict:
            return judge(evidence[MODELS])

    return register


@_models(
    "M-03",
    "Models are loaded when they are first asked for: at the start there is none.",
    "Answer /ping with 200 as soon as models can be loaded.",
    "multi-model-endpoints",
)
def healthy_empty(found: Models) -> Verdict:
    if not found.startup.ok:
        return broken(found.startup.trouble, found.line)
    return passed("200")


def _codes(found: Models, **expected: tuple[Exchange | None, int]) -> Verdict | None:
    for name, (answer, status) in expected.items():
        if answer is None or answer.status != status:
            return broken(f"{name.replace('_', ' ')}: {answer} instead of {status}", found.line)
    return None


@_models(
    "M-04",
    "SageMaker tells by the status: 200 loaded, 409 already there, 507 no room; an error must not be 200.",
    "Load before answering; 409 for a name that is loaded; 4xx or 5xx where the path is wrong.",
)
def load(found: Models) -> Verdict:
    if not found.startup.ok:
        return skipped("not healthy without models, see M-03")
    if found.load is None or not found.load.ok:
        return broken(f"a good path: {found.load}", found.line)
    if wrong := _codes(found, the_same_name_again=(found.load_again, 409)):
        return wrong
    if found.load_bogus is None or found.load_bogus.status is None or found.load_bogus.ok:
        return broken(f"a path that does not exist: {found.load_bogus}", found.line)
    return passed(f"loaded after {found.load.seconds:.2f} s, then 409", seconds=round(found.load.seconds, 3))


@_models(
    "M-05",
    "SageMaker compares the list with its own.",
    'Answer {"models": [{"modelName": …, "modelUrl": …}]}, an empty list where there is none.',
)
def listing(found: Models) -> Verdict:
    if not found.startup.ok:
        return skipped("not healthy without models, see M-03")
    if (content(found.empty_list) or {}).get("models") != []:
        return broken(f"without models: {_text(found.empty_list)}", found.line)
    found.loaded()
    models = (content(found.listed) or {}).get("models")
    expected = [{"modelName": found.names[0], "modelUrl": found.url}]
    if models != expected:
        return broken(f"with one model: {_text(found.listed)}", found.line)
    return passed("empty, then one")


@_models(
    "M-06",
    "It tells whether a model is loaded: 404 where it is not.",
    'Answer {"modelName": …, "modelUrl": …} or 404.',
)
def describing(found: Models) -> Verdict:
    if not found.startup.ok:
        return skipped("not healthy without models, see M-03")
    if wrong := _codes(found, a_name_that_is_not_loaded=(found.unknown, 404)):
        return wrong
    found.loaded()
    if wrong := _codes(found, a_loaded_name=(found.described, 200)):
        return wrong
    answer: Any = content(found.described)
    if isinstance(answer, list) and len(answer) == 1:
        return doubtful("a list of one instead of an object", found.line)
    if not isinstance(answer, dict) or answer.get("modelName") != found.names[0]:
        return broken(_text(found.described), found.line)
    return passed("200 and 404")


@_models(
    "M-07",
    "SageMaker unloads models when memory runs short, and loads another right after.",
    "Free the memory, then answer 200; 404 for a name that is not loaded.",
)
def unload(found: Models) -> Verdict:
    if not found.startup.ok:
        return skipped("not healthy without models, see M-03")
    if wrong := _codes(found, a_name_that_is_not_loaded=(found.unload_unknown, 404)):
        return wrong
    found.loaded()
    if found.unload is None or not found.unload.ok:
        return broken(f"a loaded name: {found.unload}", found.line)
    if wrong := _codes(found, the_name_afterwards=(found.after_unload, 404)):
        return wrong
    return passed("gone afterwards")


@_models(
    "M-08",
    "This is where a multi-model endpoint's requests arrive; 404 makes SageMaker load the model.",
    "Predict with that model, or answer 404.",
)
def invoke(found: Models) -> Verdict:
    if not found.startup.ok:
        return skipped("not healthy without models, see M-03")
    if wrong := _codes(found, a_name_that_is_not_loaded=(found.invoked_unknown, 404)):
        return wrong
    found.loaded()
    if found.invoked is None:
        return skipped("no request to try it with – give one with --payload and --content-type")
    if not found.invoked.ok:
        return broken(f"a loaded name: {found.invoked}", found.line)
    return passed("200 and 404")


@_models(
    "M-09",
    "It is a long random key, not the file's name; two names may even have the same path.",
    "Use the name as a key only; take the path from url.",
)
def opaque_names(found: Models) -> Verdict:
    found.loaded()
    if found.load_second is None or not found.load_second.ok:
        return broken(f"a second name with the same path: {found.load_second}", found.line)
    return passed("two names, one path")


@_models(
    "M-10",
    "The documentation names no other code of success.",
    "Answer 200, not 201 or 204.",
)
def success_code(found: Models) -> Verdict:
    found.loaded()
    for name, answer in (("LOAD", found.load), ("UNLOAD", found.unload)):
        if answer is not None and answer.ok and answer.status != 200:
            return broken(f"{name}: {answer.status}", found.line)
    return passed("200")


@_models(
    "M-11",
    "While a model is loaded the others are asked, and so is /ping.",
    "Load outside of the lock that requests need.",
)
def unblocked(found: Models) -> Verdict:
    found.loaded()
    wrong = [e for e in found.pings_while_loading if e.status != 200]
    wrong += [e for e in found.invoked_while_loading if not e.ok]
    if wrong:
        return broken(f"while a model was being loaded: {wrong[0]}", found.line)
    if bad := [e for e in found.loaded_together[1:] if not e.ok]:
        return broken(f"two loads at once: {bad[0]}", found.line)
    worst = slowest(found.invoked_while_loading)
    load_seconds = slowest(found.loaded_together)
    if load_seconds > 0.5 and worst > 0.4 * load_seconds:
        return broken(f"a prediction waited {worst:.1f} s for a load of {load_seconds:.1f} s", found.line)
    return passed(f"slowest prediction meanwhile: {1000 * worst:.0f} ms", slowest=round(worst, 3))


@_models(
    "M-13",
    "Without model caching every request loads and unloads its model.",
    "Release everything on unload: files, threads, processes.",
)
def cycles(found: Models) -> Verdict:
    found.loaded()
    for index, answer in enumerate(found.cycles):
        if not answer.ok:
            return broken(f"cycle {index // 2 + 1} of {CYCLES}: {answer}", found.line)
    return passed(f"{CYCLES} times", cycles=CYCLES)


def _text(answer: Exchange | None) -> str:
    return f"{answer} {answer.body[:120].decode(errors='replace')}" if answer else "no answer"
