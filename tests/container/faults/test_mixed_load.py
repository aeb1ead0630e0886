"""Every kind of request at once: no error, and neither memory nor descriptors grow with their number."""

from __future__ import annotations

import pytest

from .containers import Container
from .soak import soak

SECONDS = 32

# Takes half a minute to end, without any CPU: meanwhile.
pytestmark = pytest.mark.usefixtures("stopping")


def test_mixed_load_is_answered_without_an_error_and_without_growth(container: Container) -> None:
    outcome = soak(container, SECONDS)
    print(outcome)
    assert not outcome.problems, outcome
