"""The documentation site as a reader meets it: in a browser, at a desk and on a phone."""

from __future__ import annotations

import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from browsing import WINDOWS, look, resize
from helpers import ROOT
from selenium import webdriver

from sagegen import catalogue, cli
from sagegen.check import contract

SCREENSHOTS = ROOT / "build/screenshots"
PICTURES = ("index", "start/first-repository", "architecture", "proof", "reference/contract", "platforms")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does; the build fails on every warning."""
    built = ROOT / "build/docs"
    done = subprocess.run(["make", "docs"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return built


class Page(HTMLParser):
    """The links, anchors and loaded files of one page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {name: value or "" for name, value in attrs}
        self.anchors |= {known.get("id", ""), known.get("name", "")}
        if tag == "a" and "href" in known:
            self.links.append(known["href"])
        self.loads += [known[name] for name in ("src",) if name in known]
        if tag == "link" and known.get("rel") in ("stylesheet", "icon", "preload"):
            self.loads.append(known["href"])


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html")}


def test_no_link_is_dead_and_nothing_is_loaded_from_elsewhere(pages: dict[Path, Page]) -> None:
    dead = []
    for path, page in pages.items():
        for target in page.links + page.loads:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                assert target not in page.loads, f"{path} loads {target}"
                continue
            file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = pages.get(file)
            if not file.exists() or (known and parts.fragment and parts.fragment not in known.anchors):
                dead.append(f"{path.name}: {target}")
    assert not dead


def test_the_reference_has_every_command_question_setting_and_rule(site: Path) -> None:
    def text(name: str) -> str:
        return re.sub(r"<[^>]+>", "", (site / "reference" / name).read_text())

    commands = text("command-line.html")
    for name, command in cli.cli.commands.items():
        assert all(option in commands for one in command.params for option in one.opts if option[0] == "-"), (
            name
        )
    assert all(name in text("questions.html") for name in catalogue.asked())
    assert all(row in text("contract.html") for row in contract.rows())
    proof = (site / "proof.html").read_text()
    assert all(f"<code>{c.id}</code>" in proof for c in catalogue.provable())


@pytest.mark.parametrize("window", WINDOWS)
def test_every_page_is_readable_without_errors(
    browser: webdriver.Chrome,
    site: Path,
    pages: dict[Path, Page],
    window: str,
) -> None:
    width = resize(browser, window)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    wrong = []
    for path in sorted(pages):
        name = path.relative_to(site).with_suffix("").as_posix()
        wrong += [f"{name}: {trouble}" for trouble in look(browser, path.as_uri(), width)]
        if name in PICTURES:
            browser.save_screenshot(str(SCREENSHOTS / f"{name.replace('/', '-')}-{window}.png"))
    assert not wrong
