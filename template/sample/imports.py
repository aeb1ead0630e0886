from byoc.errors import JobError
from byoc.paths import atomic
from byoc.job import Job
