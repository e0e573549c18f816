"""The walk of a report, typed as its people would: submitted, returned, approved by another, run, repeated."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.real_world import Gateway, Typed, World, describe, notebook, refusal

from kaianalytics.client.launch import launched_level
from kaianalytics.protocol import API, isolation_sentence
from kaianalytics.review.passport import Passport

COUNT = "SELECT device, COUNT(*) AS visits FROM sessions GROUP BY device"
SCRIPT = "from IPython.display import HTML\nHTML('<script>alert(1)</script><p>a finding</p>')"
LEAK = "kai.sql('SELECT customer_id FROM sessions')"
GREEDY = "for rho in ('0.0011', '0.0012'):\n    kai.stats('SELECT COUNT(*) AS n FROM orders', rho=rho)"


@dataclass(frozen=True)
class Walk:
    """One report on its way: its gateway, its description, its review."""

    gateway: Gateway
    description: Path
    review: str

    @property
    def world(self) -> World:
        """Whose report it is."""
        return self.gateway.world

    def run(self) -> str:
        """Run it as the service would."""
        return self.world.kai("report", "run", self.description, identity="runner")


def submitted(world: World, description: Path) -> str:
    """The number of the review that the submission got."""
    said = world.kai("submit", description, identity="aiko")
    found = re.search(r"as review (\d+)", said)
    assert found, said
    return found[1]


def approved(world: World, folder: Path, report: str, source: dict[str, Any], rho: str = "0.002") -> Path:
    """A report that ren approved."""
    description = describe(folder, report, source, rho)
    world.kai("review", "approve", submitted(world, description), identity="ren")
    return description


def failures(gateway: Gateway, report: str) -> list[str]:
    """The codes that the report's runs failed with."""
    return [event.facts()["code"] for event in gateway.world.events("run.failed") if event.subject == report]


def figures(executed: Path) -> list[Any]:
    """What the run showed, without what each kernel counts for itself."""
    cells = json.loads(executed.read_text(encoding="utf-8"))["cells"]
    return [output.get("data") for cell in cells for output in cell.get("outputs", [])]


@pytest.fixture(scope="module")
def walk(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    """A report that was submitted, returned with a note, changed, submitted again and approved."""
    world, folder = gateway.world, tmp_path_factory.mktemp("report")
    description = describe(folder, "visits", notebook("kai.sql('SELECT 1 FROM sessions')"))
    first = submitted(world, description)
    world.kai("review", "return", first, "--note", "rows are not for reports", identity="ren")
    ours = world.kai("review", "list", identity="aiko")
    assert "returned" in ours
    assert "rows are not for reports" in world.kai("review", "show", first, identity="aiko")
    describe(folder, "visits", notebook(f"visits = kai.stats({COUNT!r}, rho='0.002')\nvisits", SCRIPT))
    second = submitted(world, description)
    yield Walk(gateway, description, second)


def test_nobody_but_another_reviewer_approves(walk: Walk) -> None:
    refused = walk.world.type("review", "approve", walk.review, identity="aiko")
    assert (refused.code, "OWN_WORK" in refused.said) == (1, True)
    by_another_analyst = walk.world.type("review", "approve", walk.review, identity="kaito")
    assert (by_another_analyst.code, "ROLE_MISSING" in by_another_analyst.said) == (1, True)
    codes = [event.facts()["code"] for event in walk.world.events("request.refused")]
    assert codes[-2:] == ["OWN_WORK", "ROLE_MISSING"]
    assert "submitted" in walk.world.kai("review", "show", walk.review, identity="ren")


def test_an_unapproved_report_does_not_run(walk: Walk) -> None:
    refused = walk.world.type("report", "run", walk.description, identity="runner")
    assert (refused.code, "NOT_APPROVED" in refused.said) == (1, True)
    assert walk.world.events("run.refused")[-1].facts()["code"] == "NOT_APPROVED"
    assert not (walk.world.home.reports / "visits").exists()


@pytest.fixture(scope="module")
def published(walk: Walk) -> Path:
    """The first run's page."""
    said = walk.world.kai("review", "approve", walk.review, "--weeks", "4", identity="ren")
    assert "Approved until" in said
    executed = walk.description.with_name("first.ipynb")
    run = walk.world.kai("report", "run", walk.description, "--keep", executed, identity="runner")
    assert "(ρ 0.002 charged)" in run
    return walk.world.home.reports / "visits" / "latest" / "report.html"


def test_what_is_published_says_where_it_comes_from_and_runs_no_script(walk: Walk, published: Path) -> None:
    page = published.read_text(encoding="utf-8")
    [policy] = re.findall(r"<meta[^>]*Content-Security-Policy[^>]*>", page)
    assert "default-src 'none'" in policy and "script-src" not in policy
    assert "<script" not in page.lower()
    assert "a finding" in page
    for told in ("SHA-256", isolation_sentence(launched_level()), "aiko, ren", "ρ 0.002 charged", "The report visits"):
        assert told in page, told
    assert not walk.world.secrets() & set(re.findall(r"[\w@.+-]+", page))
    # a page names digests of 64 digits and a passport of 16; a pseudonym has 32
    assert not re.search(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])", page)


def test_the_passport_beside_the_page_is_signed_and_names_both_people(walk: Walk, published: Path) -> None:
    passport = Passport.from_content(published.with_name("passport.json").read_bytes())
    assert (passport.author, passport.reviewer, passport.report) == ("aiko", "ren", "visits")
    assert "not the separation" in passport.separation
    assert passport.isolation == isolation_sentence(launched_level())
    provenance = json.loads(published.with_name("provenance.json").read_text(encoding="utf-8"))
    assert provenance["rho_charged"] == "0.002"
    assert len(provenance["releases"]) == 1


def test_a_second_run_on_the_same_snapshot_is_free_and_shows_the_same_figures(walk: Walk, published: Path) -> None:
    first = walk.description.with_name("first.ipynb")
    second = walk.description.with_name("second.ipynb")
    run = walk.world.kai("report", "run", walk.description, "--keep", second, identity="runner")
    assert "(ρ 0 charged)" in run
    assert published.resolve().parent.name == re.findall(r"run-\d+", run)[-1]
    released = [re.search(r"<table.*?</table>", json.dumps(shown), re.S) for shown in (figures(first), figures(second))]
    assert released[0] is not None and released[1] is not None
    assert released[0][0] == released[1][0]


def test_submitting_what_is_approved_as_it_stands_asks_for_no_review(walk: Walk, published: Path) -> None:
    assert published.exists()
    assert "approved as it stands" in walk.world.kai("submit", walk.description, identity="aiko")


FAILING = {"rows-wanted": (LEAK, "REPORT_STATISTICS_ONLY"), "greedy": (GREEDY, "RUN_CAP")}


@pytest.fixture(scope="module")
def failed(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Typed]:
    """What came of the runs that ask for what a report may not have, both at one time."""
    folder = tmp_path_factory.mktemp("failing")

    def run(report: str) -> Typed:
        description = approved(gateway.world, folder, report, notebook(FAILING[report][0]))
        return gateway.world.type("report", "run", description, identity="runner")

    with ThreadPoolExecutor(len(FAILING)) as threads:
        return dict(zip(FAILING, threads.map(run, FAILING), strict=True))


@pytest.mark.parametrize("report", FAILING)
def test_a_run_that_asks_for_rows_or_more_than_its_approval_fails_and_publishes_nothing(
    gateway: Gateway, failed: dict[str, Typed], report: str
) -> None:
    code = FAILING[report][1]
    assert (failed[report].code, code in failed[report].said) == (1, True)
    assert failures(gateway, report) == [code]
    assert not (gateway.world.home.reports / report).exists()


def test_a_run_is_finished_once_and_its_token_spends_nothing_after(gateway: Gateway, tmp_path: Path) -> None:
    source = notebook("1 + 1")
    approved(gateway.world, tmp_path, "once", source)
    runner = gateway.as_("runner")
    lease = runner.request_json("POST", f"{API}/runs", {"report": "once", "notebook": source, "parameters": {}})
    finish = f"{API}/runs/{lease['run']}/finish"
    assert runner.request_json("POST", finish, {"notebook": source, "failed": False})["state"] == "published"
    assert refusal(lambda: runner.request_json("POST", finish, {"notebook": source, "failed": False})).code == (
        "RUN_FINISHED"
    )
    asked = {"sql": "SELECT COUNT(*) AS n FROM orders WHERE quantity = 3", "rho": "0.0001"}
    late = gateway.door(lease["session"]["token"])
    assert refusal(lambda: late.request_json("POST", f"{API}/statistics", asked)).code == "RUN_FINISHED"


@pytest.mark.parametrize("sent", [{}, {"cells": "x"}, {"metadata": {}, "cells": []}, None, notebook("print('other')")])
def test_what_is_not_the_approved_notebook_fails_its_run(gateway: Gateway, tmp_path: Path, sent: Any) -> None:
    source = notebook("2 + 2")
    report = f"swapped-{len(str(sent))}"
    approved(gateway.world, tmp_path, report, source)
    runner = gateway.as_("runner")
    lease = runner.request_json("POST", f"{API}/runs", {"report": report, "notebook": source, "parameters": {}})
    refused = refusal(
        lambda: runner.request_json("POST", f"{API}/runs/{lease['run']}/finish", {"notebook": sent, "failed": False})
    )
    assert refused.code in {"NOT_A_NOTEBOOK", "PURPOSE_MISSING", "NOT_AS_APPROVED"}
    assert failures(gateway, report) == [refused.code]
    assert not (gateway.world.home.reports / report).exists()
