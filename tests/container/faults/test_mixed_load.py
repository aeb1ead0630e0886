"""Every kind of request at once: no error, and neither memory nor descriptors grow with their number."""

from __future__ import annotations

import pytest

from .containers import Container
from .soak import soak

SECONDS = 20

# For test_stop_under_load.py: what it tells to stop may take half a minute, and needs no CPU for it.
pytestmark = pytest.mark.usefixtures("stopping")


def test_mixed_load_is_answered_without_an_error_and_without_growth(container: Container) -> None:
    outcome = soak(container, SECONDS)
    print(outcome)
    assert not outcome.problems, outcome
