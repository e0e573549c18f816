"""The browser that this chapter's tests share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright
from support.browser import QUIET


@pytest.fixture(scope="module")  # playwright holds the event loop, which later tests need
def chromium() -> Iterator[Browser]:
    """The system's Chromium, headless; nothing is downloaded, and where there is none the tests skip and say so."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no Chromium on this machine (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, headless=True, args=QUIET)
        yield browser
        browser.close()
