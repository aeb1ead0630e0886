"""A container asked what nobody would ask."""

from __future__ import annotations

from .containers import Container
from .fuzz import fuzz_container


def test_no_request_is_answered_with_a_5xx_or_a_traceback(container: Container) -> None:
    fuzz_container(container)
