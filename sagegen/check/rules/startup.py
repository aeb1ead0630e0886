"""Chapter S: an endpoint starts."""

from __future__ import annotations

from sagegen.check.core import (
    Area,
    Evidence,
    Skip,
    Verdict,
    broken,
    doubtful,
    passed,
    rule,
    skipped,
)
from sagegen.check.jobs import NETWORK
from sagegen.check.limits import Limits
from sagegen.check.scenarios.serving import SERVE
from sagegen.check.scenarios.startup import CORRUPT
from sagegen.platform import PORT

PAGE = "your-algorithms-inference-code"


@rule(
    "S-01",
    Area.SERVE,
    why="This is the whole command line of an endpoint; CMD is overridden by the one argument.",
    fix="Make `serve` an executable on the PATH, or let the ENTRYPOINT accept it as its last argument.",
    page=PAGE,
    needs=(SERVE,),
)
def serve_starts(evidence: Evidence) -> Verdict:
    found = evidence[SERVE]
    if found.startup.start_error:
        return broken(found.startup.trouble, found.line)
    if found.startup.exit:
        if found.neutral:
            raise Skip("ended without a model – give your data with --opt-ml")
        if not found.startup.ok and found.writable and found.writable.ok:
            return skipped("ended on a read-only model, see S-41")
        return broken(found.startup.trouble, found.line)
    return passed("running")


@rule(
    "S-10",
    Area.SERVE,
    why="SageMaker connects to port 8080 from outside: another port, or 127.0.0.1, is never reached.",
    fix="Bind to 0.0.0.0:8080.",
    page=PAGE,
    needs=(SERVE,),
)
def port(evidence: Evidence) -> Verdict:
    found = evidence[SERVE]
    found.runs()
    if found.startup.connected or found.startup.ok:
        return passed(f"port {PORT}")
    where = "its sockets cannot be listed"
    if found.startup.listening is not None:
        sockets = ", ".join(f"{host}:{number}" for host, number in found.startup.listening)
        where = f"it listens on {sockets or 'no port'}"
        if any(host == "[::]" and number == PORT for host, number in found.startup.listening):
            where += ", for IPv6 only"
    return broken(f"no connection; {where}", found.meanwhile(f"http://localhost:{PORT}/ping"))


@rule(
    "S-11",
    Area.SERVE,
    why="Only 200 counts as healthy. SageMaker takes an instance down that does not answer 200 in time.",
    fix="Answer GET /ping with 200 and an empty body once the model can predict.",
    page=PAGE,
    needs=(SERVE,),
)
def ping(evidence: Evidence) -> Verdict:
    found = evidence[SERVE]
    found.runs()
    curl = found.meanwhile(f"http://localhost:{PORT}/ping")
    if not found.startup.ok:
        if not found.startup.connected:
            raise Skip("no connection, see S-10")
        last = found.startup.answers[-1]
        if last.status is not None and last.status >= 500:
            raise Skip(f"still {last.status} when the time was up, see S-13")
        if found.neutral:
            found.healthy()
        if "no complete answer" in last.error:
            raise Skip("no answer in time, see S-12")
        return broken(str(last), curl)
    wrong = next((e for e in found.load.pings if e.status is not None and e.status != 200), None)
    if wrong:
        return broken(f"200 at first, later {wrong}", curl)
    body = len(found.startup.answers[-1].body)
    return passed("200" + (f" with {body} bytes" if body else ""), bytes=body)


@rule(
    "S-13",
    Area.SERVE,
    why="After that the deployment fails, unless ContainerStartupHealthCheckTimeoutInSeconds is longer.",
    fix="Load less, or faster; put large models on disk in a form that can be mapped.",
    page=PAGE,
    needs=(SERVE,),
)
def startup(evidence: Evidence) -> Verdict:
    found = evidence[SERVE]
    found.runs()
    limits = Limits.make()
    seconds = found.startup.healthy_seconds
    if seconds is None:
        if not found.startup.connected:
            raise Skip("no connection, see S-10")
        last = found.startup.answers[-1]
        if last.status is None or last.status < 500:
            raise Skip("/ping does not answer as it should, see S-11 and S-12")
        if found.neutral:
            found.healthy()
        return broken(f"after {Limits.make().timeout:.0f} s: {last}", found.line)
    if seconds > limits.startup:
        return broken(f"{seconds:.0f} s of 480 s", found.line, seconds=round(seconds, 1))
    if seconds > limits.startup_slow:
        return doubtful(f"{seconds:.0f} s of 480 s", found.line, seconds=round(seconds, 1))
    return passed(f"{seconds:.1f} s", seconds=round(seconds, 2))


@rule(
    "S-14",
    Area.SERVE,
    why="SageMaker sends requests after the first 200. If the model is not loaded then, they fail.",
    fix="Load the model before answering 200; answer 500 when it cannot be loaded.",
    page=PAGE,
    needs=(SERVE, CORRUPT),
)
def honest_ping(evidence: Evidence) -> Verdict:
    found = evidence[SERVE].healthy()
    first = found.startup.first
    if first is not None and found.payload and found.golden and found.golden.ok and not first.ok:
        return broken(f"right after the first 200 the model answers {first}", found.post())
    corrupt = evidence[CORRUPT]
    if corrupt.ok:
        return broken(
            f"200 after {corrupt.healthy_seconds:.1f} s though the model's files are garbage", corrupt.line
        )
    return passed(f"with a corrupt model: {corrupt.trouble[:80]}")


@rule(
    "S-15",
    Area.SERVE,
    why="Any other answer, or a 200 that is followed by an error, looks like a broken server.",
    fix="Bind early and answer 503 until the model is loaded, or bind late.",
    page=PAGE,
    needs=(SERVE,),
)
def while_starting(evidence: Evidence) -> Verdict:
    found = evidence[SERVE].healthy()
    for answer in found.startup.answers[:-1]:
        if answer.status is not None and answer.status < 500:
            return broken(f"before the first 200: {answer}", found.meanwhile(f"http://localhost:{PORT}/ping"))
    return passed(f"{len(found.startup.answers) - 1} polls before the first 200")


@rule(
    "S-41",
    Area.SERVE,
    why="The model is mounted read-only: a server that writes caches, locks or unpacked files there fails.",
    fix="Write to /tmp; set cache variables (HF_HOME, NUMBA_CACHE_DIR, …) accordingly.",
    page=PAGE,
    needs=(SERVE,),
)
def read_only_model(evidence: Evidence) -> Verdict:
    found = evidence[SERVE]
    if not found.startup.ok:
        if found.writable and found.writable.ok:
            return broken(f"{found.startup.trouble}; with a writable model it is healthy", found.line)
        found.healthy()
    return passed("served from a read-only folder")


@rule(
    "SEC-01",
    Area.SERVE,
    why="Under network isolation a server that fetches something at its start fails or hangs.",
    fix="Put everything into the image or the model; call neither AWS nor package servers at start.",
    page="mkt-algo-model-internet-free",
    needs=(SERVE,),
)
def isolated(evidence: Evidence) -> Verdict:
    found = evidence[SERVE]
    if not found.startup.ok:
        if NETWORK.search(found.log):
            return broken(f"{found.startup.trouble}, and the log complains about the network", found.line)
        found.healthy()
    return passed("healthy without a way out")
