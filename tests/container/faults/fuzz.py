"""Fuzzing a container: never a 5xx from bad input, never a traceback in a body or in the log."""

from __future__ import annotations

import http.client

from hypothesis import given

from .containers import Container
from .fuzzing import few, requests
from .load import Request


def fuzz_container(container: Container) -> None:
    """Ask what nobody would ask, on connections that are kept."""
    connection = http.client.HTTPConnection(*container.address, timeout=10)

    @few(200)
    @given(request=requests())
    def fuzz(request: Request) -> None:
        is_printable = (request.content_type + request.accept).isprintable()
        try:
            status, body = _ask(connection, request)
        except (OSError, http.client.HTTPException):
            connection.close()
            # A close is clean where the head is to blame, as with a zero in it.
            assert not is_printable, request
            return
        assert status == 200 or 400 <= status < 500, (status, body)
        if status != 200:
            assert b"Traceback" not in body
            assert len(body) <= 2048

    fuzz()
    connection.close()
    assert container.ping() == 200
    log = container.log
    assert "Traceback" not in log, log[-3000:]


def _ask(connection: http.client.HTTPConnection, request: Request) -> tuple[int, bytes]:
    connection.putrequest("POST", request.path, skip_accept_encoding=True)
    for name, value in (("Content-Type", request.content_type), ("Accept", request.accept)):
        # Not putheader, which refuses what a hostile client sends.
        connection._buffer.append(f"{name}: {value}".encode("latin-1", "replace"))  # type: ignore[attr-defined]
    connection.putheader("Content-Length", str(len(request.body)))
    connection.endheaders(request.body)
    response = connection.getresponse()
    return response.status, response.read()
