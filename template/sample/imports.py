from byoc.common.errors import JobError
from byoc.common.paths import atomic
from byoc.training.job import Job
