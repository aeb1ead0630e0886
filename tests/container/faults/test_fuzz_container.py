"""A container asked what nobody would ask: never a 5xx from bad input, never a traceback in a body."""

from __future__ import annotations

import http.client

import pytest
from hypothesis import given

from .containers import Container, Containers
from .fuzzing import few, requests
from .images import Subject
from .load import Request


@pytest.fixture(scope="module")
def container(shared_containers: Containers, image: Subject) -> Container:
    started = shared_containers.serve(image.model_dir)
    started.wait_until_healthy()
    return started


def test_no_request_is_answered_with_a_5xx_or_a_traceback(container: Container) -> None:
    connection = http.client.HTTPConnection(*container.address, timeout=10)

    @few(400)
    @given(request=requests())
    def fuzz(request: Request) -> None:
        nonlocal connection
        headers = {"Content-Type": request.content_type, "Accept": request.accept}
        try:
            connection.putrequest("POST", "/invocations", skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value.encode("latin-1", "replace"))
            connection.putheader("Content-Length", str(len(request.body)))
            connection.endheaders(request.body)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException):
            # A close is clean where the head is to blame, as with a zero in it.
            assert not all(value.isprintable() for value in headers.values()), request
            connection = http.client.HTTPConnection(*container.address, timeout=10)
            return
        except ValueError:
            connection.close()  # what http.client itself refuses to send
            return
        assert response.status == 200 or 400 <= response.status < 500, body
        if response.status != 200:
            assert b"Traceback" not in body
            assert len(body) <= 2048

    fuzz()
    connection.close()
    assert container.ping() == 200
    assert "Traceback" not in container.log, container.log[-3000:]
