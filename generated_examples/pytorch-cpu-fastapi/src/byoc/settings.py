"""What `serve` decided at start, handed to the stack."""

from dataclasses import dataclass
from pathlib import Path

from byoc.limits import Limits
from byoc.workers import Plan


@dataclass(frozen=True)
class Settings:
    """Port, limits and workers of this container, and a folder that lives as long as it does."""

    port: int
    limits: Limits
    plan: Plan
    run_dir: Path
