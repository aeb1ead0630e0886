"""Errors with a message for the person who runs the job or calls the endpoint."""


class JobError(Exception):
    """The job's input prevents training. Its message says what to change and becomes FailureReason (T-51)."""


class NothingToDo(Exception):
    """This host got no file of a sharded channel, and other hosts train (T-37)."""


class RequestError(Exception):
    """A request that cannot be answered as it is: an HTTP status and one line for the client (S-28)."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
