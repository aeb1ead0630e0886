"""The bank of mutants, shared by the tests that need containers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bank import SCALE, Bank

from sagegen.check import limits
from sagegen.engine import Engine


@pytest.fixture(scope="session")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bank]:
    """The bank of mutants."""
    # In this process only: what other tests start must not see it.
    limits.SCALE = SCALE
    found = Bank(Engine.connect(), tmp_path_factory.mktemp("bank"))
    yield found
    found.close()
    limits.SCALE = 1.0
