"""What all layers of tests share: nobody's settings, a released template, and every render."""

from __future__ import annotations

import os
import shutil
import signal
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from helpers import COMBOS, SAMPLES, commit, compile_once, tree

from sagegen.engine import TROUBLE, Engine
from sagegen.engine.sweeping import sweep_dead
from sagegen.errors import SagegenError
from sagegen.examples import render_example
from sagegen.render import template

if TYPE_CHECKING:
    from selenium import webdriver

# A process that a shell starts in the background ignores Ctrl-C, and so would every command under test.
signal.signal(signal.SIGINT, signal.default_int_handler)

compile_once()

#: Names this run: its other processes inherit it, and label with it what they make in the engine.
RUN = os.environ.setdefault("SAGEGEN_TEST_RUN", uuid.uuid4().hex)

TESTS = Path(__file__).parent
#: Files whose tests are each on their own: any process may run any of them.
SCATTERED = ("cli/", "test_update.py")


@pytest.hookimpl(tryfirst=True)  # before xdist, which reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say which tests one of several processes runs: those that share something expensive."""
    for item in items:
        if group := _group(item):
            item.add_marker(pytest.mark.xdist_group(group))


@pytest.hookimpl(trylast=True)  # after xdist, which ends the other processes in the same hook
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """After Ctrl-C, remove what processes left in the engine that xdist killed after its ten seconds."""
    if exitstatus != pytest.ExitCode.INTERRUPTED or hasattr(session.config, "workerinput"):
        return
    with suppress(*TROUBLE, SagegenError):
        api, ours = Engine.connect().client.api, {"label": f"sagegen.test={RUN}"}
        sweep_dead(api)
        for container in api.containers(all=True, filters=ours):
            api.remove_container(container["Id"], force=True, v=True)
        for image in api.images(filters=ours):  # the newest first: others may be built on the older
            api.remove_image(image["Id"], force=True)


def _group(item: pytest.Item) -> str:
    """What it shares: the mutants, the stacks' images, every render, its file's fixtures; or nothing."""
    file = item.path.relative_to(TESTS).as_posix()
    if file.startswith("check/"):
        return "check"
    if file.startswith("container/faults/"):
        # One after the other: the loads of two stacks would judge each other's time.
        stack = getattr(item, "callspec", None) and item.callspec.params.get("image")
        return "faults" if stack else file
    if file.startswith("generated/") or "rendered" in getattr(item, "fixturenames", ()):
        return "rendered"
    return "" if file.startswith(SCATTERED) else file


@pytest.fixture(scope="session", autouse=True)
def _nobody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Git and Copier know neither the developer's identity nor their settings."""
    settings = tmp_path_factory.getbasetemp() / "copier-settings.yml"
    settings.write_text("{}\n")
    with pytest.MonkeyPatch.context() as monkeypatch:
        for role in ("AUTHOR", "COMMITTER"):
            monkeypatch.setenv(f"GIT_{role}_NAME", "nobody")
            monkeypatch.setenv(f"GIT_{role}_EMAIL", "nobody")
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
        monkeypatch.setenv("COPIER_SETTINGS_PATH", str(settings))
        yield


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    """The template as a git repository of its own, at its first release; half of its files are images."""
    folder = tmp_path / "upstream"
    shutil.copytree(template(), folder, ignore=shutil.ignore_patterns(".git", "*cache*", "*.png"))
    commit(folder, "the first release", "v0.1.0")
    return folder


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """A headless browser."""
    from browsing import chromium

    yield from chromium(tmp_path_factory.mktemp("chromium"))


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every combination and every sample, rendered once: {id: folder}."""
    folder = tmp_path_factory.mktemp("rendered")
    return {c.id: render_example(c, folder / c.id) for c in [*COMBOS, *SAMPLES]}


@pytest.fixture(scope="session")
def trees(rendered: dict[str, Path]) -> dict[str, dict[str, tuple[bool, bytes]]]:
    return {name: tree(folder) for name, folder in rendered.items()}
