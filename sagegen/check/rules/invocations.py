"""Chapter S: what an endpoint answers."""

from __future__ import annotations

import re

from sagegen.check.core import (
    Area,
    Evidence,
    Verdict,
    broken,
    passed,
    rule,
    skipped,
)
from sagegen.check.endpoint import by_lines, enlarged
from sagegen.check.limits import Limits
from sagegen.check.probe import ENDLESS, Exchange
from sagegen.check.scenarios.invocations import lines
from sagegen.check.scenarios.load import EMPTY_BODY, LARGE, Alone, Load
from sagegen.check.scenarios.serving import SERVE, Serving
from sagegen.platform import PORT, limits

PAGE = "your-algorithms-inference-code"
FAQ = "hosting-faqs"
OVERLOADED = (429, 503)
#: Python's and Java's.
TRACEBACK = re.compile(rb"Traceback \(most recent call last\)|^\s*at [\w.$]+\([\w.]+:\d+\)", re.MULTILINE)


@rule(
    "S-16",
    Area.SERVE,
    why="The list of requirements says that both paths accept POST, while the ping section says GET.",
    fix="Accept both methods on /ping.",
    page=PAGE,
    needs=(SERVE,),
)
def post_ping(evidence: Evidence) -> Verdict:
    found = evidence[SERVE].healthy()
    answer = found.asked.post_ping
    if answer is None or answer.status != 200:
        return broken(str(answer), found.meanwhile(f"-X POST http://localhost:{PORT}/ping"))
    return passed("200")


@rule(
    "S-20",
    Area.SERVE,
    why="Every request of a client arrives here. Each must get its own complete answer, also while the"
    " server answers others.",
    fix="Answer POST /invocations with 200 and a prediction for every record. Keep what belongs to one"
    " request out of variables that all requests share.",
    page=PAGE,
    needs=(SERVE,),
)
def invocations(evidence: Evidence) -> Verdict:
    found = evidence[SERVE].healthy()
    if found.golden is None:
        answer = found.startup.first
        if answer is not None and (answer.status in (404, 405)):
            return broken(f"POST /invocations: {answer}", found.post())
        return skipped("no request to try it with – give one with --payload and --content-type")
    if found.golden.status is None and "no complete answer" in found.golden.error:
        return skipped("no answer in time, see S-22")
    if not found.golden.ok:
        text = found.golden.body[:160].decode(errors="replace").strip()
        return broken(f"{found.golden} {text}", found.post())
    if cut := _cut(found):
        return broken(cut, found.post(body="@LARGE"))
    if not found.load.ended and (wrong := _wrong_under_load(found)):
        return broken(wrong, found.parallel())
    answers = len(found.load.answered)
    return passed(
        f"{found.golden.status}, {len(found.golden.body)} bytes; {answers} answers under load",
        bytes=len(found.golden.body),
        answers=answers,
    )


def _cut(found: Serving) -> str:
    """What is missing in the answer to a large request, where each record has a line of its own."""
    golden, large, payload = found.golden, found.asked.large, found.payload
    assert golden and payload
    if not by_lines(payload) or large is None or not large.ok or not found.asked.steady_lines:
        return ""
    records = len(payload.body.splitlines())
    sent = len(enlarged(payload, LARGE).splitlines())
    if lines(golden) != records or lines(large) == sent:
        return ""
    return f"{sent} records in, {lines(large)} out"


def _wrong_under_load(found: Serving) -> str:
    """What answers under load show that the same requests alone do not; empty where nothing."""
    load = found.load
    answers = [*load.parallel, *(answer for _, answer in load.mixed)]
    if load.busy_alone and load.busy_alone.ok:
        answers += load.busy
    # A refusal for lack of room is S-29's; an answer that does not come in time says how slow the model is;
    # and a server that accepts too late, which is S-21's, loses connections for that.
    accepts_late = any((e.connect_seconds or 0) > Limits.make().connect for e in answers)
    failed = [e for e in answers if not e.ok and e.status not in OVERLOADED and not (e.refused or e.late)]
    failed = [e for e in failed if e.status or not accepts_late]
    if failed:
        return f"{len(failed)} of {len(answers)} requests under load that succeed alone: {failed[0]}"
    good = [(one, answer) for one, answer in load.mixed if answer.ok]
    if swapped := [answer for one, answer in good if _belongs_to_another(one, answer, load)]:
        return f"{len(swapped)} of {len(load.mixed)} answers under load belong to another request"
    if all(one.steady and lines(one.answer) == len(one.body.splitlines()) for one in load.alone):
        cut = [answer for one, answer in good if lines(answer) != lines(one.answer)]
        if cut:
            return f"{len(cut)} of {len(load.mixed)} answers under load have more or fewer lines than records"
    return ""


def _belongs_to_another(one: Alone, answer: Exchange, load: Load) -> bool:
    """Whether an answer, or a line of it, is what another request gets and this one does not.

    An answer that is merely different is no proof: batches of other sizes round differently.
    """
    alone = load.asked_again.get(one.body)
    if not one.steady or answer.body == one.answer.body or (alone and alone.body != one.answer.body):
        return False
    own = set(one.answer.body.splitlines())
    foreign = {line for other in load.alone if other.steady for line in other.answer.body.splitlines()} - own
    return not foreign.isdisjoint(answer.body.splitlines()) or answer.body in {
        other.answer.body for other in load.alone if other.steady
    }


@rule(
    "S-22",
    Area.SERVE,
    why="Then SageMaker stops waiting, and the client gets a ModelError.",
    fix="Predict faster, on smaller batches; or use asynchronous inference.",
    page=PAGE,
    needs=(SERVE,),
)
def answer_time(evidence: Evidence) -> Verdict:
    found = evidence[SERVE].healthy()
    if found.golden is None:
        found.answered()
    assert found.golden is not None
    seconds = found.golden.seconds
    if found.golden.status is None and "no complete answer" in found.golden.error:
        return broken(str(found.golden), found.post(), seconds=round(seconds, 1))
    if not found.golden.ok:
        found.answered()
    return passed(f"{1000 * seconds:.0f} ms", seconds=round(seconds, 4))


@rule(
    "S-23",
    Area.SERVE,
    why="Real-time endpoints deliver up to 25 MB; nginx' default of 1 MB cuts them off.",
    fix="Raise client_max_body_size and the framework's own limit.",
    page="deploy-model-options",
    needs=(SERVE,),
)
def large_body(evidence: Evidence) -> Verdict:
    found = evidence[SERVE]
    found.answered()
    found.survived()
    answer = found.asked.large
    if answer is not None and answer.error == ENDLESS:
        return passed(f"taken: {ENDLESS}")  # records of a few bytes have longer answers
    if answer is None or answer.status is None or answer.status in (413, 502, 503, 504):
        return broken(str(answer), found.post())
    return passed(str(answer), seconds=round(answer.seconds, 2))


@rule(
    "S-24",
    Area.SERVE,
    why="The platform may add headers of its own at any time.",
    fix="Read the headers that you know; do not validate the rest.",
    page=PAGE,
    needs=(SERVE,),
)
def unknown_headers(evidence: Evidence) -> Verdict:
    return _same(evidence[SERVE], evidence[SERVE].asked.junk)


@rule(
    "S-25",
    Area.SERVE,
    why="Custom attributes, inference IDs and target variants reach the container as headers.",
    fix="Accept X-Amzn-SageMaker-… headers, and ignore what you do not use.",
    page="https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html",
    needs=(SERVE,),
)
def known_headers(evidence: Evidence) -> Verdict:
    return _same(evidence[SERVE], evidence[SERVE].asked.known)


@rule(
    "S-26",
    Area.SERVE,
    why="Clients rely on them: what cannot be read is 415, what cannot be produced is 406.",
    fix="Set Content-Type; compare media types without parameters; refuse unknown ones with 415 or 406.",
    page=FAQ,
    needs=(SERVE,),
)
def media_types(evidence: Evidence) -> Verdict:
    found = evidence[SERVE]
    golden = found.answered()
    curl = found.post()
    if not golden.headers.get("content-type"):
        return broken("the answer has no Content-Type", curl)
    if "content-type" in golden.repeated:
        return broken("the answer has more than one Content-Type", curl)
    charset = found.asked.charset
    if charset is not None and not charset.ok:
        assert found.payload
        kind = f"{found.payload.content_type}; charset=utf-8"
        return broken(f"Content-Type: {kind} gives {charset}", found.post(kind=kind))
    if found.asked.any_accept is None or not found.asked.any_accept.ok:
        return broken(f"Accept: */* gives {found.asked.any_accept}", curl)
    unsupported = {"Content-Type": found.asked.unsupported_type, "Accept": found.asked.unsupported_accept}
    for name, answer in unsupported.items():
        if answer is None or answer.status is None or not 400 <= answer.status < 500:
            return broken(f"an unsupported {name} gives {answer}", curl)
    statuses = " and ".join(str(answer.status) for answer in unsupported.values() if answer)
    return passed(
        f"{statuses} for unsupported types",
        content_type=golden.headers["content-type"],
    )


@rule(
    "S-28",
    Area.SERVE,
    why="A 5xx, or a crash, hides whose mistake it was; only 2048 bytes of the text are passed on, and a"
    " traceback shows clients how the server is built.",
    fix="Catch parse errors and answer 400 with one line of text; an empty body is malformed too.",
    page="https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html",
    needs=(SERVE,),
)
def malformed(evidence: Evidence) -> Verdict:
    found = evidence[SERVE]
    found.answered()
    answer = found.asked.malformed
    curl = found.post(body="@/bin/true")
    if answer is None or answer.status is None or not 400 <= answer.status < 500:
        return broken(f"malformed input gives {answer}", curl)
    if TRACEBACK.search(answer.body):
        return broken(f"{answer.status} with a traceback", curl)
    if len(answer.body) > limits.ERROR_BYTES:
        return broken(f"an error text of {len(answer.body)} bytes", curl, bytes=len(answer.body))
    if found.asked.after_malformed is None or not found.asked.after_malformed.ok:
        return broken(f"the next good request gives {found.asked.after_malformed}", curl)
    empty = found.asked.empty
    if not found.load.ended and empty is not None and (empty.status is None or empty.status >= 500):
        return broken(f"an empty body gives {empty}", found.post(body="''"))
    if EMPTY_BODY in found.load.endings:
        return broken(f"a process of the server ends {EMPTY_BODY}, each time", found.post(body="''"))
    return passed(f"{answer.status}, {len(answer.body)} bytes", status=answer.status)


@rule(
    "S-77",
    Area.SERVE,
    why="Detailed observability, on by default, fetches it every few seconds.",
    fix="Answer with Prometheus text, or with a plain 404: never with 5xx and never through the model.",
    page="monitoring-cloudwatch-detailed-observability",
    needs=(SERVE,),
)
def metrics(evidence: Evidence) -> Verdict:
    found = evidence[SERVE].healthy()
    if found.asked.metrics is None:
        found.survived()
    answer = found.asked.metrics
    if answer is None or answer.status is None or answer.status not in (200, 404, 405):
        return broken(str(answer), found.meanwhile(f"http://localhost:{PORT}/metrics"))
    return passed(str(answer.status))


def _same(found: Serving, answer: Exchange | None) -> Verdict:
    golden = found.answered()
    if answer is None or answer.status != golden.status:
        return broken(str(answer), found.post())
    return passed(str(answer.status))
