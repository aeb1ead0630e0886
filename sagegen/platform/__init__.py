"""How SageMaker runs a container: what `sagegen check` and `sagegen local` both know."""

from sagegen.platform.jobs import CHANNEL, CONFIG, PIPES, RESOURCES, Job, feeder, job_environment
from sagegen.platform.serving import HOST, MODEL, PORT, serving, transform_environment

__all__ = [
    "CHANNEL", "CONFIG", "HOST", "MODEL", "PIPES", "PORT", "RESOURCES", "Job", "feeder", "job_environment",
    "serving", "transform_environment",
]  # fmt: skip
