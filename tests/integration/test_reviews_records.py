"""Submissions, passports, runs, stops and revoked tokens: kept as given, changed only from what was seen."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.records_kit import NOON, event, make_home

from kaianalytics.errors import RecordsFault, ReviewRefused
from kaianalytics.records import audit, reviews, revocations, runs, stops
from kaianalytics.records.database import Records

NOTEBOOK = b'{"cells": [], "nbformat": 4}\n'
SUBMISSION: dict[str, Any] = {
    "report": "campaign-uplift",
    "purpose": "campaign-analysis",
    "author": "aiko",
    "notebook": NOTEBOOK,
    "notebook_digest": "d1" * 32,
    "parameters": {"campaign": "autumn-coupon", "rho": 0.002, "名": None},
    "kernelspec": "kai-campaign-analysis",
    "request": {"why": "weekly report", "columns": ["arm"]},
    "state": "submitted",
}
NOON_TEXT = "2026-11-02T12:00:00.000000Z"


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    opened = Records.of(*make_home(tmp_path))
    yield opened
    opened.verify()
    opened.close()


def submit(records: Records, **changed: Any) -> int:
    with records.writing(event("review.submitted")) as tx:
        return reviews.add_submission(tx, **{**SUBMISSION, **changed})


def approve(records: Records, review: int, passport: str, hours: int = 0) -> None:
    with records.writing(event("review.approved", at=NOON + timedelta(hours=hours))) as tx:
        reviews.add_passport(
            tx,
            passport_id=passport,
            review_id=review,
            content='{"v":1}',
            signature="ab" * 64,
            expires_at=NOON + timedelta(days=90),
        )


def test_a_submission_comes_back_as_it_was_handed_in(records: Records) -> None:
    review = submit(records)
    with records.reading() as view:
        found = reviews.get(view, review)
    handed_in = {name: getattr(found, name) for name in SUBMISSION}
    assert handed_in == SUBMISSION
    assert (found.at, found.reviewer, found.note, found.decided_at) == (NOON_TEXT, "", "", None)


def test_submissions_are_listed_newest_first_and_by_what_is_named(records: Records) -> None:
    first, second = submit(records), submit(records, author="emi", report="reach")
    with records.reading() as view:
        ids = {
            "all": [one.id for one in reviews.listing(view)],
            "author": [one.id for one in reviews.listing(view, author="emi")],
            "report": [one.id for one in reviews.listing(view, report="campaign-uplift")],
            "state": [one.id for one in reviews.listing(view, state="approved")],
        }
    assert ids == {"all": [second, first], "author": [second], "report": [first], "state": []}


def test_a_decision_rests_on_the_state_that_was_seen(records: Records) -> None:
    review = submit(records)
    with records.writing(event("review.returned")) as tx:
        reviews.set_state(tx, review, "returned", expect="submitted", reviewer="ren", note="say which cells")
    with records.reading() as view:
        found = reviews.get(view, review)
    assert (found.state, found.reviewer, found.note, found.decided_at) == (
        "returned",
        "ren",
        "say which cells",
        NOON_TEXT,
    )
    with pytest.raises(ReviewRefused) as refused, records.writing(event("review.approved")) as tx:
        reviews.set_state(tx, review, "approved", expect="submitted", reviewer="ren")
    assert refused.value.code == "REVIEW_MOVED" and "returned by now" in refused.value.message
    with records.reading() as view:
        assert reviews.get(view, review).state == "returned"


def test_an_unknown_review_is_refused(records: Records) -> None:
    for attempt in (lambda tx: reviews.get(tx, 7), lambda tx: reviews.set_state(tx, 7, "approved", expect="submitted")):
        with pytest.raises(ReviewRefused) as refused, records.writing(event()) as tx:
            attempt(tx)
        assert refused.value.code == "REVIEW_UNKNOWN"


def test_a_parameter_that_is_no_json_value_is_not_stored(records: Records) -> None:
    with pytest.raises(ValueError):
        submit(records, parameters={"x": float("nan")})


def test_a_passport_is_found_by_report_and_exact_notebook(records: Records) -> None:
    review = submit(records)
    approve(records, review, "p1")
    with records.reading() as view:
        found = reviews.passport_for(view, "campaign-uplift", "d1" * 32)
        assert found == reviews.passport(view, "p1") == reviews.passport_of(view, review)
        assert reviews.passport_for(view, "campaign-uplift", "d2" * 32) is None
        assert reviews.passport_for(view, "reach", "d1" * 32) is None
        assert reviews.passport(view, "p2") is None and reviews.passport_of(view, 9) is None
    assert found is not None
    assert (found.content, found.signature, found.issued_at, found.revoked_at) == (
        '{"v":1}',
        "ab" * 64,
        NOON_TEXT,
        None,
    )
    assert found.expires_at == "2027-01-31T12:00:00.000000Z"


def test_the_newest_passport_counts_even_if_it_was_revoked(records: Records) -> None:
    first, second, third = submit(records), submit(records), submit(records, notebook_digest="d2" * 32)
    approve(records, second, "newer", hours=1)
    approve(records, first, "older")
    approve(records, third, "changed", hours=2)
    with records.writing(event("passport.revoked")) as tx:
        reviews.revoke_passport(tx, "newer")
    with records.reading() as view:
        found, latest = (
            reviews.passport_for(view, "campaign-uplift", "d1" * 32),
            reviews.latest_passport(view, "campaign-uplift"),
        )
        assert reviews.latest_passport(view, "reach") is None
    assert found is not None and (found.id, found.revoked_at) == ("newer", NOON_TEXT)
    assert latest is not None and latest.id == "changed"
    for passport, code in (("newer", "PASSPORT_REVOKED"), ("none", "PASSPORT_UNKNOWN")):
        with pytest.raises(ReviewRefused) as refused, records.writing(event()) as tx:
            reviews.revoke_passport(tx, passport)
        assert refused.value.code == code


def test_one_passport_per_review(records: Records) -> None:
    review, other = submit(records), submit(records)
    approve(records, review, "p1")
    for wrong in ((review, "p2"), (other, "p1")):
        with pytest.raises(ReviewRefused) as refused:
            approve(records, *wrong)
        assert refused.value.code == "PASSPORT_EXISTS"
    with pytest.raises(ReviewRefused) as refused:
        approve(records, 99, "p3")
    assert refused.value.code == "REVIEW_UNKNOWN"


def test_a_run_ends_once(records: Records) -> None:
    approve(records, submit(records), "p1")
    with records.writing(event("run.leased")) as tx:
        run = runs.lease(tx, report="campaign-uplift", passport_id="p1")
    with records.reading() as view:
        assert [one.id for one in runs.listing(view, state=runs.LEASED)] == [run]
        assert runs.get(view, run).publication == {}
    with records.writing(event("run.published")) as tx:
        runs.finish(tx, run, "published", {"html": "a1", "rho": "0.006"})
    with pytest.raises(ReviewRefused) as refused, records.writing(event("run.failed")) as tx:
        runs.finish(tx, run, "failed", {})
    assert refused.value.code == "RUN_FINISHED"
    with records.reading() as view:
        found = runs.get(view, run)
        assert runs.listing(view, report="reach") == ()
    assert (found.state, found.finished_at, found.publication["html"]) == ("published", NOON_TEXT, "a1")
    with pytest.raises(ReviewRefused) as refused, records.writing(event()) as tx:
        runs.finish(tx, 99, "failed", {})
    assert refused.value.code == "RUN_UNKNOWN"


def test_a_run_without_a_stored_passport_is_not_leased(records: Records) -> None:
    with pytest.raises(RecordsFault) as fault, records.writing(event("run.leased")) as tx:
        runs.lease(tx, report="campaign-uplift", passport_id="never issued")
    assert fault.value.code == "RECORDS_UNAVAILABLE"
    assert records.verify().events == 0


AD, CAMPAIGN, OTHER = "a" * 32, "b" * 32, "c" * 32


def test_stops_are_pending_for_the_purposes_they_stop(records: Records) -> None:
    everything = stops.Stop("all", "customers", {"ad-targeting": AD, "campaign-analysis": CAMPAIGN})
    one = stops.Stop("ad-targeting", "customers", {"ad-targeting": OTHER})
    for epoch, stop in enumerate((everything, one, one), start=1):
        with records.writing(event("stop.recorded")) as tx:
            assert stops.record(tx, stop) == epoch
    with records.reading() as view:
        assert stops.pending(view, "ad-targeting") == (AD, OTHER)
        assert stops.pending(view, "campaign-analysis") == (CAMPAIGN,)
        assert stops.pending(view, "service-improvement") == ()
        assert stops.epoch(view) == 3


def test_the_audit_chain_holds_no_pseudonym(records: Records) -> None:
    with records.writing(event("stop.recorded")) as tx:
        assert stops.epoch(tx) == 0
        stops.record(tx, stops.Stop("ad-targeting", "customers", {"ad-targeting": AD}))
    with records.reading() as view:
        bodies = "".join(found.body for found in audit.events(view))
    assert '"stops"' in bodies and AD not in bodies


@pytest.mark.parametrize(
    "wrong",
    [
        {"scope": ""},
        {"population": ""},
        {"pseudonyms": {}},
        {"pseudonyms": {"ad-targeting": "C0000001"}},
        {"pseudonyms": {"ad-targeting": "A" * 32}},
        {"pseudonyms": {"ad-targeting": AD, "campaign-analysis": CAMPAIGN}},
        {"scope": "campaign-analysis"},
    ],
)
def test_a_stop_that_names_nobody_or_a_raw_id_can_not_be_built(wrong: dict[str, Any]) -> None:
    right: dict[str, Any] = {"scope": "ad-targeting", "population": "customers", "pseudonyms": {"ad-targeting": AD}}
    stops.Stop(**right)
    with pytest.raises(ValueError):
        stops.Stop(**{**right, **wrong})


def test_a_revoked_token_stays_revoked(records: Records) -> None:
    soon = NOON + timedelta(hours=1)
    for expected in (True, False):
        with records.writing(event("token.revoked")) as tx:
            assert revocations.revoke(tx, "t1", soon) is expected
    with records.reading() as view:
        assert revocations.is_revoked(view, "t1") and not revocations.is_revoked(view, "t2")
        assert revocations.in_force(view, NOON) == {"t1"}
        assert revocations.in_force(view, soon) == frozenset()
