"""The command line: a table of contents.

Each command's body imports its module when it runs, so that `sagegen --help` costs next to nothing.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from sagegen import __version__
from sagegen.errors import exit_status


def _complete_answers(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from sagegen.completion import answers

    return answers(context, parameter, incomplete)


class _Output(click.Path):
    """A file that the command writes at its end: whether it can is known before its work begins."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, writable=True, path_type=Path)

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        folder = Path(os.fsdecode(value)).absolute().parent
        if not folder.is_dir():
            self.fail(f"{folder} is no folder", parameter, context)
        if not os.access(folder, os.W_OK):
            self.fail(f"{folder} cannot be written to", parameter, context)
        return super().convert(value, parameter, context)


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@click.version_option(__version__, message="sagegen %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Generate complete Amazon SageMaker bring-your-own-container repositories."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@cli.command()
@click.argument("dest", required=False, type=click.Path(path_type=Path))
@click.option("--defaults", is_flag=True, help="Ask nothing: take the default of every open question.")
@click.option("--data", multiple=True, metavar="KEY=VALUE", shell_complete=_complete_answers,
              help="Answer one question; repeatable.")  # fmt: skip
@click.option("--answers", type=click.Path(path_type=Path), metavar="FILE", help="Answers as YAML.")
@click.option("--force", "--overwrite", is_flag=True, help="Write into a DEST that is not empty.")
@click.option("--dry-run", is_flag=True, help="Show the files that would be written, and write none.")
def new(**options: Any) -> None:
    """Write a new repository into DEST (default: a folder named after the project).

    Without options it asks. What --data and --answers already say is not asked again.
    With --force, files of the same name are replaced, but never those that are yours to edit.
    """
    from sagegen.new import new

    new(**options)


@cli.command()
@click.argument("dest", default=".", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 if there is an update.")
@click.option("--diff", is_flag=True, help="Change nothing; show the update of the last commit as a diff.")
@click.option("--data", multiple=True, metavar="KEY=VALUE", shell_complete=_complete_answers,
              help="Change an answer; repeatable.")  # fmt: skip
def update(**options: Any) -> int:
    """Bring the repository in DEST (default: here) to the latest release of its template.

    Your edits are kept. Exits with 1 while conflicts are left, and says what to do about each. `copier
    update` does the same to the files.
    """
    from sagegen.update import update

    return update(**options)


@cli.command("list")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON, for programs.")
def list_(as_json: bool) -> None:
    """Show frameworks, devices, bases, stacks, versions, and which combinations exist."""
    from sagegen.listing import show

    show(as_json=as_json)


@cli.command()
@click.option("--framework", multiple=True, help="Only this framework; repeatable, as all filters are.")
@click.option("--keras-backend", multiple=True, help="Only this backend of Keras.")
@click.option("--device", multiple=True, help="Only this device.")
@click.option("--stack", multiple=True, help="Only this serving stack.")
@click.option("--python", "python_version", multiple=True, help="Only this Python version.")
@click.option("--full", is_flag=True,
              help="Prove everything on every combination, and write proof.json.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(min=1), help="Combinations at a time (default: one per CPU).")
@click.option("--disk", type=click.IntRange(min=1), default=15, show_default=True, metavar="GB",
              help="Disk that the run may fill.")  # fmt: skip
@click.option("--base-image", metavar="IMAGE", help="Build on this; {python} becomes the version.")
@click.option("--build-arg", multiple=True, metavar="KEY=VALUE", help="Passed to docker build; repeatable.")
@click.option("--json", "json_file", type=_Output(), help="Write the results as JSON.")
@click.option("--html", "html_file", type=_Output(), help="Write the results as a page.")
@click.option("--proof", "proof_file", type=_Output(),
              help="Where --full writes its proof (default: the checkout's proof.json).")  # fmt: skip
@click.option("--logs", type=click.Path(path_type=Path),
              help="Keep every log here (default: those of failures, in matrix-logs).")  # fmt: skip
@click.option("--retries", type=click.IntRange(min=0), default=0, show_default=True,
              help="Failed builds or tests that each combination may repeat; the results tell.")  # fmt: skip
@click.option("--no-check", is_flag=True, help="Leave out `make check`.")
@click.option("--keep", is_flag=True, help="Keep the images.")
def matrix(**options: Any) -> int:
    """Build, test and check every combination in Docker.

    Renders and builds each generated repository and runs its own `make test` and `make check`. Each fact
    is proven once: every rule on the default framework, those that depend on the framework on one
    combination per heavy layer, the static ones everywhere. --full proves everything on every combination.
    Exits with 1 if any combination failed; one failure does not stop the others.
    """
    from sagegen.matrix import Options, matrix

    return matrix(Options(**options))


@cli.command()
@click.argument("image", required=False)
@click.option("--only", multiple=True,
              type=click.Choice(["train", "serve", "batch", "multi-model", "static"]),
              help="Only this part; repeatable.")  # fmt: skip
@click.option("--rule", multiple=True, metavar="ID", help="Only this rule; repeatable.")
@click.option("--skip", multiple=True, metavar="ID", help="Without this rule; repeatable.")
@click.option("--opt-ml", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="DIR",
              help="Your job as under /opt/ml: input/config, input/data and perhaps model.")  # fmt: skip
@click.option("--payload", type=click.Path(path_type=Path), metavar="FILE",
              help="A request that the model answers.")  # fmt: skip
@click.option("--content-type", metavar="TYPE", help="The payload's type (default: by the suffix of FILE).")
@click.option("--env", multiple=True, metavar="KEY=VALUE",
              help="Environment of every job and model container; repeatable.")  # fmt: skip
@click.option("--gpus", type=click.Choice(["all"]), help="Give the containers the machine's GPUs.")
@click.option("--cpus", type=click.FloatRange(min=0.1), envvar="SAGEGEN_CHECK_CPUS", metavar="N",
              help="CPUs of each container (default: all) [env: SAGEGEN_CHECK_CPUS].")  # fmt: skip
@click.option("--timeout", type=click.FloatRange(min=1), metavar="SECONDS",
              help="Longest training run, and longest start of a server (default: 480).")  # fmt: skip
@click.option("--format", "format_", default="table", show_default=True,
              type=click.Choice(["table", "json", "junit", "sarif", "markdown"]),
              help="How the report looks.")  # fmt: skip
@click.option("--output", type=_Output(), metavar="FILE", help="Write the report there.")
@click.option("--json", "json_file", type=_Output(), envvar="SAGEGEN_CHECK_JSON",
              help="Write it as JSON too [env: SAGEGEN_CHECK_JSON].")  # fmt: skip
@click.option("--list", "list_rules", is_flag=True, help="Show every rule, and the rows without one.")
@click.option("--explain", metavar="ID", help="Tell the whole story of one row of the contract.")
def check(**options: Any) -> int:
    """Check that IMAGE, whoever built it, keeps SageMaker's contract.

    Runs its containers as SageMaker does and judges rule by rule. Exits with 0 if none failed, 1 if one did,
    and 2 if the check could not be made.
    """
    from sagegen.check.run import Options, check

    return check(Options(**options))


@cli.command(context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--port", type=click.IntRange(0, 65535), default=0, metavar="N",
              help="Listen there (default: a free one).")  # fmt: skip
@click.option("--state", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              help="Keep S3, images, roles and records there between runs.")  # fmt: skip
@click.option("--condition", multiple=True, type=click.Choice(["spot-kill"]),
              help="What the platform may do: spot-kill interrupts each managed spot job once.")  # fmt: skip
@click.option("--json", is_flag=True, help="Log every call as a line of JSON.")
def local(**options: Any) -> int:
    """Be SageMaker on this machine: real clients, real containers, nothing paid.

    Without COMMAND it prints what to export, logs every call on stderr and runs until Ctrl-C. With COMMAND,
    as in `sagegen local -- make deploy`, it starts empty, runs COMMAND with the environment set, exits with
    its status and leaves nothing behind.
    """
    from sagegen.local.run import Options, local

    return local(Options(**options))


def main() -> None:
    """Run the command line and exit."""
    if "_SAGEGEN_COMPLETE" in os.environ:
        from sagegen.completion import install

        install()
    sys.exit(exit_status(lambda: cli.main(prog_name="sagegen", standalone_mode=False)))
