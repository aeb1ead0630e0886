"""Chapter S: starting, answering and stopping an endpoint."""

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
    unclaimed,
)
from sagegen.check.limits import Limits
from sagegen.check.scenarios.serving import (
    CORRUPT,
    CRASH,
    FIRST_PORT,
    PIPELINE,
    PORT,
    SAFE_PORTS,
    SERVE,
    SERVERLESS,
    Serving,
    network_trouble,
    percentile,
    slowest,
)

SERVE_AREA = Area.SERVE
PAGE = "your-algorithms-inference-code"
FAQ = "hosting-faqs"
KILLED = 137
ERROR_BYTES = 2048


@rule(
    "S-01",
    SERVE_AREA,
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


def _answering(found: Serving) -> None:
    """Raise Skip where the server never got so far."""
    if found.startup.start_error or found.startup.exit:
        raise Skip("serve does not run, see S-01")
    if not found.startup.ok and found.writable and found.writable.ok:
        raise Skip("not healthy on a read-only model, see S-41")


@rule(
    "S-10",
    SERVE_AREA,
    why="SageMaker connects to port 8080 from outside: another port, or 127.0.0.1, is never reached.",
    fix="Bind to 0.0.0.0:8080.",
    page=PAGE,
    needs=(SERVE,),
)
def port(evidence: Evidence) -> Verdict:
    found = evidence[SERVE]
    _answering(found)
    if found.startup.connected or found.startup.ok:
        return passed(f"port {PORT}")
    where = "its sockets cannot be listed"
    if found.startup.listening is not None:
        sockets = ", ".join(f"{host}:{number}" for host, number in found.startup.listening)
        where = f"it listens on {sockets or 'no port'}"
    return broken(f"no connection; {where}", found.curl(f"http://localhost:{PORT}/ping"))


@rule(
    "S-11",
    SERVE_AREA,
    why="Only 200 counts as healthy; an instance that never says it is taken down.",
    fix="Answer GET /ping with 200 and an empty body once the model can predict.",
    page=PAGE,
    needs=(SERVE,),
)
def ping(evidence: Evidence) -> Verdict:
    found = evidence[SERVE]
    _answering(found)
    curl = found.curl(f"http://localhost:{PORT}/ping")
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
    wrong = next((e for e in found.pings if e.status is not None and e.status != 200), None)
    if wrong:
        return broken(f"200 at first, later {wrong}", curl)
    body = len(found.startup.answers[-1].body)
    return passed("200" + (f" with {body} bytes" if body else ""), bytes=body)


@rule(
    "S-12",
    SERVE_AREA,
    why="A slower answer counts as none: the instance is replaced.",
    fix="Answer from memory; never load, predict or lock in /ping.",
    page=PAGE,
    needs=(SERVE,),
)
def ping_time(evidence: Evidence) -> Verdict:
    found = evidence[SERVE]
    late = [
        e for e in found.startup.answers if e.connect_seconds is not None and "no complete answer" in e.error
    ]
    curl = found.curl(f"--max-time 2 http://localhost:{PORT}/ping")
    if not found.startup.ok and late:
        return broken(f"{len(late)} pings of {len(found.startup.answers)} took more than 2 s", curl)
    found.healthy()
    limits = Limits.make()
    p99 = percentile(found.pings, 0.99)
    failed = [e for e in found.pings if e.status is None]
    if failed:
        return broken(f"{len(failed)} of {len(found.pings)} pings: {failed[0]}", curl, p99=round(p99, 3))
    if p99 > limits.ping_slow:
        return doubtful(f"p99 {p99:.2f} s of 2 s", curl, p99=round(p99, 3))
    return passed(f"p99 {1000 * p99:.0f} ms", p99=round(p99, 4))


@rule(
    "S-13",
    SERVE_AREA,
    why="After that the deployment fails, unless ContainerStartupHealthCheckTimeoutInSeconds is longer.",
    fix="Load less, or faster; put large models on disk in a form that can be mapped.",
    page=PAGE,
    needs=(SERVE,),
)
def startup(evidence: Evidence) -> Verdict:
    found = evidence[SERVE]
    _answering(found)
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
    SERVE_AREA,
    why="SageMaker sends traffic after the first 200: too early, and the first customers get errors.",
    fix="Load the model before answering 200; answer 500 when it cannot be loaded.",
    page=PAGE,
    needs=(SERVE, CORRUPT),
)
def honest_ping(evidence: Evidence) -> Verdict:
    found = evidence[SERVE].healthy()
    first = found.startup.first
    if first is not None and found.payload and found.golden and found.golden.ok and not first.ok:
        return broken(f"right after the first 200 the model answers {first}", found.curl(found.post()))
    corrupt = evidence[CORRUPT]
    if corrupt.ok:
        return broken(
            f"200 after {corrupt.healthy_seconds:.1f} s though the model's files are garbage", corrupt.line
        )
    return passed(f"with a corrupt model: {corrupt.trouble[:80]}")


@rule(
    "S-15",
    SERVE_AREA,
    why="Anything else, or a 200 that is taken back, looks like a broken server rather than a starting one.",
    fix="Bind early and answer 503 until the model is loaded, or bind late.",
    page=PAGE,
    needs=(SERVE,),
)
def while_starting(evidence: Evidence) -> Verdict:
    found = evidence[SERVE].healthy()
    for answer in found.startup.answers[:-1]:
        if answer.status is not None and answer.status < 500:
            return broken(f"before the first 200: {answer}", found.curl(f"http://localhost:{PORT}/ping"))
    return passed(f"{len(found.startup.answers) - 1} polls before the first 200")


@rule(
    "S-16",
    SERVE_AREA,
    why="The list of requirements says that both paths accept POST, while the ping section says GET.",
    fix="Accept both methods on /ping.",
    page=PAGE,
    needs=(SERVE,),
)
def post_ping(evidence: Evidence) -> Verdict:
    found = evidence[SERVE].healthy()
    answer = found.post_ping
    if answer is None or answer.status != 200:
        return broken(str(answer), found.curl(f"-X POST http://localhost:{PORT}/ping"))
    return passed("200")


@rule(
    "S-17",
    SERVE_AREA,
    why="A ping that waits behind predictions fails under load, just when the instance is needed most.",
    fix="Answer /ping from another process or thread than predictions, and never under their lock.",
    page="async-inference-troubleshooting",
    needs=(SERVE,),
)
def ping_under_load(evidence: Evidence) -> Verdict:
    found = evidence[SERVE].healthy()
    wrong = [e for e in found.load_pings if e.status != 200]
    worst = slowest(found.load_pings)
    if wrong:
        return broken(
            f"{len(wrong)} of {len(found.load_pings)} pings under load: {wrong[0]}",
            found.curl(found.post()),
            slowest=round(worst, 3),
        )
    # Pings that wait behind predictions are late by chance. Once one was too late, only pings that clearly
    # wait for nothing acquit.
    limits = Limits.make()
    if worst > (limits.ping_free if found.second_look else limits.ping_slow):
        return doubtful(
            f"slowest of {len(found.load_pings)} under load: {worst:.2f} s of 2 s",
            found.curl(found.post()),
            slowest=round(worst, 3),
        )
    return passed(
        f"slowest of {len(found.load_pings)} under load: {1000 * worst:.0f} ms", slowest=round(worst, 4)
    )


@rule(
    "S-20",
    SERVE_AREA,
    why="This is where every request of a client arrives.",
    fix="Answer POST /invocations with 200 and the prediction.",
    page=PAGE,
    needs=(SERVE,),
)
def invocations(evidence: Evidence) -> Verdict:
    found = evidence[SERVE].healthy()
    if found.golden is None:
        answer = found.startup.first
        if answer is not None and (answer.status in (404, 405)):
            return broken(f"POST /invocations: {answer}", found.curl(found.post()))
        return skipped("no request to try it with – give one with --payload and --content-type")
    if found.golden.status is None and "no complete answer" in found.golden.error:
        return skipped("no answer in time, see S-22")
    if not found.golden.ok:
        text = found.golden.body[:160].decode(errors="replace").strip()
        return broken(f"{found.golden} {text}", found.curl(found.post()))
    return passed(f"{found.golden.status}, {len(found.golden.body)} bytes", bytes=len(found.golden.body))


@rule(
    "S-21",
    SERVE_AREA,
    why="SageMaker gives up on a container that does not accept a connection in that time.",
    fix="Use a large listen backlog, and accept in a process that predictions cannot block.",
    page=PAGE,
    needs=(SERVE,),
)
def accepts(evidence: Evidence) -> Verdict:
    found = evidence[SERVE].healthy()
    times = [e.connect_seconds for e in [*found.load, *found.load_pings, *found.pings] if e.connect_seconds]
    worst = max(times, default=0.0)
    refused = [e for e in found.load_pings + found.load if e.refused]
    if refused or worst > Limits.make().connect:
        what = refused[0].error if refused else f"{1000 * worst:.0f} ms"
        return broken(f"{what} under load", found.curl(found.post()), slowest=round(worst, 4))
    return passed(f"slowest of {len(times)}: {1000 * worst:.1f} ms", slowest=round(worst, 4))


@rule(
    "S-22",
    SERVE_AREA,
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
        return broken(str(found.golden), found.curl(found.post()), seconds=round(seconds, 1))
    if not found.golden.ok:
        found.answered()
    return passed(f"{1000 * seconds:.0f} ms", seconds=round(seconds, 4))


@rule(
    "S-23",
    SERVE_AREA,
    why="Real-time endpoints deliver up to 25 MB; nginx' default of 1 MB cuts them off.",
    fix="Raise client_max_body_size and the framework's own limit.",
    page="deploy-model-options",
    needs=(SERVE,),
)
def large_body(evidence: Evidence) -> Verdict:
    found = evidence[SERVE]
    found.answered()
    answer = found.large
    if answer is None or answer.status is None or answer.status in (413, 502, 503, 504):
        return broken(str(answer), found.curl(found.post()))
    return passed(str(answer), seconds=round(answer.seconds, 2))


@rule(
    "S-24",
    SERVE_AREA,
    why="The platform may add headers of its own at any time.",
    fix="Read the headers that you know; do not validate the rest.",
    page=PAGE,
    needs=(SERVE,),
)
def unknown_headers(evidence: Evidence) -> Verdict:
    return _same(evidence[SERVE], evidence[SERVE].junk)


@rule(
    "S-25",
    SERVE_AREA,
    why="Custom attributes, inference IDs and target variants reach the container as headers.",
    fix="Accept X-Amzn-SageMaker-… headers, and ignore what you do not use.",
    page="https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html",
    needs=(SERVE,),
)
def known_headers(evidence: Evidence) -> Verdict:
    return _same(evidence[SERVE], evidence[SERVE].known)


def _same(found: Serving, answer: object) -> Verdict:
    golden = found.answered()
    status = getattr(answer, "status", None)
    return passed("200") if status == golden.status else broken(str(answer), found.curl(found.post()))


@rule(
    "S-26",
    SERVE_AREA,
    why="Clients rely on them: what cannot be read is 415, what cannot be produced is 406.",
    fix="Set Content-Type; compare media types without parameters; refuse unknown ones with 415 or 406.",
    page=FAQ,
    needs=(SERVE,),
)
def media_types(evidence: Evidence) -> Verdict:
    found = evidence[SERVE]
    golden = found.answered()
    curl = found.curl(found.post())
    if not golden.headers.get("content-type"):
        return broken("the answer has no Content-Type", curl)
    if found.any_accept is None or not found.any_accept.ok:
        return broken(f"Accept: */* gives {found.any_accept}", curl)
    for name, answer in (("Content-Type", found.unsupported_type), ("Accept", found.unsupported_accept)):
        if answer is None or answer.status is None or not 400 <= answer.status < 500:
            return broken(f"an unsupported {name} gives {answer}", curl)
    assert found.unsupported_type and found.unsupported_accept
    return passed(
        f"{found.unsupported_type.status} and {found.unsupported_accept.status} for unsupported types",
        content_type=golden.headers["content-type"],
    )


@rule(
    "S-28",
    SERVE_AREA,
    why="A 5xx, or a crash, hides whose mistake it was; only 2048 bytes of the text are passed on.",
    fix="Catch parse errors and answer 400 with one line of text.",
    page="https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html",
    needs=(SERVE,),
)
def malformed(evidence: Evidence) -> Verdict:
    found = evidence[SERVE]
    found.answered()
    answer = found.malformed
    curl = found.curl(found.post().replace("@PAYLOAD", "@/bin/true"))
    if answer is None or answer.status is None or not 400 <= answer.status < 500:
        return broken(f"malformed input gives {answer}", curl)
    if len(answer.body) > ERROR_BYTES:
        return broken(f"an error text of {len(answer.body)} bytes", curl, bytes=len(answer.body))
    if found.after_malformed is None or not found.after_malformed.ok:
        return broken(f"the next good request gives {found.after_malformed}", curl)
    return passed(f"{answer.status}, {len(answer.body)} bytes", status=answer.status)


@rule(
    "S-29",
    SERVE_AREA,
    why="An endpoint's clients do not wait for each other, and SageMaker reuses connections.",
    fix="Use several threads or workers, and answer keep-alive correctly (Content-Length or chunks).",
    page=FAQ,
    needs=(SERVE,),
)
def concurrency(evidence: Evidence) -> Verdict:
    found = evidence[SERVE]
    found.answered()
    for name, answers in (("of 8 at once", found.parallel), ("on one connection", found.kept)):
        wrong = [e for e in answers if not e.ok]
        if wrong:
            return broken(f"{len(wrong)} {name}: {wrong[0]}", found.curl(found.post()))
    return passed(f"8 at once, the slowest in {1000 * slowest(found.parallel):.0f} ms")


@rule(
    "S-41",
    SERVE_AREA,
    why="The model is mounted read-only: caches, locks and unpacked files there fail.",
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
    "S-77",
    SERVE_AREA,
    why="Detailed observability, on by default, fetches it every few seconds.",
    fix="Answer with Prometheus text, or with a plain 404: never with 5xx and never through the model.",
    page="monitoring-cloudwatch-detailed-observability",
    needs=(SERVE,),
)
def metrics(evidence: Evidence) -> Verdict:
    found = evidence[SERVE].healthy()
    answer = found.metrics
    if answer is None or answer.status is None or answer.status not in (200, 404, 405):
        return broken(str(answer), found.curl(f"http://localhost:{PORT}/metrics"))
    return passed(str(answer.status))


@rule(
    "S-81",
    SERVE_AREA,
    why="CloudWatch shows nothing else when an endpoint does not come up.",
    fix="Log to the console, at least one line when the server starts.",
    page="logging-cloudwatch",
    needs=(SERVE,),
)
def logs(evidence: Evidence) -> Verdict:
    found = evidence[SERVE]
    if found.startup.start_error:
        raise Skip("serve does not run, see S-01")
    lines = [line for line in found.log.splitlines() if line.strip()]
    return (
        passed(f"{len(lines)} lines", lines=len(lines)) if lines else broken("nothing was logged", found.line)
    )


@rule(
    "S-03",
    SERVE_AREA,
    why="Scale-in, updates and patching send SIGTERM; after 30 s SIGKILL cuts every request in flight.",
    fix="On SIGTERM stop accepting, finish what runs, and exit.",
    page=PAGE,
    needs=(SERVE,),
)
def stops(evidence: Evidence) -> Verdict:
    found = evidence[SERVE].healthy()
    line = f"{found.line} # meanwhile: docker stop -t 30 CONTAINER"
    if found.stop is None:
        return skipped("not stopped")
    seconds = round(found.stop.seconds, 1)
    if found.stop.running:
        return broken(f"still running {seconds} s after SIGTERM", line, seconds=seconds)
    if found.stop.code == KILLED:
        return broken("exit code 137", line, seconds=seconds)
    in_flight = found.stopped_request
    if in_flight is not None and not in_flight.ok and in_flight.status != 503:
        return doubtful(f"a request in flight was lost: {in_flight}", line, seconds=seconds)
    kept = ", the request in flight was answered" if in_flight is not None else ""
    return passed(f"exit code {found.stop.code} after {seconds} s{kept}", seconds=seconds)


@rule(
    "S-06",
    SERVE_AREA,
    why="A server that has lost a part and stays up is neither healthy nor replaced.",
    fix="Watch every child: start it again, or exit so that SageMaker starts a new container.",
    page=PAGE,
    needs=(CRASH,),
)
def dead_worker(evidence: Evidence) -> Verdict:
    found = evidence[CRASH]
    found.startup.healthy()
    if not found.processes:
        return passed("one process")
    if found.exit:
        if found.exit.code == 0:
            return broken(
                f"kill -9 {found.killed}: the container ends with 0, as if all were well", found.startup.line
            )
        return passed(f"kill -9 {found.killed}: the container ends with {found.exit.code}")
    if found.ping is None or found.ping.status != 200:
        return broken(
            f"kill -9 {found.killed}: /ping {found.ping}, and the container stays up", found.startup.line
        )
    if found.golden is not None and not found.golden.ok:
        return broken(
            f"kill -9 {found.killed}: /invocations {found.golden}, and /ping is 200", found.startup.line
        )
    return passed(f"{found.processes} processes killed one by one, /ping is 200 again")


@rule(
    "SEC-01",
    SERVE_AREA,
    why="Network isolation takes both away: whatever is fetched at start then fails, or hangs.",
    fix="Put everything into the image or the model; call neither AWS nor package servers at start.",
    page="mkt-algo-model-internet-free",
    needs=(SERVE,),
)
def isolated(evidence: Evidence) -> Verdict:
    found = evidence[SERVE]
    if not found.startup.ok:
        if network_trouble(found.log):
            return broken(f"{found.startup.trouble}, and the log complains about the network", found.line)
        found.healthy()
    return passed("healthy without a way out")


# --- pipelines ------------------------------------------------------------------------------------------

LABEL = "com.amazonaws.sagemaker.capabilities.accept-bind-to-port"
PIPELINES = "inference-pipeline-real-time"


@rule(
    "S-50",
    SERVE_AREA,
    why="Containers of a pipeline share one network: each must take the port it is given, and leave 8080.",
    fix="Read the port from SAGEMAKER_BIND_TO_PORT, 8080 where it is not set.",
    page=PIPELINES,
    needs=(PIPELINE,),
)
def bind_to_port(evidence: Evidence) -> Verdict:
    found = evidence[PIPELINE]
    if not found.claimed:
        return skipped(f"not claimed: the image has no label {LABEL}")
    if not found.first.ok:
        return broken(f"port {FIRST_PORT}: {found.first.trouble}", found.first.line)
    if found.golden is not None and not found.golden.ok:
        return broken(f"POST /invocations on port {FIRST_PORT}: {found.golden}", found.first.line)
    if any(number == PORT for _, number in found.sockets or ()):
        return broken(f"listens on {PORT} too", found.first.line)
    return passed(f"port {FIRST_PORT}")


@rule(
    "S-51",
    SERVE_AREA,
    why="Pipelines and multi-container endpoints refuse images without it.",
    fix=f"LABEL {LABEL}=true",
    page=PIPELINES,
    needs=(PIPELINE,),
)
def bind_label(evidence: Evidence) -> Verdict:
    found = evidence[PIPELINE]
    if found.first.ok and not found.claimed:
        return doubtful("the port can be chosen, but the label is missing", found.first.line)
    if not found.claimed:
        return skipped("not claimed, and not offered")
    if found.label.lower() != "true":
        return broken(f"the label's value is {found.label!r}", found.first.line)
    return passed("present")


@rule(
    "S-52",
    SERVE_AREA,
    why="A second port outside, loopback included, collides with the neighbour in the same network.",
    fix="Use Unix sockets between your processes, or ports out of the range.",
    page=PIPELINES,
    needs=(PIPELINE,),
)
def safe_ports(evidence: Evidence) -> Verdict:
    found = evidence[PIPELINE]
    if not found.claimed:
        return skipped(f"not claimed: the image has no label {LABEL}")
    if not found.first.ok:
        raise Skip("not healthy on another port, see S-50")
    if found.sockets is None:
        raise Skip("the image has no shell, so its sockets cannot be listed")
    allowed = {FIRST_PORT, PORT, *SAFE_PORTS}  # 8080 is S-50's
    outside = [f"{host}:{number}" for host, number in found.sockets if number not in allowed]
    if outside:
        return broken(f"listens on {', '.join(outside)}", found.first.line)
    return passed(f"{len(found.sockets)} sockets", sockets=len(found.sockets))


@rule(
    "S-53",
    SERVE_AREA,
    why="The containers of a pipeline share an instance and a network.",
    fix="Do not use fixed ports or abstract sockets.",
    page="inference-pipelines",
    needs=(PIPELINE,),
)
def side_by_side(evidence: Evidence) -> Verdict:
    found = evidence[PIPELINE]
    if not found.claimed:
        return skipped(f"not claimed: the image has no label {LABEL}")
    if not found.first.ok:
        raise Skip("not healthy on another port, see S-50")
    if found.second is None or not found.second.ok:
        return broken(
            f"the second: {found.second.trouble if found.second else 'not started'}", found.first.line
        )
    wrong = [e for e in found.both if e.status != 200]
    return broken(str(wrong[0]), found.first.line) if wrong else passed("both healthy")


# --- small machines and serverless ----------------------------------------------------------------------


@rule(
    "S-75",
    SERVE_AREA,
    why="Inference components and serverless endpoints give a container a CPU and 2 GB, not the host.",
    fix="Plan workers from the cgroup's CPU and memory instead of os.cpu_count() and the host's.",
    page="realtime-endpoints",
    needs=(SERVERLESS,),
)
def small_share(evidence: Evidence) -> Verdict:
    found = evidence[SERVERLESS]
    if found.startup.ok or (found.limited is not None and found.limited.ok):
        return passed("healthy with 1 CPU and 2 GB")
    assert found.limited is not None
    return broken(found.limited.trouble, found.limited.line)


@rule(
    "SV-03",
    SERVE_AREA,
    why="A serverless endpoint gives up after 3 minutes.",
    fix="Load faster: smaller models, fewer imports, one worker.",
    page="serverless-endpoints-invoke",
    needs=(SERVERLESS,),
)
def serverless_start(evidence: Evidence) -> Verdict:
    found = evidence[SERVERLESS]
    limit = Limits.make().serverless_startup
    startup = found.startup if found.startup.ok else found.limited
    if startup is None or not startup.ok:
        raise Skip("not healthy with 1 CPU and 2 GB, see S-75")
    seconds = startup.healthy_seconds or 0.0
    if seconds > limit:
        late = broken(f"{seconds:.0f} s of 180 s", startup.line, seconds=round(seconds, 1))
        return unclaimed(found.claimed, late)
    return passed(f"{seconds:.1f} s", seconds=round(seconds, 2))


@rule(
    "SV-04",
    SERVE_AREA,
    why="A serverless endpoint may not run as root and may not let the container write anywhere but /tmp.",
    fix="chmod o+rX the programs, write to /tmp only, and do not look up the user's home.",
    page="serverless-endpoints-troubleshooting",
    needs=(SERVERLESS,),
)
def any_user(evidence: Evidence) -> Verdict:
    found = evidence[SERVERLESS]
    if not found.startup.ok:
        if found.limited is not None and found.limited.ok:
            return broken(found.startup.trouble, found.startup.line)
        raise Skip("not healthy with 1 CPU and 2 GB, see S-75")
    if found.golden is not None and not found.golden.ok:
        return broken(f"POST /invocations: {found.golden}", found.startup.line)
    return passed("healthy as 993:990 with a read-only root")


@rule(
    "SV-05",
    SERVE_AREA,
    why="A serverless endpoint has 5 GB, however much memory it has.",
    fix="Map the model from where it lies instead of unpacking or copying it.",
    page="serverless-endpoints",
    needs=(SERVE,),
)
def disk(evidence: Evidence) -> Verdict:
    found = evidence[SERVE].healthy()
    if found.written > 5e9:
        much = broken(f"{found.written / 1e9:.1f} GB written", found.line, bytes=found.written)
        return unclaimed(found.serverless, much)
    return passed(f"{found.written / 1e6:.1f} MB written", bytes=found.written)
