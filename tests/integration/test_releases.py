"""Releases and answers on a real file: recorded once, repeated byte for byte, listed, and redeemed once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.records_kit import CHARGE, COST, NOON, charge, declare, event, make_home, population, spent, tamper

from kaianalytics.custody.home import Home
from kaianalytics.custody.keys import Keys
from kaianalytics.errors import BudgetRefused, RecordsFault
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.records import ledger, releases
from kaianalytics.records.database import Records

ASKED = replace(CHARGE, question="q0")
NOISY = b"[[1,2,3]]"


@pytest.fixture
def custody(tmp_path: Path) -> tuple[Home, Keys]:
    return make_home(tmp_path)


@pytest.fixture
def records(custody: tuple[Home, Keys]) -> Iterator[Records]:
    opened = Records.of(*custody)
    declare(opened, population())
    yield opened
    opened.close()


def release(records: Records, charge_id: int, noisy: bytes = NOISY) -> str:
    with records.writing(event("statistics.released")) as tx:
        return releases.record(tx, charge_id, noisy)


def answer(records: Records, charge_id: int, asked: str, payload: bytes, *, sql: str = "SELECT", day: int = 0) -> str:
    with records.writing(event("statistics.released", at=NOON + timedelta(days=day))) as tx:
        return releases.record_answer(tx, charge_id, asked, sql, payload)


def test_a_recorded_answer_is_found_byte_for_byte(records: Records) -> None:
    payload = '{"n": 1.50, "名": "é\\u0000"}'.encode()
    charge_id = charge(records)
    with records.reading() as view:
        assert releases.find_answer(view, ASKED, "a1") is None
    release(records, charge_id)
    digest = answer(records, charge_id, "a1", payload)
    with records.reading() as view:
        found = releases.find_answer(view, replace(ASKED, analyst="emi", approval="passport-1", report="weekly"), "a1")
        assert releases.find_answer(view, ASKED, "a2") is None
    assert found is not None
    assert (found.payload, found.charge_id, found.digest) == (payload, charge_id, digest)
    records.verify()


def test_another_asking_of_the_same_measures_finds_the_same_noise(records: Records) -> None:
    charge_id = charge(records)
    release(records, charge_id)
    answer(records, charge_id, "as n", b"n")
    with records.reading() as view:
        found = releases.find_release(view, ASKED)
    assert found is not None and (found.charge_id, found.noisy) == (charge_id, NOISY)
    answer(records, found.charge_id, "as m", b"m")
    with records.reading() as view:
        again = [releases.find_answer(view, ASKED, asked) for asked in ("as n", "as m")]
    assert [each.payload for each in again if each] == [b"n", b"m"]
    assert spent(records) == COST
    records.verify()


@pytest.mark.parametrize(
    "other",
    [
        {"question": "q1"},
        {"snapshot": "build-1/1"},
        {"purpose": "campaign-analysis"},
        {"population": "households"},
        {"product": "orders"},
        {"loss": PrivacyLoss.of("0.2")},
    ],
)
def test_another_question_finds_no_release(records: Records, other: dict[str, Any]) -> None:
    release(records, charge(records))
    with records.reading() as view:
        assert releases.find_release(view, replace(ASKED, **other)) is None


def test_one_release_per_charge(records: Records) -> None:
    charge_id = charge(records)
    release(records, charge_id, b"first")
    with pytest.raises(BudgetRefused) as refused:
        release(records, charge_id, b"second")
    assert refused.value.code == "RELEASE_RECORDED"
    with pytest.raises(RecordsFault) as fault:
        release(records, 99, b"of nothing")
    assert fault.value.code == "CHARGE_ABSENT"
    with records.reading() as view:
        found = releases.find_release(view, ASKED)
    assert found is not None and found.noisy == b"first"


@pytest.mark.parametrize("statement", ["UPDATE releases SET noisy = ?", "UPDATE answers SET payload = ?"])
def test_a_release_that_was_changed_from_outside_is_not_sent(
    records: Records, custody: tuple[Home, Keys], statement: str
) -> None:
    charge_id = charge(records)
    release(records, charge_id)
    answer(records, charge_id, "a1", b"{}")
    tamper(custody[0], statement, b"[[9]]")
    with pytest.raises(RecordsFault) as fault, records.reading() as view:
        releases.find_release(view, ASKED)
        releases.find_answer(view, ASKED, "a1")
    assert fault.value.code == "RELEASE_DAMAGED"
    with pytest.raises(RecordsFault) as fault:
        records.verify()
    assert fault.value.code == "RECORDS_CHANGED"


def test_a_charge_without_a_release_is_redeemed_once(records: Records) -> None:
    charge_id = charge(records)
    with records.reading() as view:
        assert ledger.redeemable(view, ASKED) == charge_id
        others: list[dict[str, Any]] = [
            {"analyst": "emi"},
            {"snapshot": "build-2/0"},
            {"approval": "p"},
            {"loss": PrivacyLoss(1)},
        ]
        for other in others:
            assert ledger.redeemable(view, replace(ASKED, **other)) is None
    for expected in (charge_id, None):
        with records.writing(event("statistics.redeemed")) as tx:
            assert ledger.redeem(tx, ASKED) == expected
    assert spent(records) == COST
    release(records, charge_id)
    with records.reading() as view:
        assert ledger.redeemable(view, ASKED) is None
        assert releases.find_release(view, ASKED) is not None
    records.verify()


def test_a_released_charge_is_not_redeemed(records: Records) -> None:
    release(records, charge(records))
    with records.reading() as view:
        assert ledger.redeemable(view, ASKED) is None


def test_answers_are_listed_newest_first_by_purpose_product_and_words(records: Records) -> None:
    asked: list[tuple[str, dict[str, Any]]] = [
        ("SELECT COUNT(*) FROM sessions", {}),
        ("SELECT 'OctOber' FROM sessions JOIN customers", {"joined": ("customers",), "snapshot": "build-2/0"}),
        ("SELECT 100%_sure FROM orders", {"product": "orders"}),
        ("SELECT 1 FROM sessions", {"purpose": "campaign-analysis"}),
    ]
    for number, (sql, changed) in enumerate(asked):
        charge_id = charge(records, number, **changed)
        release(records, charge_id)
        answer(records, charge_id, f"a{number}", sql.encode(), sql=sql, day=number)

    def found(**named: Any) -> list[str]:
        with records.reading() as view:
            return [each.answer.asked for each in releases.listing(view, purpose="ad-targeting", **named)]

    assert found() == ["a2", "a1", "a0"]
    assert found(product="sessions") == ["a1", "a0"]
    assert found(product="customers") == ["a1"]
    assert found(contains="october") == ["a1"]
    assert found(contains="0%_S") == ["a2"] and found(contains="1%_") == []  # no patterns: a text is itself
    with records.reading() as view:
        [listed] = releases.listing(view, charge_id=2)
        assert len(releases.listing(view)) == 4
    assert (listed.snapshot, listed.products) == ("build-2/0", ("customers", "sessions"))


def test_a_listing_ends_once_it_is_large(records: Records) -> None:
    for number in range(4):
        charge_id = charge(records, number)
        release(records, charge_id)
        answer(records, charge_id, f"a{number}", b"x" * 10, day=number)
    with records.reading() as view:
        assert [each.answer.asked for each in releases.listing(view, most_bytes=15)] == ["a3", "a2"]


def test_the_newest_found_profile_of_a_subject_and_purpose_is_found(records: Records) -> None:
    for number, found in enumerate(("old", "new")):
        charge_id = charge(records, number)
        release(records, charge_id)
        with records.writing(event()) as tx:
            releases.record_profile(tx, charge_id, "customers", "ad-targeting", "subject", found)
    with records.reading() as view:
        assert releases.find_profile(view, "customers", "ad-targeting", "subject") == "new"
        assert releases.find_profile(view, "customers", "campaign-analysis", "subject") is None
        assert releases.find_profile(view, "customers", "ad-targeting", "another") is None
    records.verify()
