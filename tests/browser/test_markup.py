"""Markup planted in names, keys, values and sentences, looked at in a browser: it is shown, and nothing runs."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from playwright.sync_api import Browser, Route
from support.real_world import notebook
from support.release_kit import figure, key, release

import kaianalytics
from kaianalytics.client.budget import BudgetTable
from kaianalytics.client.datasets import DatasetList
from kaianalytics.client.planned import PlanTable
from kaianalytics.client.release import ReleaseTable
from kaianalytics.client.releases import ReleaseList
from kaianalytics.policy.purpose import Purpose, Purposes
from kaianalytics.protocol import Budget, BudgetLine, Dataset, FigurePlan, ReleaseColumn, StatisticsPlan
from kaianalytics.publishing.publish import Provenance, render
from kaianalytics.review.passport import Conditions, Passport, read_source

PLANTED = "<img src=x onerror=\"document.title='RAN'\"><svg onload=\"document.title='RAN'\"></svg>'\"</td></table>"
PURPOSES = Purposes("1", {"ad-targeting": Purpose("ad-targeting", "Ads", "3.4", True)}, {})


def displays() -> list[str]:
    """The HTML of everything that a notebook shows, with markup wherever something came over the wire."""
    columns = (ReleaseColumn(PLANTED, "key", "string"), figure("n"))
    planted = replace(
        release(columns, [(PLANTED, 120), ("b", 210)], [None, 4.0], bounding=(PLANTED,), notes=(PLANTED,)),
        sql=PLANTED, purpose=PLANTED, snapshot=PLANTED, isolation=PLANTED, rho=PLANTED, epsilon=PLANTED,
    )  # fmt: skip
    named = replace(planted, columns=(key("d"), figure(PLANTED)), rho="0.002", epsilon="0.3")
    table = ReleaseTable(planted, remaining={PLANTED: PLANTED}, lost={PLANTED: PLANTED}, recorded=PLANTED)
    priced = StatisticsPlan(
        "0.0005", "0.0045", "0", "0.12", "0.000001", (FigurePlan(PLANTED, "count", 81.2),), 4, ("2026-10-01",),
        (PLANTED,), 1, 2,
    )  # fmt: skip
    shown = [
        table,
        table.footnote,
        ReleaseTable(named).rollup(),
        ReleaseTable(named).difference(PLANTED, "b"),
        ReleaseTable(named).ratio(PLANTED, "b"),
        ReleaseList((table,)),
        PlanTable(priced),
        DatasetList((Dataset(PLANTED, PLANTED, (PLANTED,), ({"name": PLANTED, "type": PLANTED},), PLANTED, PLANTED),)),
        BudgetTable(Budget(PLANTED, PLANTED, (BudgetLine(PLANTED, "2", "1", "1"),), PLANTED, ask=PLANTED)),
        kaianalytics.table(pl.DataFrame({PLANTED: [PLANTED]})),
    ]
    return [each._repr_html_() for each in shown]


def report() -> str:
    """A report's page whose titles, names and sources are markup."""
    executed = notebook(f"# {PLANTED}", purpose="ad-targeting")
    heading = {"cell_type": "markdown", "id": "m", "metadata": {"title": PLANTED}, "source": f"# {PLANTED}"}
    printed = {"output_type": "stream", "name": "stdout", "text": PLANTED}
    executed["cells"] = [{**executed["cells"][0], "outputs": [printed]}, heading]
    passport = Passport(
        PLANTED, PLANTED, "ad-targeting", PLANTED, PLANTED, PLANTED, PLANTED, read_source(executed, PURPOSES).digest,
        {}, "kai-ad-targeting", PLANTED, Conditions("0.004", "0.2", "weekly"), PLANTED, PLANTED,
    )  # fmt: skip
    earlier = ((PLANTED, (1, 2)),)
    provenance = Provenance(1, PLANTED, PLANTED, PLANTED, PLANTED, PLANTED, PLANTED, (1,), earlier)
    return render(executed, passport, provenance, PLANTED)


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {"displays": f"<title>quiet</title><body>{''.join(displays())}", "report": report()}


@pytest.mark.parametrize("name", ["displays", "report"])
def test_markup_is_shown_and_nothing_runs(chromium: Browser, pages: dict[str, str], tmp_path: Path, name: str) -> None:
    # without the page's own policy, so that it is the escaping that holds
    html = re.sub(r"<meta [^>]*Content-Security-Policy[^>]*>", "", pages[name])
    title, elements, asked = looked_at(chromium, tmp_path, html)
    assert (title, elements, asked) == ("quiet" if name == "displays" else PLANTED, 0, [])


def test_one_name_that_is_not_escaped_would_be_seen(chromium: Browser, tmp_path: Path) -> None:
    title, elements, _ = looked_at(chromium, tmp_path, f"<title>quiet</title><td>{PLANTED}</td>")
    assert (title, elements) == ("RAN", 2)


def looked_at(chromium: Browser, folder: Path, html: str) -> tuple[str, int, list[str]]:
    """The page's title once it was shown, how many planted elements it has, and where it would have asked."""
    (folder / "page.html").write_text(f"<!doctype html><meta charset=utf-8>{html}", encoding="utf-8")
    asked: list[str] = []

    def stop(route: Route) -> None:
        asked.append(route.request.url)
        route.abort()

    with chromium.new_context() as context:
        page = context.new_page()
        context.route(re.compile("^(https?|wss?):"), stop)
        page.goto((folder / "page.html").as_uri(), wait_until="load")
        page.wait_for_timeout(200)
        assert "onerror" in page.locator("body").inner_text() or page.title() == "RAN"
        planted = page.locator("img[src='x'], svg[onload], [onerror], script").count()
        return page.title(), planted, asked
