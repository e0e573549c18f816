"""A published report in a browser: it runs and asks for nothing, and fits a desk, a telephone and a sheet of paper."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route
from support.real_world import PROJECT, World, notebook

from kaianalytics.policy.purpose import Purpose, Purposes
from kaianalytics.publishing.publish import Provenance, render
from kaianalytics.review.passport import Conditions, Passport, read_source

PURPOSES = Purposes("1", {"ad-targeting": Purpose("ad-targeting", "Ad targeting", "3.4", True)}, {})
REPORTS = {  # of the project's own; the third is as these two are, and each takes seconds to run
    "campaign_uplift": r"autumn coupon",
    "usage_trends": r"phone's share of sessions",
}
DESK, TELEPHONE = 1000, 400
HOSTILE = """
<script>document.title = "RAN"</script>
<img src="https://evil.example/pixel.png" onerror="document.title = 'RAN'">
<link rel="stylesheet" href="https://evil.example/style.css">
<iframe src="https://evil.example/frame.html"></iframe>
<style>@import url("https://evil.example/more.css"); body { background: url("https://evil.example/back.png") }</style>
<form action="https://evil.example/"><button id="send">send</button></form>
<svg width="20" height="20" onload="document.title = 'RAN'"><circle r="9"/></svg>
"""


@dataclass
class Shown:
    """A report's page, and the hosts that a request was about to leave for; none is let out."""

    page: Page
    reached: set[str] = field(default_factory=set)

    def stop(self, route: Route) -> None:
        """Record where a request would go, and go no further. What the page's policy forbids never comes here."""
        self.reached.add(str(urlsplit(route.request.url).hostname))
        route.abort()


@contextmanager
def shown(chromium: Browser, file: Path, width: int) -> Iterator[Shown]:
    """The file in a fresh browser of that width."""
    with chromium.new_context(viewport={"width": width, "height": 900}) as context:
        made = Shown(context.new_page())
        context.route(re.compile("^(https?|wss?):"), made.stop)
        made.page.goto(file.as_uri(), wait_until="load")
        yield made


def overflow(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))


@pytest.fixture(scope="module")
def published(template: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The reports, submitted, approved, run and published; the paths of their pages."""
    world = template.copy(tmp_path_factory.mktemp("reports"))
    with world.gateway():
        for report in REPORTS:
            spec = PROJECT / "pipelines" / f"{report}.yaml"
            review = re.search(r"as review (\d+)", world.kai("submit", spec, identity="aiko"))
            assert review is not None
            world.kai("review", "approve", review[1], "--note", "as agreed", identity="ren")
            world.kai("report", "run", spec, identity="runner")
    shelves = world.root / "home" / "reports"
    return {report: shelves / report.replace("_", "-") / "latest" / "report.html" for report in REPORTS}


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.parametrize("width", [DESK, TELEPHONE])
def test_a_report_has_a_finding_and_charts_and_fits_its_window(
    chromium: Browser, published: dict[str, Path], report: str, width: int
) -> None:
    with shown(chromium, published[report], width) as seen:
        page = seen.page
        assert re.search(REPORTS[report], page.locator("h1").inner_text())
        charts = [chart.bounding_box() for chart in page.locator("svg:visible, img:visible").all()]
        assert charts and all(box and box["width"] > 200 and box["height"] > 100 for box in charts)
        assert overflow(page) == 0
        assert seen.reached == set()
        assert "RendererRegistry" not in page.locator("body").inner_text()  # nothing of the code, nor of its leftovers


@pytest.mark.parametrize("report", REPORTS)
def test_a_report_prints_on_pages_of_paper(chromium: Browser, published: dict[str, Path], report: str) -> None:
    with shown(chromium, published[report], DESK) as seen:
        paper = seen.page.pdf(format="A4", margin={"top": "15mm", "bottom": "15mm", "left": "15mm", "right": "15mm"})
        assert paper.startswith(b"%PDF")
        seen.page.emulate_media(media="print")
        seen.page.set_viewport_size({"width": 680, "height": 1000})  # 180 mm at 96 dots an inch
        assert overflow(seen.page) == 0


def test_what_a_notebook_wrote_as_html_neither_runs_nor_asks(chromium: Browser, tmp_path: Path) -> None:
    with shown(chromium, written(tmp_path, report_of(HOSTILE)), DESK) as seen:
        assert seen.page.title() == "A report"
        assert seen.reached == set()


def test_the_pages_own_policy_holds_where_nothing_was_cleaned(chromium: Browser, tmp_path: Path) -> None:
    with shown(chromium, written(tmp_path, planted(report_of("<b>12</b>"))), DESK) as seen:
        assert seen.page.title() == "A report"
        seen.page.locator("#send").click(no_wait_after=True)
        seen.page.wait_for_timeout(300)
        assert seen.reached == set()


def test_without_its_policy_the_planted_page_runs_and_asks(chromium: Browser, tmp_path: Path) -> None:
    """The test above can fail: what holds is the page's policy, and not that the content is harmless."""
    bare = re.sub(r"<meta [^>]*Content-Security-Policy[^>]*>", "", planted(report_of("<b>12</b>")))
    with shown(chromium, written(tmp_path, bare), DESK) as seen:
        assert seen.page.title() == "RAN"
        assert seen.reached == {"evil.example"}


def planted(page: str) -> str:
    """The page with hostile content that no cleaning has seen."""
    assert "<main>" in page
    return page.replace("<main>", f"<main>{HOSTILE}", 1)


def written(folder: Path, page: str) -> Path:
    file = folder / "report.html"
    file.write_text(page, encoding="utf-8")
    return file


def report_of(html: str) -> str:
    """A report as it is rendered from a notebook whose one result is this HTML."""
    executed = notebook("pass", purpose="ad-targeting")
    executed["cells"][1]["outputs"] = [{"output_type": "display_data", "metadata": {}, "data": {"text/html": html}}]
    digest = read_source(executed, PURPOSES).digest
    passport = Passport(
        "a-report", "A report", "ad-targeting", "aiko", "ren", "Two OS users.", "Isolation: none.", digest, {},
        "kai-ad-targeting", "slice",
        Conditions("0.004", "0.2", "weekly"), "2026-11-01T00:00:00+00:00", "2027-11-01T00:00:00+00:00",
    )  # fmt: skip
    provenance = Provenance(1, "2026-11-02 09:00 UTC", "abc+0", "2026-11-01", "Isolation: none.", "0.004", "0", (1,))
    return render(executed, passport, provenance, "Ad targeting")
