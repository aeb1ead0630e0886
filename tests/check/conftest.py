"""The bank of mutants, shared by the tests that need containers."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from bank import BASE_IMAGE, SCALE, Bank

from sagegen.check.limits import SCALE_VARIABLE
from sagegen.engine import Engine
from sagegen.errors import SagegenError


@pytest.fixture(scope="session")
def bank(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bank]:
    """The bank of mutants."""
    os.environ[SCALE_VARIABLE] = SCALE
    try:
        engine = Engine.connect()
        engine.client.images.get(BASE_IMAGE)
    except Exception as error:
        if isinstance(error, SagegenError) or "No such image" in str(error):
            pytest.skip(f"needs Docker and {BASE_IMAGE} (scripts/base-image)")
        raise
    found = Bank(engine, tmp_path_factory.mktemp("bank"))
    wanted = [item.callspec.params["mutant"] for item in request.session.items
              if "mutant" in getattr(getattr(item, "callspec", None), "params", {})]  # fmt: skip
    found.begin(wanted)
    yield found
    found.close()
    del os.environ[SCALE_VARIABLE]
