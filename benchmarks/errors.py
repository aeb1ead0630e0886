"""What ends a benchmark, and what only leaves a contender out."""


class BenchmarkError(Exception):
    """Something that this machine lacks; the message says the way out."""


class ContenderFailed(Exception):
    """One contender could not be built, started or asked; the others go on."""
