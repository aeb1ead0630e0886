"""`python -m deploy VERB`: one verb of the life on AWS. The last line and the exit code say how it ended."""

import argparse
import importlib
import io
import sys

from botocore.exceptions import BotoCoreError

from deploy.calls import Aws
from deploy.settings import Refusal, read

VERBS = {
    "up": "create bucket, repository and role",
    "upload": "send the image and the training data",
    "train": "train on AWS",
    "tune": "search for hyperparameters",
    "deploy": "create or update the endpoint, and prove it",
    "invoke": "send the sample requests, or FILE",
    "transform": "predict FILE or a folder in a batch job",
    "async": "send FILE to an asynchronous endpoint",
    "scale": "let the load decide how many instances serve",
    "status": "say what is there and what it costs",
    "logs": "print the last lines of the endpoint, or of a job",
    "rollback": "serve what served before",
    "down": "remove everything that was made here",
}


def main() -> int:
    """Run the verb; the exit code: 0, 1 if it cannot be done, 2 for wrong arguments, 130 if interrupted."""
    parser = argparse.ArgumentParser("python -m deploy", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, text in VERBS.items():
        one = verbs.add_parser(verb, help=text, description=text)
        one.add_argument("--dry-run", action="store_true", help="show each call's request, change nothing")
        one.add_argument("--yes", action="store_true", help="start what costs money without a question")
        if verb == "train":
            one.add_argument("--retry", action="store_true", help="train once more after a job that failed")
        if verb in ("invoke", "async", "transform"):
            one.add_argument("file", nargs="?", help="default: the sample requests")
            one.add_argument("--accept", help="media type of the answer; default text/csv")
        if verb == "transform":
            one.add_argument("--output", help="folder of the answers; default: transformed")
        if verb == "logs":
            one.add_argument("name", nargs="?", help="a job's name; default: the endpoint")
            one.add_argument("--lines", type=int, default=50)
    args = parser.parse_args()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a log of CI shows where it stands
    module = importlib.import_module(f"deploy.{'asynchronous' if args.verb == 'async' else args.verb}")
    try:
        said = module.run(Aws(read(), args.dry_run, args.yes), args)
        print("dry run: nothing was changed" if args.dry_run else said)
    except (Refusal, OSError, BotoCoreError) as refusal:
        print(f"deploy {args.verb}: {refusal}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, EOFError):
        print(f"deploy {args.verb}: interrupted – the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
