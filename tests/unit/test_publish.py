"""Publishing: what was approved, without errors, once, as a page that runs and fetches nothing."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kaianalytics.errors import Fault, ReviewRefused
from kaianalytics.policy.purpose import Purpose, Purposes
from kaianalytics.publishing.publish import Provenance, check_executed, publish, render
from kaianalytics.review.passport import Conditions, Passport, read_source

PURPOSES = Purposes("1", {"ad-targeting": Purpose("ad-targeting", "Ad targeting", "3.4", True)}, {})
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>"
EXECUTED: dict[str, Any] = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {"kai": {"purpose": "ad-targeting"}, "kernelspec": {"name": "kai-ad-targeting", "display_name": "x"}},
    "cells": [
        {"id": "a", "cell_type": "markdown", "metadata": {}, "source": ["# Reach\n", "in words"]},
        {
            "id": "b",
            "cell_type": "code",
            "metadata": {"tags": ["injected-parameters"]},
            "source": "weeks = 4",
            "outputs": [],
            "execution_count": 1,
        },
        {
            "id": "c",
            "cell_type": "code",
            "metadata": {},
            "source": "secret_source_text()",
            "outputs": [
                {"output_type": "stream", "name": "stdout", "text": ["twelve ", HOSTILE]},
                {"output_type": "display_data", "metadata": {}, "data": {"text/html": "<b>bold</b>"}},
            ],
            "execution_count": 2,
        },
    ],
}
SOURCE = read_source({**EXECUTED, "cells": [EXECUTED["cells"][0], EXECUTED["cells"][2]]}, PURPOSES)
PASSPORT = Passport(
    "audience-reach", f"Reach {HOSTILE}", "ad-targeting", "aiko", "ren", "Two OS users.", "Isolation: none.",
    SOURCE.digest, {}, "kai-ad-targeting", "slice", Conditions("0.004", "0.2", "weekly"), "2026-11-01T00:00:00+00:00",
    "2027-11-01T00:00:00+00:00",
)  # fmt: skip
PROVENANCE = Provenance(7, "2026-11-02 09:00 UTC", "abc+0", "2026-11-01", "Isolation: none.", "0.004", "0", (1, 2))


def test_the_executed_notebook_is_the_approved_one_but_for_the_injected_cell() -> None:
    check_executed(EXECUTED, PASSPORT, PURPOSES)


def test_another_source_is_not_published() -> None:
    other = copy.deepcopy(EXECUTED)
    other["cells"][2]["source"] = "something_else()"
    with pytest.raises(ReviewRefused) as refusal:
        check_executed(other, PASSPORT, PURPOSES)
    assert refusal.value.code == "NOT_AS_APPROVED"


def test_a_run_with_an_error_is_not_published_and_its_text_is_not_repeated() -> None:
    failed = copy.deepcopy(EXECUTED)
    failed["cells"][2]["outputs"] = [{"output_type": "error", "ename": "E", "evalue": "C0000042", "traceback": []}]
    with pytest.raises(ReviewRefused) as refusal:
        check_executed(failed, PASSPORT, PURPOSES)
    assert refusal.value.code == "RUN_FAILED"
    assert "C0000042" not in str(refusal.value)


def test_the_page_shows_results_and_provenance_without_code() -> None:
    page = render(EXECUTED, PASSPORT, PROVENANCE, "Ad targeting")
    for shown in ("Reach", "in words", "twelve", "<b>bold</b>", "abc+0", "ρ 0.004", PASSPORT.passport_id[:16]):
        assert shown in page
    assert "secret_source_text" not in page
    assert "weeks = 4" not in page


def test_earlier_answers_are_named_each_with_the_snapshot_it_was_answered_on() -> None:
    earlier = (("old+3", (4, 5)), ("older+0", (2,)))
    page = render(EXECUTED, PASSPORT, replace(PROVENANCE, earlier=earlier), "Ad targeting")
    footer = page[page.index('<footer class="kai">') :]
    assert "releases 4, 5 as they were answered on snapshot old+3" in footer
    assert "releases 2 as they were answered on snapshot older+0" in footer
    assert "data as of 2026-11-01, beside earlier answers" in page
    assert "earlier answers" not in render(EXECUTED, PASSPORT, PROVENANCE, "Ad targeting").lower()


def test_the_page_runs_no_script_and_names_no_other_host() -> None:
    page = render(EXECUTED, PASSPORT, PROVENANCE, "Ad targeting")
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert page.index("Content-Security-Policy") < page.index("<style>")
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)
    assert "Reach &lt;script&gt;" in page


def test_a_report_is_published_once_and_whole(tmp_path: Path) -> None:
    page = publish(tmp_path, "<p>page</p>", PASSPORT, PROVENANCE)
    assert page.read_text() == "<p>page</p>"
    assert json.loads((page.parent / "provenance.json").read_text())["releases"] == [1, 2]
    assert Passport.from_content((page.parent / "passport.json").read_bytes()) == PASSPORT
    assert (tmp_path / "audience-reach" / "latest" / "report.html").read_text() == "<p>page</p>"
    with pytest.raises(Fault) as fault:
        publish(tmp_path, "<p>other</p>", PASSPORT, PROVENANCE)
    assert fault.value.code == "PUBLISHED_ALREADY"
    assert page.read_text() == "<p>page</p>"


def test_what_an_interrupted_publication_left_is_replaced(tmp_path: Path) -> None:
    left = tmp_path / "audience-reach" / ".run-000007"
    left.mkdir(parents=True)
    (left / "half").write_text("half")
    page = publish(tmp_path, "<p>page</p>", PASSPORT, PROVENANCE)
    assert sorted(file.name for file in page.parent.iterdir()) == ["passport.json", "provenance.json", "report.html"]
