"""The hosts that train one model: they begin together, and end together (T-41, T-44).

Each host's parent process keeps one connection to the first host's. A host that fails tells why; one that
vanishes is noticed by its connection. Training itself has connections of its own.
"""

import json
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from byoc.processes import Process, StopRequest, say
from byoc.training import hanging

PORT = 7776
# Names of other hosts resolve late, and a host may start minutes after another.
MEETING_SECONDS = 15 * 60
# When a process waited for others in vain, every host must say within this time where its own are.
ANSWER_SECONDS = 8
# A peer that is gone without closing its connection is noticed after 10 + 3 * 5 seconds.
KEEP_ALIVE = {socket.TCP_KEEPIDLE: 10, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 3}
LOST = "was lost without a reason (most often: out of memory, or its network is gone)"


class HostFailed(Exception):
    """Another host cannot go on; the text is its reason."""


class Cluster:
    """This host's connections: the first host's to all others, or another's to the first."""

    def __init__(self, hosts: tuple[str, ...], current: str) -> None:
        self.hosts, self.current = hosts, current
        self.peers: dict[Connection, str] = {}
        self.done: set[str] = set()
        # Where each host's processes are, once one has waited for others in vain.
        self.places: dict[str, str] = {}
        self.answers_until = 0.0

    def meet(self, has_data: bool, stop: StopRequest) -> tuple[str, ...]:
        """Wait until every host is there. Returns those that have data. Raises HostFailed if one is not."""
        if len(self.hosts) == 1:
            return self.hosts
        say(f"host {self.current} waits for {len(self.hosts)} hosts")
        deadline = time.monotonic() + MEETING_SECONDS
        if self.current != self.hosts[0]:
            return self._join(has_data, stop, deadline)
        with_data = {self.current} if has_data else set()
        missing = set(self.hosts) - {self.current}
        with socket.create_server(("", PORT)) as server:
            server.settimeout(0.5)
            while missing:
                _go_on(stop, deadline, f"{', '.join(sorted(missing))} did not come")
                with suppress(TimeoutError, OSError, EOFError, ValueError, KeyError):
                    peer = _connection(server.accept()[0])
                    hello = json.loads(peer.recv_bytes()) if peer.poll(5) else {}
                    missing.remove(hello["host"])
                    self.peers[peer] = hello["host"]
                    with_data |= {hello["host"]} if hello["has_data"] else set()
        # If no host has data, train() names the channel.
        members = tuple(host for host in self.hosts if host in with_data) or self.hosts
        self._tell(members=members)
        return members

    def _join(self, has_data: bool, stop: StopRequest, deadline: float) -> tuple[str, ...]:
        first = self.hosts[0]
        while not self.peers:
            _go_on(stop, deadline, f"{first} cannot be reached")
            try:
                self.peers[_connection(socket.create_connection((first, PORT), timeout=5))] = first
            except OSError:  # not resolved yet, or nobody listens yet
                time.sleep(0.5)
        self._tell(host=self.current, has_data=has_data)
        while True:
            _go_on(stop, deadline, f"{first} did not begin")
            for message in self._messages(0.5):
                if "members" in message:
                    return tuple(message["members"])

    def check(self, seconds: float = 0) -> None:
        """Take note of what other hosts tell in this time. Raises HostFailed as soon as one cannot go on."""
        ends = time.monotonic() + seconds
        while self._messages(max(0.0, ends - time.monotonic())):
            pass

    def search(self, members: tuple[str, ...], children: Sequence[Process]) -> None:
        """Find the process that hangs, once another has waited for it in vain. Raises HostFailed then."""
        reason = hanging.reason()
        if reason or self.places:
            self._answer(lambda: hanging.place(children))
        silent = set(members) - self.places.keys()
        if not reason or (silent and time.monotonic() < self.answers_until):
            return
        found = [f"{host} {place}" for host, place in sorted(self.places.items()) if place]
        found += [f"{host} does not answer" for host in sorted(silent)]
        raise HostFailed(f"{'; '.join(found)}; {self.current} waited for it: {reason}" if found else reason)

    def _answer(self, place: Callable[[], str]) -> None:
        """Tell once where this host's processes are; an empty text means that they wait for others."""
        if self.current not in self.places:
            self.places[self.current] = place()
            self.answers_until = time.monotonic() + ANSWER_SECONDS
            self._tell(places=self.places)

    def end(self) -> None:
        """Wait until every host is done: local modes stop all when one ends. Raises HostFailed as `check`."""
        self.done.add(self.current)
        first = self.hosts[0]
        if self.current != first:
            self._tell(done=self.current)
        while not self.done >= ({first} if self.current != first else set(self.hosts)):
            self._messages(1)
            if self.places:
                self._answer(lambda: "has ended train()")
        if self.current == first:
            self._tell(done=first)

    def tell_failure(self, reason: str) -> None:
        """Let the other hosts end with this reason, which names the host where it arose."""
        self._tell(failed=reason if reason.startswith(self.hosts) else f"{self.current}: {reason}")

    def _messages(self, seconds: float) -> list[dict[str, Any]]:
        """What arrived. Raises HostFailed for a failure, or for a host that vanished before it was done."""
        messages = []
        for peer in wait(list(self.peers), seconds):
            assert isinstance(peer, Connection)
            host = self.peers[peer]
            try:
                message = json.loads(peer.recv_bytes())
            except (EOFError, OSError):
                del self.peers[peer]
                if host in self.done:
                    continue
                message = {"failed": f"{host}: {LOST}"}
            if "failed" in message:
                raise HostFailed(message["failed"])
            self.done |= {message["done"]} if "done" in message else set()
            if news := message.get("places", {}).items() - self.places.items():
                self.places |= dict(news)
                if self.current == self.hosts[0]:
                    self._tell(places=self.places)
            messages.append(message)
        return messages

    def _tell(self, **message: Any) -> None:
        for peer in self.peers:
            with suppress(OSError):
                peer.send_bytes(json.dumps(message).encode())


def _go_on(stop: StopRequest, deadline: float, trouble: str) -> None:
    if stop:
        raise HostFailed("the job was stopped before all hosts were there")
    if time.monotonic() > deadline:
        raise HostFailed(f"{trouble} within {MEETING_SECONDS} s")


def _connection(connected: socket.socket) -> Connection:
    connected.settimeout(None)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEP_ALIVE.items():
        connected.setsockopt(socket.IPPROTO_TCP, option, value)
    return Connection(connected.detach())
