"""`sagegen` with limits that a test reaches at once: its arguments are the command's."""

from __future__ import annotations

import resource

from sagegen.engine import lab
from sagegen.platform import limits

PROCESSES, LINES, FUNCTIONS, BUILDS, FILE_BYTES = 60, 500, 3, 3, 16 * 2**20

if __name__ == "__main__":
    limits.INVOCATION, limits.STARTUP, limits.API = 1.5, 4.0, 1.0
    lab.PIDS = PROCESSES
    # A file that grows beyond this fails, as on a disk that is full.
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))

    from sagegen.cli import main
    from sagegen.local import codebuild, lambdas, logs

    logs.LINES, lambdas.CONCURRENCY, codebuild.BUILDS = LINES, FUNCTIONS, BUILDS
    main()
