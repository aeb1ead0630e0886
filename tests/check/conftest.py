"""The bank of mutants, shared by the tests that need containers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bank import SCALE, Bank

from sagegen.check import limits
from sagegen.engine import Engine


@pytest.fixture(scope="session")
def bank(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bank]:
    """The bank of mutants."""
    # In this process only: what other tests start must not see it.
    limits.SCALE = SCALE
    found = Bank(Engine.connect(), tmp_path_factory.mktemp("bank"))
    if any(item.name == "test_the_healthy_image_keeps_every_rule" for item in request.session.items):
        _ = found.healthy_report  # begins
    wanted = [item.callspec.params["mutant"] for item in request.session.items
              if "mutant" in getattr(getattr(item, "callspec", None), "params", {})]  # fmt: skip
    found.begin(wanted)
    yield found
    found.close()
    limits.SCALE = 1.0
