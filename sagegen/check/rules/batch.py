"""Chapter B: batch transform."""

from __future__ import annotations

import json

from sagegen.check.core import Area, Evidence, Skip, Verdict, broken, doubtful, passed, rule, skipped
from sagegen.check.endpoint import LINES
from sagegen.check.probe import Exchange
from sagegen.check.scenarios.batch import TRANSFORM, Transform, claimed_bytes
from sagegen.check.scenarios.invocations import lines
from sagegen.check.scenarios.serving import SERVE
from sagegen.platform import limits

PAGE = "your-algorithms-batch-code"
BATCH = "batch-transform"
#: A slow model is not broken: how long a transform job waits is a setting of the job (B-06).
SETTING = (
    f"; a transform job waits {limits.TRANSFORM_INVOCATION:.0f} s, or up to {limits.TRANSFORM_MOST:.0f} s"
    " with InvocationsTimeoutInSeconds; a smaller MaxPayloadInMB makes its requests smaller"
)
PAYLOAD_ADVICE = "needs records that the model answers – give some with --payload and --content-type text/csv"


def _ready(evidence: Evidence) -> Transform:
    found = evidence[TRANSFORM]
    if not found.startup.ok:
        raise Skip("not healthy with a transform job's variables, see B-02 and B-03")
    return found


def _records(evidence: Evidence) -> Transform:
    found = _ready(evidence)
    if not found.by_lines:
        raise Skip(PAYLOAD_ADVICE)
    evidence[SERVE].answered()
    return found


@rule(
    "B-02",
    Area.BATCH,
    why="The service sets true, the SDK's local mode True.",
    fix="Compare the variable without regard to case.",
    page=PAGE,
    needs=(TRANSFORM,),
)
def batch_variable(evidence: Evidence) -> Verdict:
    startup = evidence[TRANSFORM].capitals
    if startup is None or not startup.ok:
        return broken(startup.trouble if startup else "not started", startup.line if startup else "")
    return passed("healthy")


@rule(
    "B-03",
    Area.BATCH,
    why="Payload size, strategy and concurrency are set where the user chose them.",
    fix="Read SAGEMAKER_MAX_PAYLOAD_IN_MB, SAGEMAKER_BATCH_STRATEGY and SAGEMAKER_MAX_CONCURRENT_TRANSFORMS"
    " with defaults.",
    page=PAGE,
    needs=(TRANSFORM,),
)
def batch_variables(evidence: Evidence) -> Verdict:
    found = evidence[TRANSFORM]
    if found.capitals and not found.capitals.ok:
        raise Skip("not healthy in batch mode at all, see B-02")
    return passed("healthy") if found.startup.ok else broken(found.startup.trouble, found.startup.line)


@rule(
    "B-04",
    Area.BATCH,
    why="A transform job asks before its first request; a hang or a wrong answer delays or misleads it.",
    fix='{"MaxConcurrentTransforms": 8, "MaxPayloadInMB": 6}; their product is at most 100 MB. BatchStrategy'
    " may be left out: SageMaker then takes its default.",
    page=PAGE,
    needs=(TRANSFORM,),
)
def execution_parameters(evidence: Evidence) -> Verdict:
    found = _ready(evidence)
    answer = found.parameters
    line = f"{found.startup.line} # meanwhile: curl -i http://localhost:8080/execution-parameters"
    if answer is None or answer.status not in (200, 404, 405):
        return broken(str(answer), line)
    if answer.status != 200:
        return passed(f"{answer.status}: not offered")
    if trouble := _wrong(answer):
        return broken(trouble, line)
    return passed(answer.body.decode(errors="replace").strip()[:160])


def _wrong(answer: Exchange) -> str | None:
    try:
        found = json.loads(answer.body)
    except ValueError:
        return "not JSON"
    if not isinstance(found, dict):
        return "not a JSON object"
    transforms, strategy = found.get("MaxConcurrentTransforms"), found.get("BatchStrategy")
    payload = found.get("MaxPayloadInMB")
    if type(transforms) is not int or transforms < 1:
        return f"MaxConcurrentTransforms is {transforms!r}"
    if strategy not in (None, "MULTI_RECORD", "SINGLE_RECORD"):
        return f"BatchStrategy is {strategy!r}, neither MULTI_RECORD nor SINGLE_RECORD"
    if type(payload) is not int or not 0 <= payload <= 100:
        return f"MaxPayloadInMB is {payload!r}"
    if transforms * payload > 100:
        return f"{transforms} transforms of {payload} MB are more than 100 MB"
    return None


@rule(
    "B-07",
    Area.BATCH,
    why="MaxPayloadInMB of /execution-parameters becomes the size of the job's requests.",
    fix="Let the server's limit and /execution-parameters come from the same number.",
    page=BATCH,
    needs=(TRANSFORM, SERVE),
)
def promised_payload(evidence: Evidence) -> Verdict:
    found = _ready(evidence)
    if found.parameters is None or not found.parameters.ok or not claimed_bytes(found.parameters):
        return skipped("no size is promised")
    evidence[SERVE].answered()
    answer, size = found.claimed, claimed_bytes(found.parameters)
    line = found.line(f'yes "$(cat PAYLOAD)" | head -c {size}')
    if answer and answer.late:
        return doubtful(f"{size / 1e6:.0f} MB: {answer}{SETTING}", line, bytes=size)
    if answer is None or answer.status is None or answer.status in (413, 502, 503, 504):
        return broken(f"{size / 1e6:.0f} MB: {answer}", line, bytes=size)
    return passed(f"{size / 1e6:.0f} MB: {answer}", bytes=size)


@rule(
    "B-08",
    Area.BATCH,
    why="With MaxPayloadInMB=0 a transform job streams each file in HTTP chunks.",
    fix="Use a server that decodes chunked requests (wsgi.input_terminated in Flask and gunicorn).",
    page=BATCH,
    needs=(TRANSFORM, SERVE),
)
def chunked(evidence: Evidence) -> Verdict:
    found, asked = _ready(evidence), evidence[SERVE].asked
    golden = evidence[SERVE].answered()
    answer = found.chunked
    line = found.line(more=" -H 'Transfer-Encoding: chunked'")
    if answer is None or not answer.ok:
        return broken(str(answer), line)
    if asked.steady and answer.body != golden.body:
        return broken(f"{len(answer.body)} bytes that differ from the answer to the same body", line)
    if asked.steady_lines and lines(answer) != lines(golden):
        return broken(f"{lines(answer)} lines instead of {lines(golden)}", line)
    return passed("the same answer" if asked.steady else "an answer; they differ from call to call")


@rule(
    "B-09",
    Area.BATCH,
    why="SplitType and BatchStrategy decide how many records a request holds.",
    fix="Predict on as many rows as there are.",
    page=BATCH,
    needs=(TRANSFORM, SERVE),
)
def any_number(evidence: Evidence) -> Verdict:
    found = _records(evidence)
    for body in found.bodies:
        if body.answer.late and body.records > 1:
            return doubtful(f"{body.name}: {body.answer}{SETTING}", found.line(body.command))
        if not body.answer.ok and body.answer.status != 413:
            return broken(f"{body.name}: {body.answer}", found.line(body.command))
    return passed(f"up to {max(body.records for body in found.bodies)} records")


@rule(
    "B-10",
    Area.BATCH,
    why="The job joins outputs to inputs by position: one too few, and all that follow are wrong.",
    fix="One output line per input line, whether or not the last one ends in a newline.",
    page="batch-transform-data-processing",
    needs=(TRANSFORM, SERVE),
)
def same_number(evidence: Evidence) -> Verdict:
    found = _records(evidence)
    if not evidence[SERVE].asked.steady_lines:
        raise Skip("the number of lines differs from call to call: they are no records")
    for body in found.bodies:
        if not body.answer.ok:
            continue
        if content_type(body.answer) not in LINES:
            raise Skip("the answer has no lines to count, see B-11")
        if (got := lines(body.answer)) != body.records:
            text = f"{body.name}: {body.records} records in, {got} out"
            return broken(text, found.line(body.command), sent=body.records, received=got)
    return passed("equal for every number")


@rule(
    "B-11",
    Area.BATCH,
    why="Joining inputs and outputs needs both in the same type.",
    fix="Produce the type that Accept names, and say so in Content-Type.",
    page="batch-transform-data-processing",
    needs=(TRANSFORM, SERVE),
)
def same_type(evidence: Evidence) -> Verdict:
    found = _records(evidence)
    answer = found.bodies[0].answer
    if not answer.ok:
        raise Skip("the model does not answer, see B-09")
    kind = content_type(answer)
    if kind != found.content_type:
        line = found.line(found.bodies[0].command)
        return broken(f"Accept: {found.content_type} gives Content-Type: {kind or 'none'}", line)
    return passed(kind)


@rule(
    "B-12",
    Area.BATCH,
    why="It fails its whole file: with a 4xx at once, or with a placeholder line that keeps the order.",
    fix="Answer 400 naming the record, or write ERROR in its place; never drop it.",
    page="batch-transform-errors",
    needs=(TRANSFORM, SERVE),
)
def poison(evidence: Evidence) -> Verdict:
    found = _records(evidence)
    answer, after = found.poisoned, found.after_poison
    line = found.line("{ head -n 1 PAYLOAD; echo poison; head -n 1 PAYLOAD; }")
    if answer is None or answer.status is None or answer.status >= 500:
        return broken(f"a bad record among good ones: {answer}", line)
    if answer.ok and lines(answer) != 3:
        return broken(f"3 records with a bad one in, {lines(answer)} out", line)
    if after is None or not after.ok:
        return broken(f"the next good request: {after}", line)
    return passed(f"HTTP {answer.status}", status=answer.status)


def content_type(answer: Exchange) -> str:
    """The media type of an answer, without parameters."""
    return answer.headers.get("content-type", "").partition(";")[0].strip().lower()
