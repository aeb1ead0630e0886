"""What can go wrong, and the one place that says so.

Every expected failure is one line on stderr: what happened, a dash, the way out.
A traceback means a defect of sagegen.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import click

FAILED, USAGE, INTERRUPTED = 1, 2, 130


class SagegenError(Exception):
    """An expected failure. `exit_code` is USAGE where the command line or an answer is at fault."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(" ".join(message.split()))
        self.exit_code = exit_code


def exit_status(command: Callable[[], Any]) -> int:
    """Run `command`; turn whatever ends it into an exit status and at most one line on stderr."""
    # A terminated run cleans up like an interrupted one: SystemExit unwinds every `finally`.
    signal.signal(signal.SIGTERM, _terminate)
    try:
        result = command()
    except SagegenError as error:
        return _say(str(error), error.exit_code)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "sagegen"
        return _say(f"{error.format_message().rstrip('.')} – see {where} --help", USAGE)
    except (KeyboardInterrupt, click.Abort):
        return _say("interrupted – nothing was left behind", INTERRUPTED)
    except BrokenPipeError:
        # The reader (head, less) left: not our failure, and Python must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return result if isinstance(result, int) else 0


def _say(message: str, status: int) -> int:
    # An answer that is quoted may hold what a terminal obeys.
    shown = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in message
    )
    print(f"sagegen: {shown}", file=sys.stderr)
    return status


def _terminate(signum: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + signum)
