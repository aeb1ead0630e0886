"""SageMaker's limits, and the check's own."""

from __future__ import annotations

from dataclasses import dataclass

from sagegen.platform import limits as platform

#: Multiplies the large limits. The tests of the check set it to 0.1: they then see after 12 s instead of
#: 120 s that an image ignores SIGTERM, and build an image of 1 GB instead of 10. A real check leaves it at 1.
SCALE = 1.0


@dataclass(frozen=True)
class Limits:
    """Seconds, and bytes where the name says so."""

    timeout: float = platform.STARTUP  # one training run, or a server's start until the first healthy ping
    startup: float = platform.STARTUP  # S-13
    startup_slow: float = 240.0
    serverless_startup: float = platform.SERVERLESS_STARTUP  # SV-03
    stop_training: float = platform.STOP_TRAINING  # T-60
    stop_training_slow: float = 60.0
    stop_serving: float = platform.STOP_SERVING  # S-03
    invocation: float = platform.INVOCATION  # S-22
    linger: float = 30.0  # T-55
    late_host: float = 15.0  # T-44
    idle: float = 20.0  # a job that uses no CPU for so long waits for something that will not come
    settle: float = 20.0  # what any start may take longer than the first one
    give_up: float = 45.0  # a server that answers, but not what it should
    load: float = 5.0  # how long requests keep the server busy
    ping: float = platform.PING  # S-12
    ping_slow: float = 1.0
    ping_free: float = 0.4
    connect: float = 0.25  # S-21
    image_bytes: float = platform.SERVERLESS_IMAGE_BYTES  # SV-01
    memory_share: float = 0.25  # of the machine's, for each of several containers at a time

    @classmethod
    def make(cls, timeout: float | None = None) -> Limits:
        """The platform's limits; `timeout` replaces the longest training run and the longest start."""
        long = (
            "startup startup_slow serverless_startup stop_training stop_training_slow stop_serving invocation"
            " linger late_host idle settle give_up timeout"
        )
        values = {name: getattr(cls, name) * SCALE for name in long.split()}
        values["memory_share"] = max(0.15, cls.memory_share * SCALE)  # more than S-75 allows
        values["image_bytes"] = cls.image_bytes * SCALE
        values["load"] = max(1.5, cls.load * SCALE)
        values["settle"] = max(8.0, values["settle"])
        values["late_host"] = max(3.0, values["late_host"])
        values["idle"] = max(5.0, values["idle"])
        if timeout is not None:
            values["timeout"] = timeout
        return cls(**values)
