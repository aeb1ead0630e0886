"""What `serve` decided at start, handed to the stack."""

from pathlib import Path
from typing import NamedTuple

from byoc.serving.limits import Limits
from byoc.serving.plan import Plan


class Settings(NamedTuple):
    """Port, limits and workers of this container, and a folder that lives as long as it does."""

    port: int
    limits: Limits
    plan: Plan
    run_dir: Path
