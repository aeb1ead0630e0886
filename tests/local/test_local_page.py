"""The page of `sagegen local` as its user meets it: in a browser, at a desk and on a phone."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError
from browsing import WINDOWS, look, resize
from emulators import ENDED, Emulator, request, wait
from selenium import webdriver
from selenium.webdriver.common.by import By

LONG = "x" * 60


@pytest.fixture(scope="module")
def busy(local: Emulator, image: str) -> Emulator:
    """An emulator that has trained under a long name, failed with long words, and refused a call."""
    sagemaker = local.client("sagemaker")
    words = {"then": "fail", "words": "<b>not bold</b> " + 5 * LONG}
    sagemaker.create_training_job(**request(image, f"page-{LONG[:57]}", HyperParameters=words))
    with pytest.raises(ClientError):
        sagemaker.describe_endpoint(EndpointName=LONG)
    name = f"page-{LONG[:57]}"
    wait(lambda: sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"] in ENDED)
    return local


@pytest.mark.parametrize("window", WINDOWS)
def test_the_page_and_its_logs_are_readable_without_errors(
    busy: Emulator,
    browser: webdriver.Chrome,
    window: str,
) -> None:
    width = resize(browser, window)
    assert look(browser, busy.exports["AWS_ENDPOINT_URL"], width) == []
    text = browser.find_element(By.TAG_NAME, "body").text
    assert "<b>not bold</b>" in text
    assert "sagemaker:DescribeEndpoint" in text
    log = browser.find_element(By.LINK_TEXT, "log").get_attribute("href")
    assert log and look(browser, log, width) == []
    assert "starting at epoch 0 on algo-1" in browser.find_element(By.TAG_NAME, "body").text
