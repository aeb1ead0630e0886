"""What containers print, in CloudWatch Logs while they run."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

from botocore.exceptions import BotoCoreError, ClientError

from sagegen.engine import TROUBLE, Box
from sagegen.local.cloud import ACCOUNT, Cloud
from sagegen.local.front import Request
from sagegen.local.wire import Answer, not_emulated

SEND_SECONDS = 0.5
EVENTS_A_CALL = 1000
#: Of one stream: a container that floods its log does not fill this process.
LINES, CHARACTERS = 100_000, 32 * 2**20


class LogStream:
    """The log of one container, as a stream of a log group."""

    def __init__(self, cloud: Cloud, group: str, stream: str, role: str | None) -> None:
        self.cloud, self.group, self.stream = cloud, group, stream
        self.lines: list[str] = []
        self._sent = self._size = 0
        self._reader: threading.Thread | None = None
        self._ended = threading.Event()
        self._sending = threading.Lock()  # else a line could be sent twice
        self._client = client = cloud.client("logs", role)
        for create, names in (
            (client.create_log_group, {"logGroupName": group}),
            (client.create_log_stream, {"logGroupName": group, "logStreamName": stream}),
        ):
            # It exists, or the role may not: then a job runs without a log, as on AWS.
            with suppress(ClientError):
                create(**names)

    @property
    def arn(self) -> str:
        """The log group's ARN."""
        return f"arn:aws:logs:{self.cloud.region}:{ACCOUNT}:log-group:{self.group}"

    def follow(self, box: Box) -> None:
        """Take over every line of a started container until it ends."""
        self._reader = threading.Thread(
            target=self._read, args=(box,), daemon=True, name=f"log {self.stream}"
        )
        self._reader.start()
        self.cloud.begin(self.send_often)

    def close(self, seconds: float = 10.0) -> None:
        """Wait until the ended container's last line has arrived."""
        if self._reader:
            self._reader.join(seconds)
        self._ended.set()
        self._send()

    def _read(self, box: Box) -> None:
        with suppress(*TROUBLE):
            for line in box.follow():
                self.add(line)

    def add(self, line: str) -> None:
        """Take one line, unless there are too many."""
        if self._size > CHARACTERS or len(self.lines) >= LINES:
            return
        self._size += len(line)
        self.lines.append(line)
        if self._size > CHARACTERS or len(self.lines) >= LINES:
            most = f"{LINES} lines or {CHARACTERS} characters"
            self.lines.append(f"sagegen local keeps {most} of a log: the rest is not here")

    def send_often(self) -> None:
        """Send what is new, until the stream is closed."""
        while not self._ended.wait(SEND_SECONDS) and not self.cloud.closed:
            self._send()

    def _send(self) -> None:
        with self._sending, suppress(ClientError, BotoCoreError):
            while left := self.lines[self._sent : self._sent + EVENTS_A_CALL]:
                at = int(time.time() * 1000)
                events = [{"timestamp": at, "message": line or " "} for line in left]
                self._client.put_log_events(
                    logGroupName=self.group, logStreamName=self.stream, logEvents=events
                )
                self._sent += len(left)


def route(request: Request) -> Answer | None:
    """Refuse what moto would answer with the lines of every stream."""
    filters = request.service == "logs" and request.call.operation == "FilterLogEvents"
    if filters and b'"logStreamNamePrefix"' in request.reread():
        raise not_emulated("logStreamNamePrefix of FilterLogEvents")
    return None
