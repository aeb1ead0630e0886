# ruff: noqa: E501 – a mutant is one line: what is replaced by what
"""Small images, each broken in exactly one way, and the rules that must say so.

A mutant changes a file of the healthy image, or adds instructions to its Dockerfile. `breaks` is the rule that
it is made for, `also` what follows from it by necessity.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

from sagegen.check import core
from sagegen.check.scenarios import (
    bad_jobs,
    batch,
    cluster,
    features,
    multi_model,
    serverless,
    serving,
    variants,
)
from sagegen.check.scenarios import train as job


@dataclass(frozen=True)
class Mutant:
    """One broken image."""

    breaks: str
    patches: tuple[tuple[str, str, str], ...] = ()  # (file, old text, new text)
    dockerfile: str = ""
    also: frozenset[str] = frozenset()
    only: tuple[str, ...] = ()  # areas that the change can reach
    rules: tuple[str, ...] = ()  # instead of areas: these rules, where the change reaches no other
    name: str = ""
    patience: float = 15.0  # seconds for a training job or the start of a server
    made: str = ""  # for another processor, or pushed to a registry as an OCI index

    @property
    def id(self) -> str:
        """How the test is called."""
        return f"{self.breaks}-{self.name}" if self.name else self.breaks


STATIC, BATCH = ("static",), ("batch",)


def rules_of(*needs: tuple[core.Scenario[Any], ...]) -> tuple[str, ...]:
    """The rules that need no other scenarios than these."""
    return tuple(rule.id for rule in core.rules() if rule.needs in needs)


#: What one ordinary endpoint shows; what jobs with odd configurations show, on one host and on several; how jobs
#: end. Each needs the containers of its own scenarios only: the whole of an endpoint costs 10 s.
TRAINING = tuple(rule.id for rule in core.rules() if rule.area is core.Area.TRAIN)
WEB = rules_of((serving.SERVE,))
ONE_HOST = rules_of((job.TRAIN,), (variants.VARIANTS,))
CONFIG = (*ONE_HOST, *rules_of((cluster.CLUSTER,)))
SMALL = rules_of((serverless.SERVERLESS,))
FEATURES = rules_of((features.FEATURES,))
MODEL_API = rules_of((multi_model.MODELS,))
TRANSFORM = rules_of((batch.TRANSFORM,))
END = rules_of((job.TRAIN,), (job.TRAIN, bad_jobs.BAD), (bad_jobs.EMPTY,))
NUMBER = "        return int(json.loads(text))\n"
WRITES = '            write(FAILURE, f"{type(error).__name__}: {error}"[:1024])\n'


def static(breaks: str, dockerfile: str, *also: str, name: str = "") -> Mutant:
    """Breaks what can be seen without running anything."""
    return Mutant(breaks, dockerfile=dockerfile, also=frozenset(also), only=STATIC, name=name)


def train(breaks: str, old: str, new: str, *also: str, rules: tuple[str, ...] = (), name: str = "") -> Mutant:
    """Breaks training."""
    patches: tuple[tuple[str, str, str], ...] = (("train", old, new),)
    if breaks in ("T-60", "T-64"):  # long enough to be interrupted on a busy machine
        patches += (("train", "EPOCH_SECONDS = 0.1", "EPOCH_SECONDS = 0.5"),)
    return Mutant(breaks, patches, also=frozenset(also), rules=rules or CONFIG, name=name)


def serve(
    breaks: str,
    old: str,
    new: str,
    *also: str,
    only: tuple[str, ...] = (),
    rules: tuple[str, ...] = (),
    name: str = "",
    patience: float = 15.0,
) -> Mutant:
    """Breaks serving."""
    patches = (("serve", old, new),)
    rules = rules or (() if only else WEB)
    return Mutant(breaks, patches, also=frozenset(also), only=only, rules=rules, name=name, patience=patience)


def wrapped(breaks: str, end: str, name: str) -> Mutant:
    """`train` is a shell's child; `end` is what the shell does with its exit code $c."""
    lines = ("#!/bin/bash", "python3 /opt/program/train.py & p=$!", 'trap "kill -TERM $p" TERM', "wait $p; c=$?",
             "[ $c -gt 128 ] && { wait $p; c=$?; }", end)  # fmt: skip
    files = " ".join(shlex.quote(line) for line in lines)
    move = f"RUN mv /opt/program/train /opt/program/train.py && printf '%s\\n' {files} > /opt/program/train && chmod 755 /opt/program/train"
    patches = (("train", "EPOCH_SECONDS = 0.1", "EPOCH_SECONDS = 0.5"),)
    return Mutant(breaks, patches, move, rules=("T-50", "T-51", "T-61"), name=name)


DATA = '    data = rows("train", 0)\n'
MAIN = "def main():\n"
PING = "    def ping(self):\n"
INVOKE = "    def invoke(self, model, body):\n"
KIND = '        kind = self.headers.get("Content-Type", TEXT).split(";")[0].strip()\n'
LOADED = '        model = load("/opt/ml/model")\n'
PREDICT = "            answer = predict(model, body)\n"
RESOURCES = '    resources = config("resourceconfig")\n'
SAYS = '    print(f"serving on {PORT}", flush=True)\n'
PLAIN = "ENTRYPOINT []\n"
UNPACKS = LOADED + '        with open("/var/unpacked", "wb") as file:\n            file.truncate(6 * 10**9)\n'

READ = "        data = self.rfile.read(size)\n"
COUNT = '        count = globals()["count"] = globals().get("count", 0) + 1\n'
IPV6_ONLY = """    request_queue_size = 256
    address_family = __import__("socket").AF_INET6

    def server_bind(self):
        self.socket.setsockopt(41, 26, 1)  # IPPROTO_IPV6, IPV6_V6ONLY
        self.server_address = ("::", PORT)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "model", PORT

"""
#: PID 1 starts a worker, and another whenever one ends.
SUPERVISED = (
    "serve",
    "    server = Server(",
    "    while os.fork():\n        os.wait()\n    server = Server(",
)

MUTANTS = [
    # --- the image at rest
    static("T-02", PLAIN + "RUN chmod -x /opt/program/train", "IMG-12"),
    static("S-02", PLAIN + "RUN rm /opt/program/serve"),
    static("T-03", 'ENTRYPOINT /opt/program/entry "$@"'),
    static("T-04", 'RUN cp /opt/program/entry /usr/bin/tini\nENTRYPOINT ["/usr/bin/tini", "--", "/opt/program/entry"]'),
    static("T-07", "RUN mkdir -p /opt/ml/model && echo 1 > /opt/ml/model/weights"),
    static("T-07", "RUN mkdir -p /opt/ml/code && echo 1 > /opt/ml/code/train.py", name="code-only-warns"),
    static("T-10", "USER 1000"),
    static("T-76", "RUN echo driver > /usr/lib/libcuda.so.535.104.05"),
    static("T-77", "RUN echo cuda > /usr/lib/libcudart.so.12"),
    static("T-81", 'RUN ["python3", "-c", "import os; os.remove(\'/usr/bin/sh\')"]'),
    Mutant("IMG-01", only=STATIC, made="oci"),
    Mutant("IMG-04", only=STATIC, made="arm64"),
    static("IMG-11", "VOLUME /opt/ml/model"),
    static("IMG-12", "RUN sed -i 's/$/\\r/' /opt/program/train"),
    static("IMG-12", "RUN sed -i 1d /opt/program/serve", name="no-shebang"),
    static("SV-01", "RUN truncate -s 950M /var/weights"),
    static("SEC-04", "ENV AWS_ACCESS_KEY_ID=AKIA" + "ABCDEFGHIJKLMNOP"),
    static("SEC-04", "RUN HF=hf_" + "abcdefghijklmnopqrstuvwxyz012345 true", name="in-a-command"),
    static("SEC-04", "ENV DB_" + "PASSWORD=hunter22", name="another-name"),
    static("SEC-04", "LABEL store=postgresql://" + "me:hunter22@db/models", name="another-scheme"),
    static("SEC-04", "RUN printf 'machine a login b pass%s hunter22' word > /root/.netrc", name="in-a-file"),
    static("SEC-04", "RUN printf 'machine a login b pass%s hunter22' word > /root/.netrc\nRUN rm /root/.netrc", name="in-a-layer"),
    # --- training: start and surroundings
    Mutant("T-01", dockerfile=PLAIN + "RUN chmod -x /opt/program/train", rules=END),
    Mutant(
        "T-05",
        (("entry", "os.execv", 'os.environ["LIBRARY"] = "there"\nos.execv'), ("train", MAIN, MAIN + '    os.environ["LIBRARY"]\n')),
        rules=("T-05", "T-74", "T-53"),
    ),
    train("T-08", RESOURCES, RESOURCES + "    assert os.uname().nodename in resources['hosts']\n"),
    train("T-09", MAIN, MAIN + '    import socket\n    socket.sethostname("mine")\n'),
    train("T-11", MAIN, MAIN + '    assert sys.stdin.isatty(), "no terminal"\n'),
    train(
        "T-12",
        MAIN,
        MAIN + '    import socket\n    socket.getaddrinfo("packages.invalid", 443)\n',
        name="downloads",
        rules=("T-12", "T-74", "T-53"),
    ),
    train(
        "T-18",
        DATA,
        DATA + '    with open("/var/scratch", "wb") as file:\n        file.truncate(200_000_000)\n',
        rules=("T-18", "T-74", "T-53"),
    ),
    train("T-33", DATA, DATA + '    (ML / "input/data/train/cache").write_text("x")\n'),
    train("T-72", MAIN, MAIN + '    os.environ["SM_MODEL_DIR"]\n'),
    train("T-79", MAIN, MAIN + "    os.kill(os.getpid(), signal.SIGBUS) if os.fork() == 0 else None\n    print('Bus error (core dumped)')\n", rules=("T-79", "T-74", "T-53", "T-74")),
    Mutant("T-82", dockerfile="RUN rm -f /usr/bin/pip* /usr/local/bin/pip*", rules=("T-82", "T-53")),
    Mutant(
        "T-78",
        (("train", MAIN, MAIN + '    print("CUDA error")\n    os._exit(1)\n'),),
        "ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=all",
        frozenset({"T-50", "T-51"}),
        rules=(*END, "T-78"),
    ),
    # --- training: configuration
    train("T-20", NUMBER, "        return int(text + 0)\n", rules=(*CONFIG, "T-20")),
    train("T-20", "    data = rows(\"train\", 0)\n", "    epochs = 4\n    data = rows(\"train\", 0)\n", rules=END, name="change-nothing"),
    train("T-20", "    except (ValueError, TypeError):\n        raise", "    except (ValueError, TypeError):\n        return 4\n        raise", rules=END, name="any-value"),
    train("T-16", MAIN, MAIN + '    assert len(list((ML / "input/config").iterdir())) == 3\n', rules=ONE_HOST),
    train("T-21", MAIN, MAIN + '    assert len(config("hyperparameters")) < 20\n', rules=ONE_HOST),
    train("T-21", MAIN, MAIN + '    assert all(len(v) < 257 for v in config("hyperparameters").values())\n', rules=ONE_HOST, name="long-value"),
    train("T-22", MAIN, MAIN + '    assert not any(k.startswith("sagemaker") for k in config("hyperparameters"))\n', rules=ONE_HOST),
    train("T-23", MAIN, MAIN + '    assert "_tuning_objective_metric" not in config("hyperparameters")\n', rules=ONE_HOST),
    train("T-24", '    epochs = hyperparameter(raw, "epochs", "4")\n', '    if not raw:\n        os._exit(1)\n    epochs = int(raw["epochs"])\n', rules=END),
    train("T-30", DATA, '    config("inputdataconfig")["train"]["ContentType"]\n' + DATA, rules=ONE_HOST),
    train("T-38", '.rglob("*.csv")', '.glob("*.csv")', rules=ONE_HOST),
    train("T-41", '["current_host"]\n', '["current_host"]\n    assert current.startswith(("algo-1", "algo-2")), current\n'),
    train("T-42", RESOURCES, RESOURCES + '    resources["instance_groups"]\n', rules=ONE_HOST),
    train("T-43", RESOURCES, RESOURCES + '    assert resources["network_interface_name"].startswith("eth0")\n', rules=ONE_HOST),
    train("T-46", RESOURCES, RESOURCES + '    assert resources.get("current_group_name", "homogeneousCluster") == "homogeneousCluster"\n'),
    train("T-80", MAIN, MAIN + '    if cache := os.environ.get("SAGEMAKER_MANAGED_WARMPOOL_CACHE_DIRECTORY"):\n        os.listdir(cache)\n', rules=ONE_HOST),
    train("T-83", RESOURCES, RESOURCES + '    assert "AWS_REGION" not in os.environ\n', rules=ONE_HOST),
    # --- training: the end
    train("T-50", "        sys.exit(1)\n", "        sys.exit(0)\n", rules=END),
    train("T-50", MAIN, MAIN + '    raise RuntimeError("always")\n', name="always-fails", rules=END),
    Mutant("T-50", (("train", "for line in file.read_text().splitlines()", "for line in file.read_bytes().splitlines()"), ("train", "float(cell) for line in data for cell in line.split(\",\")", "len(line) for line in data")), rules=END, name="learns-from-garbage"),
    train("T-50", MAIN, MAIN + "    time.sleep(10**6)\n", rules=END, name="never-ends"),
    train("T-50", '        print(f"failed: {error}", file=sys.stderr)\n', "        os._exit(0)\n", rules=END, name="0-without-a-model"),
    wrapped("T-50", "[ $c = 137 ] && exit 0; exit $c", name="hides-a-killed-child"),
    wrapped("T-51", "exit $c", name="silent-about-a-killed-child"),
    train("T-51", '        print(f"failed: {error}", file=sys.stderr)\n', "        sys.exit(1)\n", rules=END),
    train("T-51", "output/failure", "failure", name="wrong-place", rules=END),
    train("T-51", WRITES, '            write(FAILURE, "training failed")\n', name="always-the-same", rules=END),
    train("T-51", WRITES, '            write(FAILURE, "=" * 1100 + f"{type(error).__name__}: {error}")\n', name="banner", rules=END),
    train("T-51", 'write(FAILURE, f"{type', 'write(FAILURE, "Traceback" + "x" * 2000 + f"{type', name="tail-only", rules=END),
    train("T-51", "        main()\n", '        main()\n        write(FAILURE, "fine")\n', name="after-success", rules=("T-51", "T-53")),
    train("T-53", '        write(ML / "model/model.json"', '        write(ML / "output/data/model.json"', rules=TRAINING),
    train("S-43", "        main()\n", '        main()\n        os.symlink("model.json", "/opt/ml/model/latest")\n', rules=("S-43", "T-53", "T-74")),
    train("T-55", "        main()\n", "        main()\n        time.sleep(4)\n", rules=("T-55", "T-53", "T-74")),
    train("T-74", '    print(f"training', '    sys.stdout = sys.stderr = open("/tmp/log", "w")\n    print(f"training', rules=("T-74", "T-53")),
    # --- training: interruption and clusters
    train("T-60", "    stop = True\n", "    time.sleep(60)\n", rules=("T-60", "T-61", "T-74")),
    train("T-60", "    stop = True\n", "    pass\n", rules=("T-60", "T-61", "T-74"), name="ignored"),
    train("T-60", "    stop = True\n", "    CHECKPOINT.unlink()\n    os._exit(1)\n", rules=("T-60", "T-61", "T-74"), name="saves-nothing"),
    train("T-60", "        main()\n", "        main()\n        signal.signal(signal.SIGTERM, lambda *_: [write(FAILURE, 'stopped'), os._exit(143)])\n        time.sleep(1)\n", rules=("T-60", "T-61", "T-74"), name="late"),
    Mutant(
        "T-61",
        dockerfile="RUN mv /opt/program/train /opt/program/train.py && printf '#!/bin/bash\\ntrap \"exit 143\" TERM\\n"
        "python3 /opt/program/train.py & wait $!\\n' > /opt/program/train && chmod 755 /opt/program/train",
        rules=("T-60", "T-61", "T-74"),
    ),
    train("T-64", "if CHECKPOINT.exists() else 0", "if False else 0", rules=("T-64", "T-60", "T-74")),
    train("T-64", "        if leader:\n            write(CHECKPOINT", "        if False:\n            write(CHECKPOINT", rules=("T-64", "T-74"), name="none"),
    train("T-44", RESOURCES, RESOURCES + '    import socket\n    for host in resources["hosts"]:\n        host == resources["current_host"] or socket.gethostbyname(host)\n', rules=("T-44", "T-45", "T-74", "T-08")),
    Mutant("T-44", (("train", "return end_together(hosts, current)", "return None"), ("train", "    end_together(hosts, current)\n\n\nif", "\n\nif"), ("train", "EPOCH_SECONDS = 0.1", "EPOCH_SECONDS = 1")), rules=("T-44", "T-45", "T-74"), name="ends-apart"),
    train("T-45", '    if leader:\n        write(ML / "model/model.json", json.dumps({"bias"', '    if True:\n        write(ML / "model/model.json", json.dumps({"host": current, "bias"', rules=("T-44", "T-45", "T-74")),
    train("T-37", "        if not leader:\n", "        if False:\n", rules=("T-37", "T-44", "T-74")),
    train("T-34", '        while not fifo.exists():\n            time.sleep(0.05)\n', "", rules=("T-34", "T-74")),
    train("T-39", '.read_text())["epochs"]', '.read_text())["weights"]', rules=("T-39", "SEC-06", "T-74")),
    train("SEC-06", 'filter="data"', 'filter="fully_trusted"', rules=("SEC-06", "T-39", "T-74")),
    # --- serving
    Mutant("S-01", dockerfile=PLAIN + "RUN chmod -x /opt/program/serve", rules=WEB),
    serve("S-01", SAYS, SAYS + "    sys.exit(3)\n", name="ends"),
    serve("S-01", 'elif self.path == "/metrics":\n', 'elif self.path == "/metrics":\n            os._exit(3)\n', "S-77", name="dies-later"),
    serve("S-03", "    threading.Thread(target=drain).start()\n", "    pass\n"),
    Mutant("S-03", (("serve", "    draining = True\n", "    os._exit(0)\n"), ("serve", PREDICT, "            time.sleep(0.6)\n" + PREDICT)), rules=("S-03", "S-20", "S-22"), name="cuts-requests"),
    serve("S-06", "    server = Server(", "    if os.fork():\n        while True:\n            signal.pause()\n    server = Server(", rules=("S-06", "S-13")),
    serve("S-10", 'HOST = "0.0.0.0"', 'HOST = "127.0.0.1"'),
    serve("S-10", '"8080"', '"5000"', name="other-port"),
    serve("S-11", 'self.path == "/ping":\n            self.ping()\n        elif self.path == "/exec', 'self.path == "/health":\n            self.ping()\n        elif self.path == "/exec'),
    serve("S-11", PING, PING + '        self.wfile.write(b"200 all well\\n")\n        self.close_connection = True\n        return\n', name="garbage"),
    serve("S-11", PING, PING + '        self.wfile.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 9\\r\\n\\r\\n")\n        self.close_connection = True\n        return\n', name="half"),
    serve("S-12", PING, PING + "        time.sleep(2.5)\n"),
    serve("S-13", PING, PING + "        self.reply(503)\n        return\n"),
    serve("S-14", LOADED, '        try:\n            model = load("/opt/ml/model")\n        except ValueError:\n            pass\n', rules=("S-14", "S-13", "S-20")),
    serve("S-15", PING, PING + '        if time.time() < globals().setdefault("STARTED", time.time()) + 0.6:\n            self.reply(404)\n            return\n', name="404-first"),
    serve("S-16", '            if self.path == "/ping":\n', '            if self.path == "/pong":\n'),
    serve("S-17", PING, PING + "        time.sleep(2.5 if in_flight > 4 else 0)\n"),
    serve("S-20", '            elif self.path == "/invocations":\n', '            elif self.path == "/predict":\n'),
    serve("S-21", "    request_queue_size = 256\n", "    request_queue_size = 0\n\n    def process_request(self, request, address):\n        time.sleep(0.4)\n        super().process_request(request, address)\n", rules=("S-21", "S-13", "S-20", "S-22", "S-24")),
    serve("S-22", PREDICT, "            time.sleep(20)\n" + PREDICT, "S-03"),
    serve("S-23", READ, '        if size > 10**7:\n            self.close_connection = True\n            self.reply(413)\n            raise ConnectionAbortedError\n' + READ),
    serve("S-24", KIND, '        if any(h.lower().startswith("x-amzn-junk") for h in self.headers):\n            self.reply(400)\n            return\n' + KIND),
    serve("S-25", KIND, '        if "X-Amzn-SageMaker-Inference-Id" in self.headers:\n            self.reply(400)\n            return\n' + KIND),
    serve("S-26", "        if kind != TEXT:\n", "        if False:\n"),
    serve("S-26", '        self.send_header("Content-Type", TEXT)\n', "", name="no-content-type"),
    serve("S-26", "        if accept not in", "        if False and accept not in", name="any-accept"),
    serve("S-27", "seen=1", "", rules=FEATURES),
    serve("S-28", "            self.reply(400, str(error)[:200].encode())\n", "            self.reply(500, str(error)[:200].encode())\n"),
    serve("S-28", "str(error)[:200].encode())\n            return\n        self.stream", "b'x' * 5000)\n            return\n        self.stream", name="long-text"),
    serve("S-29", INVOKE, INVOKE + '        if in_flight > 3 and len(body) < 10**6:\n            self.reply(503)\n            return\n'),
    serve("S-41", LOADED, LOADED + '        Path("/opt/ml/model/cache").write_text("x")\n'),
    serve("S-77", 'elif self.path == "/metrics":\n            self.reply(200', 'elif self.path == "/metrics":\n            self.reply(500'),
    serve("S-81", '    print(f"serving on {PORT}", flush=True)\n', ""),
    serve("SEC-01", LOADED, LOADED + '        import socket\n        socket.getaddrinfo("telemetry.invalid", 443)\n', "S-01", rules=("SEC-01", "S-01", "S-13")),
    serve("S-50", 'int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))', "8080", rules=("S-50", "S-51", "S-52", "S-53")),
    Mutant("S-51", dockerfile='LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=""', rules=("S-50", "S-51", "S-52", "S-53"), name="value"),
    serve("S-52", "    server = Server(", '    import socket\n    other = socket.create_server(("127.0.0.1", 0))\n    server = Server(', rules=("S-50", "S-51", "S-52", "S-53")),
    serve("S-53", "    server = Server(", '    import socket\n    other = socket.create_server(("127.0.0.1", int(os.environ.get("SAGEMAKER_SAFE_PORT_RANGE", "9200").split("-")[0]) // 100 * 100))\n    server = Server(', rules=("S-50", "S-51", "S-52", "S-53")),
    serve("S-60", "        self.chunk(answer[:1])\n        time.sleep(0.05)\n        self.chunk(answer[1:])", "        time.sleep(0.05)\n        self.chunk(answer)", rules=FEATURES),
    serve("S-70", "; Expires=2030-01-01T00:00:00Z", "; Expires=tomorrow", rules=FEATURES),
    Mutant("S-65", dockerfile='LABEL com.amazonaws.sagemaker.capabilities.bidirectional-streaming=no', rules=("S-65", "S-66", "S-67", "S-68")),
    serve("S-66", 'STREAM = "/invocations-bidirectional-stream"', 'STREAM = "/ws"', rules=FEATURES),
    serve("S-67", "            self.send_frame(10, data)\n", "            pass\n", rules=FEATURES),
    serve("S-68", "        elif head[0] & 128:\n", "        elif not head[0] & 128:\n            return False\n        elif head[0] & 128:\n", rules=FEATURES),
    serve("S-75", LOADED, LOADED + '        hoard = b"x" * (5 * 2**29)\n', rules=SMALL, patience=25.0),
    serve("SV-03", LOADED, LOADED + '        quotas = Path("/sys/fs/cgroup/cpu.max"), Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")\n        time.sleep(19 if any(q.exists() and q.read_text().startswith("100000") for q in quotas) else 0)\n', rules=SMALL, patience=25.0),
    serve("SV-04", LOADED, LOADED + '        Path("/root/cache").write_text("x")\n', rules=("S-75", "SV-03", "SV-04", "S-13", "S-41")),
    serve("SV-05", LOADED, UNPACKS, rules=("SV-05", "S-13")),
    Mutant("SV-05", (("serve", LOADED, UNPACKS),), 'LABEL sagegen.features="pipe"', rules=("SV-05", "S-13"), name="unclaimed"),
    # --- batch
    serve("B-02", LOADED, LOADED + '        assert os.environ.get("SAGEMAKER_BATCH", "true") == "true"\n', rules=TRANSFORM),
    serve("B-03", LOADED, LOADED + '        assert "SAGEMAKER_MAX_PAYLOAD_IN_MB" not in os.environ\n', rules=TRANSFORM),
    serve("B-04", '"MULTI_RECORD"', '"MultiRecord"', rules=TRANSFORM),
    serve("B-04", '"MaxConcurrentTransforms": 4', '"MaxConcurrentTransforms": 40', rules=TRANSFORM, name="product"),
    serve("B-07", READ, '        if size > 5 * 10**6:\n            self.close_connection = True\n            self.reply(413)\n            raise ConnectionAbortedError\n' + READ, only=BATCH),
    serve("B-08", '        if self.headers.get("Transfer-Encoding") == "chunked":\n', "        if False:\n", only=BATCH),
    serve("B-09", PREDICT, "            assert len(body.splitlines()) > 1\n" + PREDICT, only=BATCH),
    serve("B-10", PREDICT, '            body = body if body.endswith(b"\\n") else b"\\n".join(body.split(b"\\n")[1:]) or b"1"\n' + PREDICT, only=BATCH),
    serve("B-11", '        self.send_header("Content-Type", TEXT)\n', '        self.send_header("Content-Type", "text/html")\n', only=BATCH),
    serve("B-12", PREDICT, '            body = b"\\n".join(line for line in body.split(b"\\n") if b"poison" not in line)\n' + PREDICT, only=BATCH),
    # --- serving: many requests, and requests that are cut short
    serve("S-01", PREDICT, '            body or os._exit(3)\n' + PREDICT, name="ends-on-an-empty-body"),
    serve("S-01", READ, READ + "        if len(data) < size:\n            os._exit(3)\n", name="ends-when-a-client-hangs-up"),
    serve("S-10", "    request_queue_size = 256\n", IPV6_ONLY, name="ipv6-only", patience=60.0),
    serve("S-12", PING, PING + COUNT + "        time.sleep(1.5 if not in_flight and count % 40 == 0 else 0)\n", name="one-in-forty"),
    serve("S-20", PREDICT, PREDICT + '            globals()["shared"] = answer\n            time.sleep(0.01)\n            answer = globals()["shared"]\n', name="swapped"),
    serve("S-20", INVOKE, INVOKE + COUNT + "        if count > 100:\n            self.reply(500)\n            return\n", name="500-later"),
    serve("S-20", INVOKE, INVOKE + "        if in_flight > 3 and len(body) > 10**6:\n            self.reply(500)\n            return\n", name="large-in-parallel"),
    serve("S-20", PREDICT, '            body = b"\\n".join(body.splitlines()[:1000])\n' + PREDICT, name="cut"),
    serve("S-26", '        self.send_header("Content-Type", TEXT)\n', '        self.send_header("Content-Type", TEXT)\n        self.send_header("Content-Type", "text/plain")\n', name="two-content-types"),
    serve("S-26", 'self.headers.get("Content-Type", TEXT).split(";")[0].strip()', 'self.headers.get("Content-Type", TEXT)', name="charset"),
    serve("S-28", "self.reply(400, str(error)[:200].encode())\n            return\n        self.stream", "import traceback\n            self.reply(400, traceback.format_exc().encode())\n            return\n        self.stream", name="traceback"),
    serve("S-28", PREDICT, "            if not body:\n                self.reply(500)\n                return\n" + PREDICT, name="empty-body"),
    Mutant("S-28", (SUPERVISED, ("serve", PREDICT, "            body or os._exit(3)\n" + PREDICT)), rules=("S-28", "S-20", "S-29"), name="worker-ends"),
    Mutant("S-29", (SUPERVISED, ("serve", READ, READ + "        if len(data) < size:\n            os._exit(3)\n")), rules=("S-28", "S-20", "S-29"), name="worker-ends-when-a-client-hangs-up"),
    serve("S-29", PREDICT, PREDICT + '            hoard.append(b"x" * 200_000)\n', name="memory", rules=("S-29", "S-20")),
    serve("S-29", PREDICT, PREDICT + '            hoard.append(open("/dev/null"))\n', name="descriptors", rules=("S-29", "S-20")),
    serve("S-29", PREDICT, PREDICT + COUNT.replace("count", "    count", 1) + "            count % 4 or os.fork() or os._exit(0)\n", name="zombies", rules=("S-29", "S-20")),
    serve("S-29", PREDICT, PREDICT + '            Path(f"/tmp/{time.monotonic_ns()}").touch()\n', name="files", rules=("S-29", "S-20")),
    serve("S-29", READ, READ + '        if len(data) < size:\n            hoard.append(open("/dev/null"))\n', name="descriptors-of-cut-uploads", rules=("S-29", "S-20")),
    serve("S-81", INVOKE, INVOKE + "        print(body[:500])\n", name="bodies"),
    serve("B-10", PREDICT, '            body = b"\\n".join(body.splitlines()[:1000])\n' + PREDICT, name="cut", only=BATCH),
    # --- multi-model
    Mutant("M-01", dockerfile="LABEL com.amazonaws.sagemaker.capabilities.multi-models=no", only=("multi-model",)),
    serve("M-03", LOADED, LOADED + "    else:\n        load('/opt/ml/model')\n", rules=MODEL_API),
    serve("M-04", "            self.reply(409)\n            return\n", "            pass\n", rules=MODEL_API),
    serve("M-04", "            self.reply(400, str(error).encode())\n            return\n", "            self.reply(200)\n            return\n", rules=MODEL_API, name="bogus-is-200"),
    serve("M-05", '{"models": found}', '{"model": found}', rules=MODEL_API),
    serve("M-06", '            else:\n                self.reply(404)\n        elif self.path == STREAM', '            else:\n                self.reply(400)\n        elif self.path == STREAM', "M-07", rules=MODEL_API),
    serve("M-07", "        self.reply(200 if found else 404)", "        self.reply(200)", rules=MODEL_API),
    serve("M-08", "if found else self.reply(404)", "if found else self.reply(500)", rules=MODEL_API),
    serve("M-09", "        if name in models:\n            self.reply(409)", "        if any(m['url'] == url for n, m in models.items() if n != name):\n            self.reply(400)\n            return\n        if name in models:\n            self.reply(409)", "M-11", rules=MODEL_API),
    serve("M-10", "            models[name] = {\"url\": url, \"model\": loaded}\n        self.reply(200)", "            models[name] = {\"url\": url, \"model\": loaded}\n        self.reply(201)", rules=MODEL_API),
    serve("M-11", "        try:\n            loaded = load(url)", "        with lock:\n            time.sleep(0.9 if len(models) == 1 else 0)\n        try:\n            loaded = load(url)", rules=MODEL_API),
    serve("M-13", "        with lock:\n            models[name]", '        globals()["loads"] = globals().get("loads", 0) + 1\n        if globals()["loads"] > 12:\n            self.reply(507)\n            return\n        with lock:\n            models[name]', rules=MODEL_API),
]  # fmt: skip
