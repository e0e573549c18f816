"""The ledger on a real file: caps, refusals, releases, repeats, and many askers at once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from support.records_kit import CHARGE, COST, NOON, allowance, charge, declare, event, make_home, population, spent

from kaianalytics.custody.home import Home
from kaianalytics.custody.keys import Keys
from kaianalytics.errors import BudgetRefused, RecordsFault
from kaianalytics.policy.purpose import Allowance
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.records import audit, ledger
from kaianalytics.records.caps import rounded_down
from kaianalytics.records.database import Records

ASKER = Path(__file__).parents[1] / "support" / "asker.py"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def custody(tmp_path: Path) -> tuple[Home, Keys]:
    return make_home(tmp_path)


@pytest.fixture
def records(custody: tuple[Home, Keys]) -> Iterator[Records]:
    opened = Records.of(*custody)
    declare(opened, population())
    yield opened
    opened.verify()
    opened.close()


def rho(text: str) -> PrivacyLoss:
    return PrivacyLoss.of(text)


def cap(records: Records, kind: str, key: str, to: str, **who: str) -> None:
    who = {"steward": "sora", "reason": "the autumn campaign", **who}
    with records.writing(event("cap.raised")) as tx:
        ledger.raise_cap(tx, ("customers", kind, key), rho(to), **who)


def test_a_charge_is_spent_from_every_cap_it_binds(records: Records) -> None:
    charge(records)
    with records.reading() as view:
        balance = ledger.balance(view, "customers", "ad-targeting", "aiko")
        other = ledger.balance(view, "customers", "campaign-analysis", "emi")
    assert [limit.spent for limit in (balance.account, balance.purpose, balance.analyst)] == [COST] * 3
    assert [limit.left for limit in (balance.account, balance.purpose, balance.analyst)] == [
        rho("9.9"),
        rho("4.9"),
        rho("2.9"),
    ]
    assert [limit.spent for limit in (other.account, other.purpose, other.analyst)] == [COST, rho("0"), rho("0")]


@pytest.mark.parametrize(
    ("code", "caps"),
    [
        ("ACCOUNT_SPENT", {"account": "0.25"}),
        ("PURPOSE_CAP", {"purpose": "0.25"}),
        ("ANALYST_CAP", {"analyst": "0.25"}),
    ],
)
def test_each_cap_refuses_by_its_own_name_and_nothing_is_written(
    custody: tuple[Home, Keys], code: str, caps: dict[str, str]
) -> None:
    records = Records.of(*custody)
    declare(records, population(**caps))
    charge(records, 1)
    charge(records, 2)
    with pytest.raises(BudgetRefused) as refused:
        charge(records, 3)
    assert refused.value.code == code
    assert "ρ 0.1" in refused.value.message and "ρ 0.05 left of ρ 0.25" in refused.value.message
    assert refused.value.rule and "steward" in refused.value.hint
    assert spent(records) == rho("0.2")
    assert records.verify().events == 3
    charge(records, 4, loss=rho("0.05"))
    assert spent(records) == rho("0.25")


def test_delta_is_a_budget_too(custody: tuple[Home, Keys]) -> None:
    records = Records.of(*custody)
    wide = allowance("10", "0.000001")
    caps = {"ad-targeting": wide}
    declare(records, replace(population(), account=allowance("10", "0.0000015"), purpose_caps=caps, analyst_cap=wide))
    charge(records, 1, loss=PrivacyLoss.of("0.1", "0.000001"))
    with pytest.raises(BudgetRefused) as refused:
        charge(records, 2, loss=PrivacyLoss.of("0.1", "0.000001"))
    assert refused.value.code == "ACCOUNT_SPENT"
    assert "δ 0.0000005 left" in refused.value.message


def test_a_delta_beyond_one_does_not_slip_through_its_clamp(custody: tuple[Home, Keys]) -> None:
    records = Records.of(*custody)
    all_of_it = allowance("10", "1")
    declare(
        records,
        replace(population(), account=all_of_it, purpose_caps={"ad-targeting": all_of_it}, analyst_cap=all_of_it),
    )
    charge(records, 1, loss=PrivacyLoss.of("0.1", "0.9"))
    with pytest.raises(BudgetRefused):
        charge(records, 2, loss=PrivacyLoss.of("0.1", "0.9"))


def test_what_no_cap_names_may_spend_nothing(records: Records) -> None:
    with pytest.raises(BudgetRefused) as refused:
        charge(records, purpose="service-improvement")
    assert refused.value.code == "PURPOSE_CAP" and "left of ρ 0" in refused.value.message
    with pytest.raises(BudgetRefused) as refused:
        charge(records, population="households")
    assert refused.value.code == "ACCOUNT_ABSENT"


def test_an_approval_is_bounded_where_it_has_a_cap(records: Records) -> None:
    charge(records, 1, approval="passport-1")
    with records.writing(event("passport.capped")) as tx:
        ledger.cap_approval(tx, "customers", "passport-1", rho("0.15"))
    with pytest.raises(BudgetRefused) as refused:
        charge(records, 2, approval="passport-1")
    assert refused.value.code == "APPROVAL_CAP"
    charge(records, 2, approval="passport-2")
    with pytest.raises(BudgetRefused) as refused, records.writing(event()) as tx:
        ledger.cap_approval(tx, "customers", "passport-1", rho("9"))
    assert refused.value.code == "CAP_EXISTS"


@pytest.mark.parametrize(
    "wrong", [{"loss": PrivacyLoss(0)}, {"purpose": ""}, {"question": ""}, {"snapshot": ""}, {"analyst": "*"}]
)
def test_a_charge_that_is_none_can_not_be_built(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        replace(CHARGE, **wrong)


# Declarations and the steward


def test_another_value_in_a_contract_changes_nothing_and_is_shown(records: Records) -> None:
    differences = declare(records, population(account="1000", analyst="0.1"))
    assert [(one.kind, one.declared, one.effective) for one in differences] == [
        ("account", rho("1000"), rho("10")),
        ("analyst", rho("0.1"), rho("3")),
    ]
    with records.reading() as view:
        assert ledger.balance(view, "customers", "ad-targeting", "aiko").account.allowance == rho("10")


def test_a_declaration_that_agrees_differs_in_nothing(records: Records) -> None:
    assert declare(records, population()) == ()


def test_a_new_purpose_gets_its_first_cap_inside_the_same_account(records: Records) -> None:
    charge(records)
    wider = replace(population(), purpose_caps={**population().purpose_caps, "service-improvement": allowance("1")})
    with records.reading() as view:
        (absent,) = ledger.differences(view, [wider])
    assert (absent.key, absent.effective) == ("service-improvement", None)
    assert declare(records, wider) == ()
    charge(records, 1, purpose="service-improvement")
    assert spent(records) == rho("0.2")


def test_renaming_a_population_opens_no_account(records: Records) -> None:
    renamed = population("customers-v2")
    assert {one.effective for one in declare(records, renamed)} == {None}
    with pytest.raises(BudgetRefused) as refused, records.writing(event()) as tx:
        ledger.open_account(tx, "customers-v2", rho("1"))
    assert refused.value.code == "ACCOUNT_NEEDS_STEWARD"
    with pytest.raises(BudgetRefused):
        charge(records, population="customers-v2")
    with records.writing(event("cap.raised")) as tx:
        ledger.raise_cap(tx, ("customers-v2", ledger.ACCOUNT, ""), rho("10"), steward="sora", reason="other people")
    assert declare(records, renamed) == ()
    charge(records, population="customers-v2")


def test_several_populations_open_together_the_first_time(custody: tuple[Home, Keys]) -> None:
    records = Records.of(*custody)
    assert declare(records, population(), population("households")) == ()
    charge(records, population="households")
    assert records.verify().spent == {"customers": rho("0"), "households": COST}


def test_opening_an_account_again_does_nothing(custody: tuple[Home, Keys]) -> None:
    records = Records.of(*custody)
    with records.writing(event()) as tx:
        assert ledger.open_account(tx, "customers", rho("1"))
        assert not ledger.open_account(tx, "customers", rho("2"))
    with records.reading() as view:
        assert ledger.balance(view, "customers", "p", "a").account.allowance == rho("1")


def test_a_raised_cap_holds_and_its_act_is_signed(records: Records, custody: tuple[Home, Keys]) -> None:
    cap(records, ledger.PURPOSE, "ad-targeting", "7")
    cap(records, ledger.ANALYST, "aiko", "4")
    cap(records, ledger.ANALYST, ledger.EVERY_ANALYST, "3.5")
    with records.reading() as view:
        balance = ledger.balance(view, "customers", "ad-targeting", "aiko")
        other = ledger.balance(view, "customers", "ad-targeting", "emi")
        acts = [found.facts() for found in audit.events(view, kind="cap.raised")]
    assert (balance.purpose.allowance, balance.analyst.allowance) == (rho("7"), rho("4"))
    assert other.analyst.allowance == rho("3.5")
    assert [act["act"]["steward"] for act in acts] == ["sora"] * 3
    signed = ("kaianalytics cap v1\n" + audit.canonical(acts[0]["act"])).encode()
    assert custody[1].verify(bytes.fromhex(acts[0]["signature"]), signed)


@pytest.mark.parametrize("to", ["4.999999999999", "5", "0"])
def test_a_cap_only_rises(records: Records, to: str) -> None:
    with pytest.raises(BudgetRefused) as refused:
        cap(records, ledger.PURPOSE, "ad-targeting", to)
    assert refused.value.code == "CAP_NOT_RAISED"


def test_a_cap_is_raised_by_someone_for_a_reason(records: Records) -> None:
    for missing in ({"steward": ""}, {"reason": ""}):
        with pytest.raises(ValueError):
            cap(records, ledger.ACCOUNT, "", "20", **missing)
    for kind, key in (("product", "sessions"), (ledger.PURPOSE, ""), (ledger.ACCOUNT, "customers")):
        with pytest.raises(ValueError):
            cap(records, kind, key, "20")
    with pytest.raises(BudgetRefused) as refused:
        cap(records, ledger.APPROVAL, "passport-1", "1")
    assert refused.value.code == "CAP_ABSENT"


def test_one_event_carries_one_act(records: Records) -> None:
    with pytest.raises(ValueError), records.writing(event()) as tx:
        for kind, key in ((ledger.ACCOUNT, ""), (ledger.PURPOSE, "ad-targeting")):
            ledger.raise_cap(tx, ("customers", kind, key), rho("30"), steward="sora", reason="both")


def test_an_allowance_is_rounded_towards_spent() -> None:
    third = Allowance(Decimal(1) / Decimal(3), Decimal("0.0000000000000000019"))
    assert rounded_down(third) == PrivacyLoss(333_333_333_333, 1)
    for wrong in ("-1", "Infinity", "NaN", "1000001"):
        with pytest.raises(ValueError):
            rounded_down(allowance(wrong))


# Releases


def release(records: Records, charge_id: int, payload: bytes) -> str:
    with records.writing(event("statistics.released")) as tx:
        return ledger.record_release(tx, charge_id, payload)


def test_a_recorded_release_is_found_byte_for_byte(records: Records) -> None:
    payload = '{"n": 1.50, "名": "é\\u0000"}'.encode()
    charge_id = charge(records)
    asked = replace(CHARGE, question="q0")
    with records.reading() as view:
        assert ledger.find_release(view, asked) is None
    digest = release(records, charge_id, payload)
    with records.reading() as view:
        found = ledger.find_release(view, replace(asked, analyst="emi", approval="passport-1", report="weekly"))
    assert found is not None
    assert (found.payload, found.charge_id, found.digest) == (payload, charge_id, digest)


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
    release(records, charge(records), b"{}")
    with records.reading() as view:
        assert ledger.find_release(view, replace(CHARGE, **{"question": "q0", **other})) is None


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
        found = ledger.find_release(view, replace(CHARGE, question="q0"))
    assert found is not None and found.payload == b"first"


def test_a_charge_without_a_release_is_redeemed_once(records: Records) -> None:
    charge_id = charge(records)
    asked = replace(CHARGE, question="q0")
    with records.reading() as view:
        assert ledger.redeemable(view, asked) == charge_id
        others: list[dict[str, Any]] = [
            {"analyst": "emi"},
            {"snapshot": "build-2/0"},
            {"approval": "p"},
            {"loss": PrivacyLoss(1)},
        ]
        for other in others:
            assert ledger.redeemable(view, replace(asked, **other)) is None
    for expected in (charge_id, None):
        with records.writing(event("statistics.redeemed")) as tx:
            assert ledger.redeem(tx, asked) == expected
    assert spent(records) == COST
    release(records, charge_id, b"late")
    with records.reading() as view:
        assert ledger.redeemable(view, asked) is None
        assert ledger.find_release(view, asked) is not None


def test_a_released_charge_is_not_redeemed(records: Records) -> None:
    release(records, charge(records), b"{}")
    with records.reading() as view:
        assert ledger.redeemable(view, replace(CHARGE, question="q0")) is None


def test_spending_is_told_by_report_purpose_analyst_and_week(records: Records) -> None:
    sunday = NOON - timedelta(days=1)
    asked: list[tuple[datetime, dict[str, Any]]] = [
        (sunday, {"report": "reach"}),
        (NOON, {"report": "reach"}),
        (NOON + timedelta(days=6), {"report": "reach"}),
        (NOON, {}),
    ]
    for number, (at, changed) in enumerate(asked):
        with records.writing(event(at=at)) as tx:
            ledger.charge(tx, replace(CHARGE, question=f"q{number}", **changed))
    with records.reading() as view:
        rows = ledger.spending(view, "customers")
    assert [(row.week, row.report, row.charges, row.loss) for row in rows] == [
        (date(2026, 10, 26), "reach", 1, COST),
        (date(2026, 11, 2), "", 1, COST),
        (date(2026, 11, 2), "reach", 2, rho("0.2")),
    ]


# Many askers


def test_forty_threads_with_budget_for_ten_get_exactly_ten(custody: tuple[Home, Keys]) -> None:
    first, second = Records.of(*custody), Records.of(*custody)
    declare(first, population(account="1"))
    start = threading.Barrier(40)

    def ask(number: int) -> bool:
        start.wait()
        try:
            charge((first, second)[number % 2], number)
        except BudgetRefused:
            return False
        return True

    with ThreadPoolExecutor(40) as pool:
        assert sum(pool.map(ask, range(40))) == 10
    assert first.verify().spent == {"customers": rho("1")}


def test_eight_processes_with_budget_for_ten_get_exactly_ten(custody: tuple[Home, Keys]) -> None:
    home, _ = custody
    records = Records.of(*custody)
    declare(records, population(account="1"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ASKER), str(home.root)]
    askers = [
        subprocess.Popen([*command, f"asker-{number}", "ask", "5"], stdout=subprocess.PIPE, env=environment)
        for number in range(8)
    ]
    granted = [int(asker.communicate(timeout=60)[0]) for asker in askers]
    assert sum(granted) == 10
    assert records.verify().charges == 10
    assert spent(records) == rho("1")
