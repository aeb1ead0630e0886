"""The long soak, by hand: every stack under mixed load and after it a fuzzer, with a report.

make soak
make soak SOAK='--seconds 3600 --stack flask --json soak.json'
python -m tests.container.faults --image 'mine-{stack}:latest'
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from .containers import Containers
from .images import STACKS, subject
from .soak import Outcome, soak


def main() -> int:
    """Soak each stack. 0 where nothing was found."""
    options = _parser().parse_args()
    # Read where the fuzzer's settings are made.
    os.environ["SAGEGEN_FUZZ_EXAMPLES"] = str(options.examples)
    found: dict[str, Any] = {}
    for stack in options.stack or STACKS:
        print(
            f"{stack}: {options.seconds:g} s of mixed load, then {options.examples} fuzzed requests",
            flush=True,
        )
        found[stack] = _soak(stack, options)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    return 1 if any(each["problems"] for each in found.values()) else 0


def _soak(stack: str, options: argparse.Namespace) -> dict[str, Any]:
    from .fuzz import fuzz_container

    with tempfile.TemporaryDirectory() as folder, subject(stack, Path(folder), options.image) as image:
        containers = Containers(image.image)
        try:
            container = containers.serve(image.model_dir, workers=options.workers)
            container.wait_until_complete()
            outcome: Outcome = soak(container, options.seconds, options.seed)
            print(outcome, flush=True)
            report = outcome.as_json()
            began = time.monotonic()
            try:
                fuzz_container(container)
            except AssertionError as error:
                report["problems"].append(f"fuzzing: {error}")
                print(f"  fuzzing: {error}", flush=True)
            print(f"  fuzzed for {time.monotonic() - began:.0f} s", flush=True)
            return report
        finally:
            containers.remove()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tests.container.faults", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seconds", type=float, default=600, help="of mixed load for each stack (600)")
    parser.add_argument("--examples", type=int, default=5000, help="fuzzed requests for each stack (5000)")
    parser.add_argument("--stack", action="append", choices=STACKS, help="only this one; may be repeated")
    parser.add_argument("--workers", type=int, default=2, help="in each container (2)")
    parser.add_argument("--seed", type=int, default=1, help="decides the order of requests (1)")
    parser.add_argument(
        "--image", default="", help="an image that exists, as in mine-{stack}; built where absent"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there, too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
