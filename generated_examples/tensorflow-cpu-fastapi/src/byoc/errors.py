"""Errors whose message is for the person who runs the job or calls the endpoint."""


class JobError(Exception):
    """Training cannot go on because of its input: the message names what to change."""


class NothingToDo(Exception):
    """This host got no file of a channel that is dealt out among hosts; the others train (T-37)."""


class RequestError(Exception):
    """A request cannot be answered, and it is the client's to mend: an HTTP status and one line."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
