"""What a shell completes: `eval "$(_SAGEGEN_COMPLETE=bash_source sagegen)"`, for zsh and fish as well."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class

from sagegen import catalogue


def answers(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """`question=answer` for --data: every value of a choice, the bare name of any other question."""
    found = []
    for name in catalogue.asked():
        question = catalogue.questions()[name]
        values = ["true", "false"] if question["type"] == "bool" else [""]
        found += [
            f"{name}={value}" for value in (catalogue.choices(name) if "choices" in question else values)
        ]
    return [answer for answer in found if answer.startswith(incomplete)]


class _Bash(BashComplete):
    """Bash breaks words at `=`: it asks for what follows `framework` and `=`, and replaces only that."""

    def get_completion_args(self) -> tuple[list[str], str]:
        arguments, incomplete = super().get_completion_args()
        if incomplete == "=" and arguments:
            return arguments[:-1], f"{arguments[-1]}="
        if arguments[-1:] == ["="] and len(arguments) > 1:
            return arguments[:-2], f"{arguments[-2]}={incomplete}"
        return arguments, incomplete

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        found = super().get_completions(args, incomplete)
        broken = super().get_completion_args()[1] != incomplete
        for item in found if broken else ():
            item.value = item.value.partition("=")[2]
        return found


def install() -> None:
    """Use this for bash."""
    add_completion_class(_Bash)
