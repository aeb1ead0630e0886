"""Child processes of PID 1, which forwards signals, reaps children and reports exit codes (S-06, T-61)."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

POLL_SECONDS = 0.1
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass
class Process:
    """A command, how it is asked to finish its work, and the process once it runs."""

    command: Sequence[str]
    stop_signal: signal.Signals = signal.SIGTERM
    pass_fds: tuple[int, ...] = ()
    holds_model: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    popen: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start the command, whose output goes to this container's log."""
        self.popen = subprocess.Popen(
            self.command,
            pass_fds=self.pass_fds,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # else Ctrl-C would reach the child before PID 1 can stop it in order
        )

    @property
    def name(self) -> str:
        """The program or module, for the log."""
        program, *arguments = self.command
        return arguments[1] if arguments[:1] == ["-m"] else os.path.basename(program)

    @property
    def exit_code(self) -> int | None:
        """None while it runs; 128 + N if signal N ended it, as in a shell."""
        code = self.popen.poll() if self.popen else None
        return 128 - code if code is not None and code < 0 else code

    def ask_to_stop(self) -> None:
        """Send the signal on which this program finishes what it has accepted."""
        if self.popen and self.exit_code is None:
            self.popen.send_signal(self.stop_signal)

    def kill(self) -> None:
        """End it and its children at once."""
        if self.popen and self.exit_code is None:
            os.killpg(self.popen.pid, signal.SIGKILL)
            self.popen.wait()


class StopRequest:
    """Remembers that SageMaker (SIGTERM) or Ctrl-C (SIGINT) asked this container to stop."""

    def __init__(self, on_stop: Callable[[], None] = lambda: None) -> None:
        self.received = False
        self.on_stop = on_stop
        self.listen()

    def listen(self) -> None:
        """Hear the request from now on, also where a library took these signals for itself."""
        for number in STOP_SIGNALS:
            signal.signal(number, self._handle)
        # The process that started this one may have blocked them until now.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)

    def _handle(self, number: int, _frame: object) -> None:
        self.received = True
        self.on_stop()

    def ignore(self) -> None:
        """Ignore later requests, also while the interpreter ends: the work is complete (T-60)."""
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def __bool__(self) -> bool:
        return self.received


def reap_orphans(known: Sequence[Process]) -> None:
    """Collect processes that lost their parent and became PID 1's, so that none stays a zombie."""
    mine = {process.popen.pid for process in known if process.popen}
    # Only looked at: the exit code of a known process is collected by its own `exit_code`.
    look = os.WEXITED | os.WNOHANG | os.WNOWAIT
    with suppress(ChildProcessError):
        while (child := os.waitid(os.P_ALL, 0, look)) and child.si_pid not in mine:
            os.waitpid(child.si_pid, os.WNOHANG)


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for a condition, at most so long. False if it did not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def say(message: str) -> None:
    """One line in the container's log, where it has one: model.py may have closed it."""
    with suppress(OSError, ValueError, RuntimeError):
        print(message, file=sys.stderr, flush=True)
