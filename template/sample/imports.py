from byoc.errors import JobError
from byoc.job import Job
from byoc.paths import atomic
