"""The image's entry point: `train`, `serve`, and a usage line for anything else."""

import runpy
import sys
from pathlib import Path

PROGRAM = Path(__file__).parent.parent
COMMANDS = ("train", "serve")
USAGE_ERROR = 64  # EX_USAGE of sysexits.h


def main(arguments: list[str]) -> int:
    """Run a command in this process, so that PID 1 is the one that gets SageMaker's SIGTERM (T-03)."""
    if len(arguments) != 1 or arguments[0] not in COMMANDS:
        print(f"usage: docker run IMAGE {{{'|'.join(COMMANDS)}}}", file=sys.stderr)
        return USAGE_ERROR
    runpy.run_path(str(PROGRAM / arguments[0]), run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
