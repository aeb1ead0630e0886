"""Endpoints: a good one, asked everything that SageMaker may ask, and others in special surroundings."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

from sagegen.check.core import Evidence, Skip, scenario
from sagegen.check.fixture import GARBAGE
from sagegen.check.jobs import NETWORK
from sagegen.check.probe import Address, Client, Exchange, ask, websocket
from sagegen.check.rig import Kept, Payload, Rig
from sagegen.check.scenarios.artifacts import MODEL
from sagegen.engine import Box, Exit, Spec, StartFailed, Volume

PORT = 8080
LARGE = 25 * 10**6
LARGE_SECONDS = 6.0
LOAD = 4 * 10**6
LOAD_CLIENTS = 8
PINGS = 20
LINES = ("text/csv", "application/jsonlines", "text/plain")
UNSUPPORTED = "application/x-sagegen-unsupported"
STREAM_PATH = "/invocations-bidirectional-stream"
LISTENING = "0A"

JUNK_HEADERS = {f"X-Amzn-Junk-{i:02d}": f"value {i}" for i in range(20)}
KNOWN_HEADERS = {
    "X-Amzn-SageMaker-Custom-Attributes": "trace=1;check=sagegen",
    "X-Amzn-SageMaker-Target-Variant": "AllTraffic",
    "X-Amzn-SageMaker-Target-Container-Hostname": "first",
    "X-Amzn-SageMaker-Inference-Id": "sagegen-check",
    "X-Amzn-SageMaker-Enable-Explanations": "true",
    "X-Amzn-SageMaker-Inference-Component": "component-1",
    "X-Amzn-SageMaker-Prefix-Aware-Id": "prefix-1",
    "X-Amzn-SageMaker-Forwarded-Api": "InvokeEndpoint",
}


@dataclass(frozen=True)
class Startup:
    """A server's way to its first healthy ping."""

    line: str
    start_error: str = ""
    healthy_seconds: float | None = None
    answers: tuple[Exchange, ...] = ()
    exit: Exit | None = None  # it ended by itself
    listening: tuple[tuple[str, int], ...] | None = None
    connected: bool = False
    log: str = ""
    first: Exchange | None = None  # the first request, right after the first healthy ping
    predicts: bool = False  # it answered the payload

    @property
    def ok(self) -> bool:
        """It became healthy."""
        return self.healthy_seconds is not None

    @property
    def trouble(self) -> str:
        """Why it did not, for people."""
        if self.start_error:
            return f"cannot start: {self.start_error}"
        last = next((text for text in reversed(self.log.splitlines()) if text.strip()), "")
        if self.exit:
            memory = ", out of memory" if self.exit.out_of_memory else ""
            return f"ended by itself with exit code {self.exit.code}{memory}: {last[:160]}"
        if self.answers:
            return f"/ping: {self.answers[-1]}"
        return "no connection"

    def healthy(self) -> None:
        """Raise Skip unless it became healthy."""
        if not self.ok:
            raise Skip("the server never became healthy, see S-01, S-10, S-11 and S-13")


def start(
    rig: Rig,
    box: Box,
    line: str,
    *,
    seconds: float | None = None,
    port: int = PORT,
    started: bool = False,
) -> tuple[Startup, Address | None]:
    """Start a server and ping it until it is healthy, has ended, or the time is up."""
    patience = seconds or rig.limits.timeout
    if not started:
        try:
            box.start()
        except StartFailed as error:
            return Startup(line, str(error)), None
    answers: list[Exchange] = []
    connected, wrong_since = False, None
    healthy: float | None = None
    address = None
    while box.age < patience:
        address = address or box.address(port)
        if address:
            answer = ask(address, "GET", "/ping", seconds=rig.limits.ping)
            answers.append(answer)
            connected = connected or (answer.connect_seconds is not None and not _closed_at_once(answer))
            if answer.status == 200:
                healthy = box.age
                break
            # An answer that can only be wrong: not "still starting".
            sane = not connected or answer.refused or (answer.status or 0) >= 500
            wrong_since = None if sane else wrong_since or time.monotonic()
            if wrong_since and time.monotonic() - wrong_since > rig.limits.give_up:
                break
        # An answer says that it runs.
        if (not answers or answers[-1].status is None) and not (state := box.state()).running:
            log = "\n".join(text for _, text in box.logs())
            return Startup(line, answers=tuple(answers), exit=state, connected=connected, log=log), None
        if box.age > rig.limits.give_up / 2 and not connected and _only_elsewhere(box, port):
            break
        rig.lab.pause(0.1 if box.age < 10 else 0.5)
    log = "\n".join(text for _, text in box.logs())
    listening = sockets(box) if healthy is None else None
    return (
        Startup(line, "", healthy, tuple(answers), None, listening, connected, log),
        address if healthy is not None else None,
    )


def _closed_at_once(answer: Exchange) -> bool:
    """A published port accepts before anybody listens."""
    return answer.status is None and answer.seconds < 0.05 and "without an answer" in answer.error


def _only_elsewhere(box: Box, port: int) -> bool:
    """Whether it listens, but not where SageMaker would ask."""
    found = sockets(box)
    here = [host for host, number in found or () if number == port]
    return bool(here) and all(host.startswith("127.") for host in here)


def sockets(box: Box) -> tuple[tuple[str, int], ...] | None:
    """The listening TCP sockets inside; None without a shell."""
    script = (
        'for f in /proc/net/tcp /proc/net/tcp6; do while read -r a b c d e; do echo "$b $d"; done < $f; done'
    )
    text = box.shell(script)
    if text is None:
        return None
    found = set()
    for line in text.splitlines():
        where, _, state = line.partition(" ")
        host, _, port = where.partition(":")
        if state == LISTENING and port:
            # The engine's own DNS answers on 127.0.0.11.
            if host == "0B00007F":
                continue
            found.add((_host(host), int(port, 16)))
    return tuple(sorted(found, key=lambda s: s[1]))


def _host(text: str) -> str:
    if len(text) == 8:
        return ".".join(str(byte) for byte in reversed(bytes.fromhex(text)))
    if text.endswith("0100007F") or text == "00000000000000000000000001000000":
        return "127.0.0.1"
    return "[::]"


def server(rig: Rig, evidence: Evidence, network: str, **changes: object) -> Spec:
    """An endpoint's container: the model read-only, nothing in the environment."""
    spec = Spec(
        command=("serve",),
        volumes=(Volume(evidence[MODEL].volume, "/opt/ml/model", read_only=True),),
        network=network,
        hostname="model.aws.local",
    )
    return replace(spec, **changes)  # type: ignore[arg-type]


@contextmanager
def served(
    rig: Rig, evidence: Evidence, *, seconds: float | None = None, **changes: object
) -> Iterator[tuple[Startup, Box, Address | None]]:
    """A started endpoint in special surroundings, where the ordinary one works."""
    spec = server(rig, evidence, rig.lab.network(), **changes)
    port = int(spec.environment.get("SAGEMAKER_BIND_TO_PORT", PORT))
    with rig.lab.container(spec) as box:
        startup, address = start(rig, box, rig.serving(spec), seconds=seconds, port=port)
        yield startup, box, address


def patience(rig: Rig, ordinary: Startup) -> float:
    """Enough for a server that starts like one that took so long."""
    return min(rig.limits.timeout, rig.limits.settle + 6 * (ordinary.healthy_seconds or 0))


def headers(payload: Payload, **more: str) -> dict[str, str]:
    """The headers of a request with this payload."""
    return {"Content-Type": payload.content_type, **{k.replace("_", "-"): v for k, v in more.items()}}


def enlarged(payload: Payload, size: int) -> bytes:
    """The payload's records over and over, up to a size; other bodies end in blanks."""
    if payload.content_type.partition(";")[0].strip() in LINES:
        body = payload.body.rstrip(b"\n") + b"\n"
        return body * max(1, size // len(body))
    return payload.body + b" " * max(0, size - len(payload.body))


# --- the ordinary endpoint ------------------------------------------------------------------------------


ORDINARY, SPARE = "ordinary", "spare"


@scenario("serve-start", after=(MODEL,))
def START(rig: Rig, evidence: Evidence) -> Startup:
    """Starts an ordinary endpoint, waits until it is healthy, and sends the first request."""
    with ExitStack() as stack:
        startup, box, address = stack.enter_context(served(rig, evidence))
        if not address:
            return startup
        startup = _first(rig, startup, address)
        rig.keep(ORDINARY, Kept(startup, box, address, stack.pop_all()))
        return startup


def _first(rig: Rig, startup: Startup, address: Address) -> Startup:
    """The first request, right after the first healthy ping."""
    if not rig.payload:
        kind = {"Content-Type": "application/json"}
        return replace(startup, first=ask(address, "POST", "/invocations", b"", kind, seconds=10))
    seconds = rig.limits.invocation
    answer = ask(address, "POST", "/invocations", rig.payload.body, headers(rig.payload), seconds=seconds)
    return replace(startup, first=answer, predicts=answer.ok)


@dataclass
class Serving:
    """Everything that an ordinary endpoint was asked."""

    startup: Startup
    neutral: bool
    payload: Payload | None
    serverless: bool  # the image says that it is meant for serverless endpoints
    second_look: bool
    writable: Startup | None = None  # the same with a writable model, where the first was not healthy
    pings: list[Exchange] = field(default_factory=list)
    post_ping: Exchange | None = None
    golden: Exchange | None = None
    junk: Exchange | None = None
    known: Exchange | None = None
    any_accept: Exchange | None = None
    unsupported_type: Exchange | None = None
    unsupported_accept: Exchange | None = None
    malformed: Exchange | None = None
    after_malformed: Exchange | None = None
    parallel: list[Exchange] = field(default_factory=list)
    kept: list[Exchange] = field(default_factory=list)
    large: Exchange | None = None
    load_pings: list[Exchange] = field(default_factory=list)
    load: list[Exchange] = field(default_factory=list)
    after_load: Exchange | None = None
    metrics: Exchange | None = None
    models: Exchange | None = None
    websocket_status: int | None = None
    stopped_request: Exchange | None = None
    stop: Exit | None = None
    log: str = ""
    written: int = 0

    @property
    def line(self) -> str:
        """What reproduces it."""
        return self.startup.line

    def healthy(self) -> Serving:
        """Itself, where it became healthy."""
        if not self.startup.ok:
            if self.neutral and self.startup.exit is None and not self.startup.start_error:
                raise Skip("not healthy without a model – give your data with --opt-ml")
            self.startup.healthy()
        return self

    def answered(self) -> Exchange:
        """The golden answer, where there was one."""
        self.healthy()
        if self.golden is None:
            raise Skip("needs a request that the model answers – give one with --payload and --content-type")
        if not self.golden.ok:
            raise Skip("the model does not answer the payload, see S-20")
        return self.golden

    def curl(self, exchange: str = "") -> str:
        """The line, and the request to send meanwhile."""
        return f"{self.line} # meanwhile: curl -i {exchange}"

    def post(self) -> str:
        """The golden request as curl's arguments."""
        kind = self.payload.content_type if self.payload else "text/csv"
        return f"-H 'Content-Type: {kind}' --data-binary @PAYLOAD http://localhost:{PORT}/invocations"


@scenario("serve", after=(START,), quiet=True, again=True)
def SERVE(rig: Rig, evidence: Evidence) -> Serving:
    """Asks an ordinary endpoint everything that SageMaker may ask, alone on the machine."""
    artifact = evidence[MODEL]
    ordinary = evidence[START]

    def begin(startup: Startup) -> Serving:
        serverless = rig.declares("serverless")
        second_look = SERVE in evidence
        return Serving(startup, artifact.neutral, rig.payload, serverless, second_look, log=startup.log)

    if not ordinary.ok:
        if earlier := evidence.get(SERVE):
            return earlier  # a second look would be at the same first start
        found = begin(ordinary)
        if not ordinary.start_error and not artifact.neutral:
            found.writable = _writable(rig, server(rig, evidence, rig.lab.network()), ordinary)
        return found
    with ExitStack() as stack:
        if kept := rig.take(ORDINARY):
            stack.enter_context(kept.place)
            startup, box, address = kept.startup, kept.box, kept.address
            if not (state := box.state()).running:
                log = "\n".join(text for _, text in box.logs())
                return begin(replace(startup, healthy_seconds=None, exit=state, log=log))
        else:
            startup, box, begun = stack.enter_context(served(rig, evidence))
            if not begun:
                return begin(startup)
            startup, address = _first(rig, startup, begun), begun
        found = begin(startup)
        budget = 180 + 3 * rig.limits.invocation
        client = Client(address, rig.limits.invocation, budget)
        _questions(rig, found, client)
        if rig.payload:
            _payload_questions(rig, found, client, rig.payload)
        _load(rig, found, client)
        found.metrics = client.ask("GET", "/metrics", seconds=5)
        found.models = client.ask("GET", "/models", seconds=5)
        with websocket(address, STREAM_PATH, 3) as socket:
            found.websocket_status = socket.status if socket else None
        found.written = box.written_bytes()
        alive = client.ask("GET", "/ping", seconds=rig.limits.ping).status is not None
        # The engine may notice the end of a container a little later than its clients.
        state = box.state() if alive else box.wait(2)
        if state.running:
            _stop(rig, found, client, box)
        else:
            found.startup = replace(startup, exit=state, log="\n".join(text for _, text in box.logs()))
        found.log = "\n".join(text for _, text in box.logs())
        return found


def _writable(rig: Rig, spec: Spec, startup: Startup) -> Startup:
    volumes = (replace(spec.volumes[0], read_only=False),)
    seconds = min(60, rig.limits.timeout) if startup.exit is None else None
    with rig.lab.container(replace(spec, volumes=volumes)) as box:
        return start(rig, box, rig.serving(spec, model="rw"), seconds=seconds)[0]


def _questions(rig: Rig, found: Serving, client: Client) -> None:
    for _ in range(PINGS):
        found.pings.append(client.ask("GET", "/ping", seconds=rig.limits.ping))
    found.post_ping = client.ask("POST", "/ping", seconds=rig.limits.ping)


def _payload_questions(rig: Rig, found: Serving, client: Client, payload: Payload) -> None:
    def post(body: bytes = payload.body, more: Mapping[str, str] | None = None) -> Exchange:
        return client.ask("POST", "/invocations", body, {**headers(payload), **(more or {})})

    found.golden = post()
    found.junk = post(more=JUNK_HEADERS)
    found.known = post(more=KNOWN_HEADERS)
    found.any_accept = post(more={"Accept": "*/*"})
    found.unsupported_type = post(more={"Content-Type": UNSUPPORTED})
    found.unsupported_accept = post(more={"Accept": UNSUPPORTED})
    found.malformed = post(GARBAGE)
    found.after_malformed = post()
    with ThreadPoolExecutor(LOAD_CLIENTS) as pool:
        found.parallel = list(pool.map(lambda _: post(), range(LOAD_CLIENTS)))
    connection = http.client.HTTPConnection(*client.address, timeout=rig.limits.invocation)
    try:
        for _ in range(3):
            found.kept.append(
                client.ask("POST", "/invocations", payload.body, headers(payload), connection=connection)
            )
    finally:
        connection.close()
    found.large = post(enlarged(payload, LARGE))


def _load(rig: Rig, found: Serving, client: Client) -> None:
    """Ping while large requests keep every worker busy."""
    payload = rig.payload or Payload(b"{}", "application/json")
    body = enlarged(payload, LOAD) if rig.payload else payload.body
    done = threading.Event()

    def busy(_: int) -> list[Exchange]:
        sent = []
        while not done.is_set():
            sent.append(client.ask("POST", "/invocations", body, headers(payload)))
            if sent[-1].status is None:
                break
        return sent

    with ThreadPoolExecutor(LOAD_CLIENTS) as pool:
        futures = [pool.submit(busy, i) for i in range(LOAD_CLIENTS)]
        end = time.monotonic() + rig.limits.load
        try:
            while time.monotonic() < end:
                found.load_pings.append(client.ask("GET", "/ping", seconds=rig.limits.ping))
                rig.lab.pause(0.25)
        finally:
            done.set()
        found.load = [exchange for future in futures for exchange in future.result()]
    found.after_load = client.ask("GET", "/ping", seconds=rig.limits.ping)


def _stop(rig: Rig, found: Serving, client: Client, box: Box) -> None:
    """SIGTERM while a request is in flight."""
    payload = rig.payload or Payload(b"{}", "application/json")
    body, takes_large = payload.body, False
    if found.golden:
        # As long a request as it takes: a short one is answered before the signal comes.
        takes_large = found.large is not None and found.large.ok and found.large.seconds < LARGE_SECONDS
        body = enlarged(payload, LARGE if takes_large else LOAD)
    answers: list[Exchange] = []

    def request() -> None:
        answers.append(
            ask(
                client.address,
                "POST",
                "/invocations",
                body,
                headers(payload),
                seconds=rig.limits.stop_serving + 5,
            )
        )

    thread = threading.Thread(target=request, daemon=True)
    thread.start()
    rig.lab.pause(0.15 if takes_large else 0.05)
    in_flight = thread.is_alive()
    found.stop = box.stop(rig.limits.stop_serving)
    thread.join(rig.limits.stop_serving + 10)
    if in_flight and found.golden and found.golden.ok and answers:
        found.stopped_request = answers[0]


# --- endpoints in special surroundings ------------------------------------------------------------------


@scenario("serve-corrupt", after=(START,), waits=True)
def CORRUPT(rig: Rig, evidence: Evidence) -> Startup:
    """Serves a model whose files are garbage."""
    ordinary = evidence[START]
    ordinary.healthy()
    volume = evidence[MODEL].corrupt
    if not volume:
        raise Skip("there is no model to corrupt – give your data with --opt-ml")
    seconds = 4 + 2 * (ordinary.healthy_seconds or 0)
    volumes = (Volume(volume, "/opt/ml/model", read_only=True),)
    with served(rig, evidence, seconds=seconds, volumes=volumes) as (startup, box, _):
        return replace(startup, line=rig.serving(box.spec, model="corrupt"))


@dataclass(frozen=True)
class Pipeline:
    """Two containers that share one network, each on a port that it was told."""

    label: str
    claimed: bool
    first: Startup
    golden: Exchange | None = None
    sockets: tuple[tuple[str, int], ...] | None = None
    second: Startup | None = None
    both: tuple[Exchange, ...] = ()
    batch: bool = False  # the second serves with SAGEMAKER_BATCH=True


FIRST_PORT, SECOND_PORT, SAFE_PORTS = 9123, 9124, range(9200, 9300)


@scenario("serve-pipeline", after=(START,), again=True)
def PIPELINE(rig: Rig, evidence: Evidence) -> Pipeline:
    """Serves as two containers of an inference pipeline, on ports other than 8080."""
    ordinary = evidence[START]
    ordinary.healthy()
    name = "com.amazonaws.sagemaker.capabilities.accept-bind-to-port"
    label, claimed = rig.labels.get(name, ""), name in rig.labels
    seconds = (
        patience(rig, ordinary)
        if rig.claims("accept-bind-to-port")
        else 4 + 3 * (ordinary.healthy_seconds or 0)
    )

    def environment(port: int, low: int) -> dict[str, str]:
        return {"SAGEMAKER_BIND_TO_PORT": str(port), "SAGEMAKER_SAFE_PORT_RANGE": f"{low}-{low + 49}"}

    with ExitStack() as stack:
        own = environment(FIRST_PORT, SAFE_PORTS[0])
        place = served(rig, evidence, seconds=seconds, environment=own, neighbour=SECOND_PORT)
        first, box, address = stack.enter_context(place)
        if not address:
            return Pipeline(label, claimed, first)
        golden = None
        if rig.payload and ordinary.predicts:
            golden = ask(
                address,
                "POST",
                "/invocations",
                rig.payload.body,
                headers(rig.payload),
                seconds=rig.limits.invocation,
            )
        listening = sockets(box)
        found = Pipeline(label, claimed, first, golden, listening)
        # A transform job may run a pipeline: where the second serves in batch mode, that is known too.
        for more in ({"SAGEMAKER_BATCH": "True"}, {}):
            own = {**environment(SECOND_PORT, SAFE_PORTS[50]), **more}
            spec = replace(box.spec, network=None, inside=box.id, environment=own)
            with rig.lab.container(spec) as other:
                second, its_address = start(
                    rig, other, rig.serving(box.spec), seconds=seconds, port=SECOND_PORT
                )
                both = tuple(
                    ask(where, "GET", "/ping", seconds=rig.limits.ping)
                    for where in (address, its_address)
                    if where
                )
            found = replace(found, second=second, both=both, batch=bool(more) and second.ok)
            if second.ok or not claimed:
                break
        rig.keep(SPARE, Kept(first, box, address, stack.pop_all()))
        return found


@dataclass(frozen=True)
class Crash:
    """A server after one of its processes was killed."""

    startup: Startup
    processes: int
    killed: str = ""
    exit: Exit | None = None
    ping: Exchange | None = None
    golden: Exchange | None = None


PROCESSES = 'for d in /proc/[0-9]*; do read -r s < $d/stat && echo "$s"; done 2>/dev/null'


@scenario("serve-crash", after=(START,), later=(PIPELINE,), again=True)
def CRASH(rig: Rig, evidence: Evidence) -> Crash:
    """Kills each process of the server in turn, to see whether anybody notices."""
    ordinary = evidence[START]
    ordinary.healthy()
    with ExitStack() as stack:
        kept = rig.take(SPARE)
        if kept and kept.box.state().running:
            stack.enter_context(kept.place)
            startup, box, address = kept.startup, kept.box, kept.address
        else:
            place = served(rig, evidence, seconds=patience(rig, ordinary))
            startup, box, begun = stack.enter_context(place)
            if not begun:
                return Crash(startup, 0)
            address = begun
        children = _processes(box)
        if children is None:
            raise Skip("the image has no shell, so no process in it can be killed")
        for pid, name in children:
            # Those that came anew are as good as those that went.
            if not box.kill(pid):
                continue
            exit_, ping = _after_kill(rig, box, address, ordinary)
            golden = None
            if rig.payload and ordinary.predicts and not exit_:
                body = rig.payload.body
                golden = ask(address, "POST", "/invocations", body, headers(rig.payload), seconds=10)
            found = Crash(startup, len(children), name, exit_, ping, golden)
            if exit_ or ping is None or ping.status != 200 or (golden and not golden.ok):
                return found
        ping = ask(address, "GET", "/ping", seconds=rig.limits.ping)
        return Crash(startup, len(children), "", None, ping)


def _processes(box: Box) -> list[tuple[str, str]] | None:
    text = box.shell(PROCESSES)
    if text is None:
        return None
    found = []
    for line in text.splitlines():
        pid, _, rest = line.partition(" ")
        name, _, fields = rest.rpartition(")")
        if pid != "1" and fields.split()[1:2] != ["0"]:
            found.append((pid, name.lstrip("(")))
    return found


def _after_kill(
    rig: Rig, box: Box, address: Address, ordinary: Startup
) -> tuple[Exit | None, Exchange | None]:
    """Wait until the container has ended, or answers steadily again."""
    end = time.monotonic() + patience(rig, ordinary)
    steady, ping = 0, None
    while time.monotonic() < end and steady < 4:
        state = box.state()
        if not state.running:
            return state, ping
        ping = ask(address, "GET", "/ping", seconds=rig.limits.ping)
        steady = steady + 1 if ping.status == 200 else 0
        rig.lab.pause(0.25)
    return None, ping


@dataclass(frozen=True)
class Serverless:
    """An unprivileged user on a read-only file system; and the same limits without those."""

    startup: Startup
    claimed: bool  # the image says that it is meant for serverless endpoints
    golden: Exchange | None = None
    limited: Startup | None = None  # with only the limits, where the first was not healthy


SERVERLESS_MEMORY, SERVERLESS_USER = 2 * 2**30, "993:990"


@scenario("serve-serverless", after=(START,), again=True)
def SERVERLESS(rig: Rig, evidence: Evidence) -> Serverless:
    """Serves as an unprivileged user, on a read-only file system, with 1 CPU and 2 GB."""
    ordinary = evidence[START]
    ordinary.healthy()
    claimed = rig.declares("serverless")
    limits = {"memory": SERVERLESS_MEMORY, "cpus": 1.0}
    seconds = min(rig.limits.timeout, rig.limits.serverless_startup * 2, patience(rig, ordinary) * 4)
    with served(rig, evidence, seconds=seconds, user=SERVERLESS_USER, read_only=True, **limits) as (
        startup,
        _,
        address,
    ):
        golden = None
        if address and rig.payload and ordinary.predicts:
            golden = ask(
                address,
                "POST",
                "/invocations",
                rig.payload.body,
                headers(rig.payload),
                seconds=rig.limits.invocation,
            )
        # The cgroup that refuses memory may kill a worker on the first request.
        if address:
            return Serverless(startup, claimed, golden)
    with served(rig, evidence, seconds=seconds, **limits) as (limited, _, _address):
        return Serverless(startup, claimed, None, limited)


def network_trouble(log: str) -> bool:
    """Whether a log complains that the network is gone."""
    return bool(NETWORK.search(log))


def slowest(exchanges: Sequence[Exchange]) -> float:
    """The longest exchange."""
    return max((e.seconds for e in exchanges), default=0.0)


def percentile(exchanges: Sequence[Exchange], share: float) -> float:
    """The time within which a share of the exchanges was over."""
    ordered = sorted(e.seconds for e in exchanges)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def differs(exchange: Exchange, golden: Exchange) -> bool:
    """Not the same kind of answer."""
    return exchange.status != golden.status


def by_name(header: Mapping[str, str], name: str) -> str:
    """A header's value."""
    return header.get(name.lower(), "")
