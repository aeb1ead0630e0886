"""`sagegen local`: start the emulator, run a command against it or wait, and leave nothing behind."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from sagegen.engine import Engine, Lab
from sagegen.errors import USAGE, SagegenError

if TYPE_CHECKING:
    from sagegen.local.front import Front

DEFAULT_REGION = "us-east-1"
#: Of what a client is told, what a COMMAND must not have inherited: each would lead it elsewhere.
MISLEADING = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN",
              "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "AWS_CA_BUNDLE", "AWS_USE_FIPS_ENDPOINT",
              "AWS_USE_DUALSTACK_ENDPOINT")  # fmt: skip
KEPT = (
    "--state keeps S3's objects, images, roles, models, endpoint configurations and ended training jobs;"
    " it does not keep endpoints, stacks, state machines, functions, builds, APIs, rules and other jobs"
)
COMMAND_GRACE = 10.0
NOT_FOUND, NOT_EXECUTABLE = 127, 126


@dataclass(frozen=True)
class Options:
    """The command line of `sagegen local`, option by option."""

    command: tuple[str, ...] = ()
    port: int = 0
    json: bool = False
    state: Path | None = None
    condition: tuple[str, ...] = ()


def local(options: Options) -> int:
    """Run the command; return its exit status."""
    try:
        import moto.server  # noqa: F401
    except ImportError as error:
        raise SagegenError(f"{error} – pipx install 'sagegen[local]'", USAGE) from error
    try:
        engine = Engine.connect()
    except SagegenError as error:
        raise SagegenError(str(error), USAGE) from error
    with emulator(engine, options) as environment:
        if options.command:
            return run(options.command, environment)
        announce(environment)
        threading.Event().wait()
    return 0


@contextmanager
def emulator(engine: Engine, options: Options) -> Iterator[dict[str, str]]:
    """A running emulator: the environment that leads clients to it. It leaves nothing when the block ends."""
    from sagegen.local import front as fronts
    from sagegen.local.account import Account
    from sagegen.local.cloud import Cloud
    from sagegen.local.state import State, kept

    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or DEFAULT_REGION
    shown = fronts.as_json if options.json else fronts.as_text

    def log(call: fronts.Call) -> None:
        if options.json or not options.command:
            sys.stderr.write(shown(call) + "\n")  # at once: calls end in many threads
            sys.stderr.flush()

    place = kept(options.state) if options.state else scratch()
    with place as folder, _laboratory(engine) as lab:
        cloud = Cloud(lab, region, options.condition)
        front = fronts.Front(cloud, log)
        account = Account(cloud, front, folder)
        try:
            server = fronts.listen(front, options.port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise SagegenError(f"port {options.port} is taken – choose another --port", USAGE) from error
        state = State(account, folder) if options.state else None
        try:
            if state:
                state.load()
                if not options.json:
                    print(f"sagegen: {KEPT}", file=sys.stderr, flush=True)
            yield cloud.environment
        finally:
            if state and state.loaded:
                state.save()
            _tell_unused(front, options.json)
            cloud.close()
            server.shutdown()
            server.server_close()
            account.close()


def _tell_unused(front: Front, as_json: bool) -> None:
    """One line at the end: what roles were granted and never used."""
    from sagegen.local.grants import line

    unused = front.policies.unused()
    if told := json.dumps({"unused": unused}) if as_json else line(unused):
        print(told, file=sys.stderr, flush=True)


def announce(environment: dict[str, str]) -> None:
    """The three lines that lead a shell's clients here."""
    pairs = {name: f"{name}={value}" for name, value in environment.items()}
    for names in (
        ("AWS_ENDPOINT_URL", "REGISTRY"),
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
        ("AWS_DEFAULT_REGION", "AWS_REGION"),
    ):
        print("export", *(pairs[name] for name in names), flush=True)


def run(command: tuple[str, ...], environment: dict[str, str]) -> int:
    """Run a command against the emulator; its exit status."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in MISLEADING and not name.startswith("AWS_ENDPOINT_URL")
    }
    try:
        process = subprocess.Popen(command, env={**inherited, **environment})
    except OSError as error:
        status = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
        raise SagegenError(f"cannot run {command[0]}: {error.strerror}", status) from error
    try:
        code = process.wait()
    except BaseException:
        # Ctrl-C reaches both; SIGTERM only us.
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(COMMAND_GRACE)
        process.kill()
        raise
    return code if code >= 0 else 128 - code


@contextmanager
def _laboratory(engine: Engine) -> Iterator[Lab]:
    lab = Lab(engine)
    try:
        yield lab
    finally:
        lab.close()


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that goes at the end; those that killed emulators left go now."""
    home = Path(tempfile.gettempdir(), f"sagegen-local-{os.getuid()}")
    home.mkdir(mode=0o700, exist_ok=True)
    if home.stat().st_uid != os.getuid():
        raise SagegenError(f"{home} belongs to somebody else – remove it, or set TMPDIR")
    for left in home.iterdir():
        with suppress(OSError), _locked(left / "lock"):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(dir=home))
    try:
        with _locked(folder / "lock"):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            home.rmdir()


@contextmanager
def _locked(file: Path) -> Iterator[IO[bytes]]:
    """A lock that ends with the process, however that ends. Raises OSError where another holds it."""
    with file.open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield held
