"""Chapters S-e and M-01: what counts only where the image claims it."""

from __future__ import annotations

import re

from sagegen.check.core import Area, Evidence, Skip, Verdict, broken, doubtful, passed, rule, skipped
from sagegen.check.scenarios.features import (
    ATTRIBUTES,
    BIDIRECTIONAL_LABEL,
    FEATURES,
    SESSION,
    STREAM,
    Conversation,
    Features,
)
from sagegen.check.scenarios.image import IMAGE
from sagegen.check.scenarios.invocations import STREAM_PATH
from sagegen.check.scenarios.serving import SERVE

PAGE = "your-algorithms-inference-code"
RUNTIME = "https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html"
SESSION_ID = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*;\sExpires=\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")


@rule(
    "S-27",
    Area.SERVE,
    why="The client gets X-Amzn-SageMaker-Custom-Attributes only if the container sets it in its answer.",
    fix="Set the header, at most 1024 visible ASCII characters.",
    page=RUNTIME,
    needs=(FEATURES,),
)
def custom_attributes(evidence: Evidence) -> Verdict:
    found = evidence[FEATURES]
    value = found.answered(ATTRIBUTES)[0].headers.get("x-amzn-sagemaker-custom-attributes", "")
    if not re.fullmatch(r"[\x20-\x7e]{1,1024}", value):
        return broken(f"X-Amzn-SageMaker-Custom-Attributes: {value[:80]!r}", found.startup.line)
    return passed(value[:80])


@rule(
    "S-60",
    Area.SERVE,
    why="A proxy or server that buffers turns a stream into one late answer.",
    fix="Answer with HTTP chunks, flush each, and switch proxy buffering off.",
    page="realtime-endpoints-test-endpoints",
    needs=(FEATURES,),
)
def response_stream(evidence: Evidence) -> Verdict:
    found = evidence[FEATURES]
    (answer,) = found.answered(STREAM)
    first, total = answer.first_byte_seconds or 0.0, answer.seconds
    if answer.headers.get("transfer-encoding", "").lower() != "chunked":
        return broken("the answer is not chunked", found.startup.line)
    if answer.pieces < 2 or first > 0.9 * total:
        return broken(
            f"{answer.pieces} pieces, the first after {first:.2f} s of {total:.2f} s", found.startup.line
        )
    return passed(
        f"{answer.pieces} pieces, the first after {first:.2f} s of {total:.2f} s", pieces=answer.pieces
    )


@rule(
    "S-70",
    Area.SERVE,
    why="The session's ID and its end travel in a header whose form SageMaker checks.",
    fix="On NEW_SESSION answer X-Amzn-SageMaker-Session-Id: <id>; Expires=YYYY-MM-DDTHH:MM:SSZ.",
    page="stateful-sessions",
    needs=(FEATURES,),
)
def sessions(evidence: Evidence) -> Verdict:
    found = evidence[FEATURES]
    opened, went_on = found.answered(SESSION)
    header = opened.headers.get("x-amzn-sagemaker-session-id", "")
    if not SESSION_ID.fullmatch(header):
        return broken(f"X-Amzn-SageMaker-Session-Id: {header[:80]!r}", found.startup.line)
    if not went_on.ok:
        return broken(f"in the session: {went_on}", found.startup.line)
    return passed(header[:80])


@rule(
    "S-65",
    Area.SERVE,
    why="Without it SageMaker does not open such a connection.",
    fix=f"LABEL {BIDIRECTIONAL_LABEL}=true",
    page=PAGE,
    needs=(IMAGE, SERVE),
)
def bidirectional_label(evidence: Evidence) -> Verdict:
    image, found = evidence[IMAGE], evidence[SERVE].healthy()
    labelled = (image.config.get("Labels") or {}).get(BIDIRECTIONAL_LABEL)
    if found.asked.websocket_status == 101 and not labelled:
        return doubtful(f"{STREAM_PATH} accepts a WebSocket, but the label is missing", found.line)
    if not labelled:
        return skipped("not claimed, and not offered")
    if labelled.lower() != "true":
        return broken(f"the label's value is {labelled!r}", image.line)
    return passed("present")


@rule(
    "S-66",
    Area.SERVE,
    why="SageMaker opens ws://container:8080/invocations-bidirectional-stream.",
    fix="Answer the upgrade there with 101.",
    page=PAGE,
    needs=(FEATURES,),
)
def handshake(evidence: Evidence) -> Verdict:
    found = evidence[FEATURES]
    status = found.talked().status
    return passed("101") if status == 101 else broken(f"HTTP {status}", found.startup.line)


@rule(
    "S-67",
    Area.SERVE,
    why="SageMaker pings every 60 s, and closes the connection after five without an answer.",
    fix="Answer each Ping frame with a Pong of the same payload.",
    page=PAGE,
    needs=(FEATURES,),
)
def pong(evidence: Evidence) -> Verdict:
    found = evidence[FEATURES]
    seconds = _opened(found).pong_seconds
    if seconds is None or seconds > 2:
        return broken("no pong within 2 s", found.startup.line)
    return passed(f"{1000 * seconds:.0f} ms", seconds=round(seconds, 4))


@rule(
    "S-68",
    Area.SERVE,
    why="SageMaker forwards each part of a payload as a frame: text, binary, or a fragment of a message.",
    fix="Use a complete WebSocket library, and answer Close with Close.",
    page=PAGE,
    needs=(FEATURES,),
)
def frames(evidence: Evidence) -> Verdict:
    found = evidence[FEATURES]
    conversation = _opened(found)
    if conversation.pong_seconds is None:
        raise Skip("no pong to see it by, see S-67")
    survived = conversation.survived or {}
    for kind in ("text", "binary", "fragmented"):
        if not survived.get(kind):
            return broken(f"a {kind} message ends the connection", found.startup.line)
    if not conversation.closed:
        return broken("Close is not answered", found.startup.line)
    return passed("all three, and Close")


def _opened(found: Features) -> Conversation:
    conversation = found.talked()
    if conversation.status != 101:
        raise Skip("no WebSocket, see S-66")
    return conversation
