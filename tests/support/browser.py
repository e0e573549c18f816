"""What tests do with a page of a real Chromium: record where it asks, run a notebook's cells and read them."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import Locator, Page, expect

QUIET = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 30_000  # milliseconds, for what takes one second on an idle machine


@dataclass
class Watched:
    """A page and every host it asked, a WebSocket counted too."""

    page: Page
    hosts: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(PATIENCE)
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.on("websocket", lambda opened: self._asked(opened.url))

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob"):
            self.hosts.add(parts.hostname or parts.scheme)


@dataclass(frozen=True)
class NotebookPage:
    """The notebook that is open in a JupyterLab page."""

    page: Page

    def wait_for_kernel(self, name: str) -> None:
        """Return once Lab shows `name` as the notebook's kernel, and that it is ready."""
        shown = self.page.locator(".jp-NotebookPanel-toolbar .jp-KernelName")
        expect(shown).to_have_text(name, timeout=PATIENCE)  # "No Kernel" until there is one
        self.wait_until_idle()

    def wait_until_idle(self) -> None:
        """Return once the kernel has nothing to do."""
        self.page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").wait_for()

    def run(self, code: str) -> Locator:
        """Run code in the last, empty cell; the outputs, once there are any."""
        before = self.page.locator(".jp-Notebook .jp-CodeCell").count()
        self.page.locator(".jp-Notebook .jp-CodeCell").last.locator(".cm-content").click()
        self.page.keyboard.insert_text(code)
        self.page.keyboard.press("Shift+Enter")
        self.page.locator(".jp-Notebook .jp-CodeCell").nth(before).wait_for()  # Lab opens the next one
        outputs = self.page.locator(".jp-Notebook .jp-CodeCell").nth(before - 1).locator(".jp-OutputArea-output")
        outputs.first.wait_for()
        self.wait_until_idle()
        return outputs
