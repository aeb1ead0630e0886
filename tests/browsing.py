"""A headless Chromium, and what a page shows in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

#: Width and height of the window.
WINDOWS = {"desktop": (1280, 900), "phone": (390, 844)}


def chromium(profile: Path) -> Iterator[webdriver.Chrome]:
    """A browser with an empty profile, until the generator goes on. Skips the test where there is none."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("no chromium and chromedriver here; .ci/run installs them")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run",
                     "disable-background-networking", "disable-component-update", "disable-sync",
                     "disable-dev-shm-usage", f"user-data-dir={profile}"):  # fmt: skip
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options, Service(driver))
    yield opened
    opened.quit()


def resize(browser: webdriver.Chrome, window: str) -> int:
    """Give it one of WINDOWS; returns the width in pixels."""
    width, height = WINDOWS[window]
    settings = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": window == "phone"}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", settings)
    return width


def look(browser: webdriver.Chrome, url: str, width: int) -> list[str]:
    """Open a page. Returns what is wrong with it: errors on the console, and that it is too wide."""
    browser.get(url)
    troubles = [str(entry["message"]) for entry in browser.get_log("browser")]
    shown = browser.execute_script("return document.documentElement.scrollWidth")
    return troubles + ([f"{shown} px wide on {width} px"] if shown > width else [])
