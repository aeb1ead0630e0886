"""`sagegen matrix`: build, test, check and measure the combinations in Docker.

`selection` decides what is run and how much is proven where (the tiers). `run` schedules, and `budget` shares
disk, memory and CPUs. `steps` does the work for one combination. `result` holds what came out; `board` and
`summary` show it.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from sagegen import proof
from sagegen.engine import Engine, answering
from sagegen.errors import FAILED, USAGE, SagegenError
from sagegen.matrix import summary
from sagegen.matrix.run import Run
from sagegen.matrix.selection import select


@dataclass(frozen=True)
class Options:
    """The command line of `sagegen matrix`, option by option."""

    framework: tuple[str, ...] = ()
    keras_backend: tuple[str, ...] = ()
    device: tuple[str, ...] = ()
    stack: tuple[str, ...] = ()
    python_version: tuple[str, ...] = ()
    #: Prove everything on every combination, instead of each fact once.
    full: bool = False
    #: Combinations at a time; one per CPU where it is None.
    jobs: int | None = None
    #: GB that the run may fill.
    disk: int = 15
    base_image: str | None = None
    build_arg: tuple[str, ...] = ()
    json_file: Path | None = None
    html_file: Path | None = None
    proof_file: Path | None = None
    logs: Path | None = None
    retries: int = 0
    no_check: bool = False
    keep: bool = False

    @property
    def filters(self) -> dict[str, tuple[str, ...]]:
        """The values that each question is limited to."""
        names = ("framework", "keras_backend", "device", "stack", "python_version")
        return {name: getattr(self, name) for name in names}


def matrix(options: Options) -> int:
    """Run the selected combinations, write the results, and return the command's exit status."""
    groups = select(options.filters)
    for argument in options.build_arg:
        if "=" not in argument:
            raise SagegenError(f"--build-arg {argument} has no value – write {argument}=VALUE", USAGE)
    proof_file = _proof_file(options)
    if not shutil.which("make"):
        raise SagegenError("there is no make command – install GNU make")
    engine = Engine.connect()
    with answering():
        outcome = Run(engine, options).run(groups)
    summary.show(outcome)
    if options.json_file:
        summary.write_json(outcome, options.json_file)
    if options.html_file:
        summary.write_html(outcome, options.html_file)
    if proof_file:
        proof.record(proof_file, outcome)
    return 0 if all(result["status"] == "passed" for result in outcome["combinations"]) else FAILED


def _proof_file(options: Options) -> Path | None:
    """The file that gets the proofs: only a complete check of everything is one."""
    complete = options.full and not options.no_check
    if options.proof_file and not complete:
        raise SagegenError("--proof needs --full, and no --no-check: nothing else is a proof", USAGE)
    return (options.proof_file or proof.checkout_file()) if complete else None
