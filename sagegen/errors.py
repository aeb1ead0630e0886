"""What can go wrong, and the one place that says so.

Every expected failure is one line on stderr: what happened, a dash, the way out.
A traceback means a defect of sagegen.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TextIO

import click

FAILED, USAGE, INTERRUPTED = 1, 2, 130
#: What a write to a full or broken device fails with.
_OUTPUT = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


class SagegenError(Exception):
    """An expected failure. `exit_code` is USAGE where the command line or an answer is at fault."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(" ".join(message.split()))
        self.exit_code = exit_code


def exit_status(command: Callable[[], Any]) -> int:
    """Run `command`; turn whatever ends it into an exit status and at most one line on stderr."""
    _repair_streams()
    # A terminated run cleans up like an interrupted one: SystemExit unwinds every `finally`.
    for signum in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) != signal.SIG_IGN:  # nohup ignores SIGHUP
            signal.signal(signum, _terminate)
    try:
        result = command()
        sys.stdout.flush()
    except SagegenError as error:
        return _say(str(error), error.exit_code)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "sagegen"
        return _say(f"{error.format_message().rstrip('.')} – see {where} --help", USAGE)
    except (KeyboardInterrupt, click.Abort):
        return _say("interrupted – nothing was left behind", INTERRUPTED)
    except BrokenPipeError:
        # The reader (head, less) left: not our failure.
        _discard(sys.stdout)
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.errno not in _OUTPUT or error.filename is not None:
            raise
        _discard(sys.stdout)
        return _say(f"cannot write the output: {error.strerror}", FAILED)
    return result if isinstance(result, int) else 0


def _say(message: str, status: int) -> int:
    # An answer that is quoted may hold what a terminal obeys.
    shown = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in message
    )
    try:
        print(f"sagegen: {shown}", file=sys.stderr, flush=True)
    except OSError:
        _discard(sys.stderr)
    return status


def _repair_streams() -> None:
    """Let nothing fail because of where the output goes: closed streams, and encodings without a dash."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # Closed. Left so, its number would go to the next file that is opened.
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _discard(stream: TextIO) -> None:
    """Send what is still buffered nowhere: Python writes it at exit, and would complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _terminate(signum: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + signum)
