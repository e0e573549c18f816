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
from support.records_kit import (
    CHARGE,
    COST,
    NOON,
    allowance,
    charge,
    declare,
    event,
    limits,
    make_home,
    over,
    population,
    spent,
    tamper,
)

from kaianalytics.custody.home import Home
from kaianalytics.custody.keys import Keys
from kaianalytics.errors import BudgetRefused, RecordsFault
from kaianalytics.policy.purpose import Allowance
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.records import audit, caps, ledger, spending
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
        caps.raise_cap(tx, ("customers", kind, key), rho(to), **who)


def test_a_charge_is_spent_from_every_cap_it_binds(records: Records) -> None:
    charge(records)
    bound, other = limits(records), limits(records, "campaign-analysis", "emi")
    assert {kind: (limit.spent, limit.left) for kind, limit in bound.items()} == {
        "account": (COST, rho("9.9")),
        "purpose": (COST, rho("4.9")),
        "analyst": (COST, rho("2.9")),
    }
    assert {kind: limit.spent for kind, limit in other.items()} == {
        "account": COST,
        "purpose": rho("0"),
        "analyst": rho("0"),
    }


@pytest.mark.parametrize(
    ("code", "stated"),
    [
        ("ACCOUNT_SPENT", {"account": "0.25"}),
        ("PURPOSE_CAP", {"purpose": "0.25"}),
        ("PRODUCT_CAP", {"sessions": "0.25"}),
        ("ANALYST_CAP", {"analyst": "0.25"}),
    ],
)
def test_each_cap_refuses_by_its_own_name_and_nothing_is_written(
    custody: tuple[Home, Keys], code: str, stated: dict[str, str]
) -> None:
    records = Records.of(*custody)
    declare(records, population(**stated))
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
    stated = replace(population(), purpose_caps={"ad-targeting": wide}, analyst_cap=wide)
    declare(records, replace(stated, account=allowance("10", "0.0000015")))
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
        caps.cap_approval(tx, "customers", "passport-1", rho("0.15"))
    with pytest.raises(BudgetRefused) as refused:
        charge(records, 2, approval="passport-1")
    assert refused.value.code == "APPROVAL_CAP"
    charge(records, 2, approval="passport-2")
    with pytest.raises(BudgetRefused) as refused, records.writing(event()) as tx:
        caps.cap_approval(tx, "customers", "passport-1", rho("9"))
    assert refused.value.code == "CAP_EXISTS"


def test_a_product_is_bounded_where_it_has_a_cap_whichever_view_a_question_begins_with(
    custody: tuple[Home, Keys],
) -> None:
    records = Records.of(*custody)
    declare(records, population(orders="0.25"))
    for number in range(2):
        charge(records, number, joined=("orders",))
    for refused_one in ({"product": "orders"}, {"joined": ("orders", "customers")}):
        with pytest.raises(BudgetRefused) as refused:
            charge(records, 9, **refused_one)
        assert refused.value.code == "PRODUCT_CAP" and "'orders'" in refused.value.message
    charge(records, 3)
    assert limits(records, products=("orders", "sessions"))["orders"].spent == rho("0.2")
    assert "sessions" not in limits(records, products=("orders", "sessions"))
    assert records.verify().charges == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"loss": PrivacyLoss(0)},
        {"purpose": ""},
        {"question": ""},
        {"snapshot": ""},
        {"analyst": "*"},
        {"joined": ("",)},
        {"windows": ("*",), "window_loss": COST},
        {"windows": ("w", "w"), "window_loss": COST, "loss": rho("0.4")},
        {"windows": ("v", "w"), "window_loss": COST},
        {"windows": ("v", "w"), "window_loss": COST, "loss": rho("0.2")},
        {"windows": ("w",), "window_loss": PrivacyLoss(COST.rho_units, 1)},
        {"window_loss": COST},
    ],
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
    assert limits(records)["account"].allowance == rho("10")


def test_a_declaration_that_agrees_differs_in_nothing(records: Records) -> None:
    assert declare(records, population()) == ()


def test_a_new_purpose_gets_its_first_cap_inside_the_same_account(records: Records) -> None:
    charge(records)
    wider = replace(population(), purpose_caps={**population().purpose_caps, "service-improvement": allowance("1")})
    with records.reading() as view:
        (absent,) = caps.differences(view, [wider])
    assert (absent.key, absent.effective) == ("service-improvement", None)
    assert declare(records, wider) == ()
    charge(records, 1, purpose="service-improvement")
    assert spent(records) == rho("0.2")


def test_renaming_a_population_opens_no_account(records: Records) -> None:
    renamed = population("customers-v2")
    assert {one.effective for one in declare(records, renamed)} == {None}
    with pytest.raises(BudgetRefused) as refused, records.writing(event()) as tx:
        caps.open_account(tx, "customers-v2", rho("1"))
    assert refused.value.code == "ACCOUNT_NEEDS_STEWARD"
    with pytest.raises(BudgetRefused):
        charge(records, population="customers-v2")
    with records.writing(event("cap.raised")) as tx:
        caps.raise_cap(tx, ("customers-v2", caps.ACCOUNT, ""), rho("10"), steward="sora", reason="other people")
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
        assert caps.open_account(tx, "customers", rho("1"))
        assert not caps.open_account(tx, "customers", rho("2"))
    assert limits(records, "p", "a")["account"].allowance == rho("1")


def test_a_raised_cap_holds_and_its_act_is_signed(records: Records, custody: tuple[Home, Keys]) -> None:
    cap(records, caps.PURPOSE, "ad-targeting", "7")
    cap(records, caps.ANALYST, "aiko", "4")
    cap(records, caps.ANALYST, caps.EVERY, "3.5")
    with records.reading() as view:
        acts = [found.facts() for found in audit.events(view, kind="cap.raised")]
    bound, other = limits(records), limits(records, analyst="emi")
    assert (bound["purpose"].allowance, bound["analyst"].allowance) == (rho("7"), rho("4"))
    assert other["analyst"].allowance == rho("3.5")
    assert [act["act"]["steward"] for act in acts] == ["sora"] * 3
    signed = ("kaianalytics cap v1\n" + audit.canonical(acts[0]["act"])).encode()
    assert custody[1].verify(bytes.fromhex(acts[0]["signature"]), signed)


@pytest.mark.parametrize("to", ["4.999999999999", "5", "0"])
def test_a_cap_only_rises(records: Records, to: str) -> None:
    with pytest.raises(BudgetRefused) as refused:
        cap(records, caps.PURPOSE, "ad-targeting", to)
    assert refused.value.code == "CAP_NOT_RAISED"


def test_a_cap_is_raised_by_someone_for_a_reason(records: Records) -> None:
    for missing in ({"steward": ""}, {"reason": ""}):
        with pytest.raises(ValueError):
            cap(records, caps.ACCOUNT, "", "20", **missing)
    for kind, key in (("table", "sessions"), (caps.PURPOSE, ""), (caps.ACCOUNT, "customers")):
        with pytest.raises(ValueError):
            cap(records, kind, key, "20")
    for kind, key in ((caps.APPROVAL, "passport-1"), (caps.PRODUCT, "sessions")):
        with pytest.raises(BudgetRefused) as refused:
            cap(records, kind, key, "1")
        assert refused.value.code == "CAP_ABSENT"


def test_one_event_carries_one_act(records: Records) -> None:
    with pytest.raises(ValueError), records.writing(event()) as tx:
        for kind, key in ((caps.ACCOUNT, ""), (caps.PURPOSE, "ad-targeting")):
            caps.raise_cap(tx, ("customers", kind, key), rho("30"), steward="sora", reason="both")


def test_an_allowance_is_rounded_towards_spent() -> None:
    third = Allowance(Decimal(1) / Decimal(3), Decimal("0.0000000000000000019"))
    assert rounded_down(third) == PrivacyLoss(333_333_333_333, 1)
    for wrong in ("-1", "Infinity", "NaN", "1000001"):
        with pytest.raises(ValueError):
            rounded_down(allowance(wrong))


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
        rows = spending.spending(view, "customers")
    assert [(row.week, row.report, row.charges, row.loss) for row in rows] == [
        (date(2026, 10, 26), "reach", 1, COST),
        (date(2026, 11, 2), "", 1, COST),
        (date(2026, 11, 2), "reach", 2, rho("0.2")),
    ]


# Windows


WEEKS = tuple(f"2026-{month:02}-{day:02}/week" for month, day in ((9, 28), (10, 5), (10, 12), (10, 19)))


def spend(records: Records, asked: ledger.Charge) -> int:
    with records.writing(event("statistics.charged")) as tx:
        return ledger.charge(tx, asked)


@pytest.fixture
def weekly(custody: tuple[Home, Keys]) -> Iterator[Records]:
    opened = Records.of(*custody)
    declare(opened, population(account="4", purpose="4", analyst="4", window="0.25"))
    yield opened
    opened.verify()
    opened.close()


def test_w_windows_cost_each_of_them_rho_and_the_account_w_squared(weekly: Records) -> None:
    spend(weekly, over("0.1", *WEEKS[:3]))
    spend(weekly, over("0.05", WEEKS[0], question="q2"))
    bound = limits(weekly, windows=WEEKS)
    assert [bound[week].spent for week in WEEKS] == [rho("0.15"), rho("0.1"), rho("0.1"), rho("0")]
    assert {kind: bound[kind].spent for kind in ("account", "purpose", "analyst")} == {
        kind: rho("0.95") for kind in ("account", "purpose", "analyst")
    }


def test_a_spent_window_refuses_by_name_and_only_a_new_one_is_fresh(weekly: Records) -> None:
    for number in range(2):
        spend(weekly, over("0.1", *WEEKS[:2], question=f"q{number}"))
    before = spent(weekly)
    for refused_one in (WEEKS[:1], WEEKS[:2], WEEKS):
        with pytest.raises(BudgetRefused) as refused:
            spend(weekly, over("0.1", *refused_one, question="q9"))
        assert refused.value.code == "WINDOW_CAP" and repr(WEEKS[0]) in refused.value.message
        assert "fewer windows" in refused.value.hint
    assert spent(weekly) == before  # refused whole: the windows that would have had room are charged nothing
    assert limits(weekly, windows=WEEKS)[WEEKS[3]].spent == rho("0")
    spend(weekly, over("0.1", *WEEKS[2:], question="q9"))
    assert spent(weekly) == rho("1.2")


def test_new_windows_refill_only_themselves_and_the_account_ends_it_all(weekly: Records) -> None:
    for number in range(16):
        spend(weekly, over("0.25", f"{2026 + number}-01-01/year", question=f"q{number}"))
    with pytest.raises(BudgetRefused) as refused:
        spend(weekly, over("0.001", "2050-01-01/year", question="one more"))
    assert refused.value.code == "ACCOUNT_SPENT"
    assert spent(weekly) == rho("4")


def test_windows_without_a_declared_cap_may_spend_nothing(records: Records) -> None:
    with pytest.raises(BudgetRefused) as refused:
        spend(records, over("0.1", WEEKS[0]))
    assert refused.value.code == "WINDOW_CAP" and "left of ρ 0" in refused.value.message


def test_a_steward_widens_one_window_and_no_other(weekly: Records) -> None:
    cap(weekly, caps.WINDOW, WEEKS[0], "0.5")
    bound = limits(weekly, windows=WEEKS[:2])
    assert (bound[WEEKS[0]].allowance, bound[WEEKS[1]].allowance) == (rho("0.5"), rho("0.25"))
    cap(weekly, caps.WINDOW, caps.EVERY, "0.3")
    bound = limits(weekly, windows=WEEKS[:2])
    assert (bound[WEEKS[0]].allowance, bound[WEEKS[1]].allowance) == (rho("0.5"), rho("0.3"))


def test_delta_is_counted_in_windows_too(custody: tuple[Home, Keys]) -> None:
    records = Records.of(*custody)
    wide = allowance("10", "0.001")
    stated = replace(population(), account=wide, purpose_caps={"ad-targeting": wide}, analyst_cap=wide)
    declare(records, replace(stated, window_cap=allowance("1", "0.000001")))
    each = PrivacyLoss.of("0.1", "0.000001")
    asked = replace(CHARGE, loss=each, window_loss=each, windows=(WEEKS[0],))
    spend(records, asked)
    with pytest.raises(BudgetRefused) as refused:
        spend(records, replace(asked, question="q2"))
    assert refused.value.code == "WINDOW_CAP"
    assert limits(records)["account"].spent == each


def test_an_account_charged_less_than_w_squared_is_found_out(custody: tuple[Home, Keys]) -> None:
    class Generous(ledger.Charge):
        """The planted fault: w windows, and the account charged as if they were one customer each."""

        def __post_init__(self) -> None:
            pass

    records = Records.of(*custody)
    declare(records, population(window="1"))
    sound = over("0.1", *WEEKS[:2])
    spend(records, Generous(**{**vars(sound), "loss": rho("0.2")}))
    with pytest.raises(RecordsFault) as fault:
        records.verify()
    assert fault.value.code == "LEDGER_WINDOWS"


def test_a_windows_charge_changed_from_outside_is_found_out(custody: tuple[Home, Keys]) -> None:
    records = Records.of(*custody)
    declare(records, population(window="1"))
    spend(records, over("0.1", *WEEKS[:2]))
    tamper(custody[0], "DELETE FROM charge_windows WHERE window = ?", WEEKS[1])
    with pytest.raises(RecordsFault) as fault:
        records.verify()
    assert fault.value.code == "RECORDS_CHANGED"


def test_a_customer_year_adds_up_the_squares_of_what_each_question_reads_of_it(weekly: Records) -> None:
    months = [f"{2025 + month // 12}-{month % 12 + 1:02}-01/month" for month in range(9, 14)]  # October to February
    spend(weekly, over("0.1", *months, question="over new year"))
    spend(weekly, over("0.05", *months[:2], question="autumn"))
    spend(weekly, replace(CHARGE, question="about the whole customer"))
    with weekly.reading() as view:
        years = spending.customer_years(view, "customers")
    assert years == {2026: rho("0.4"), 2025: rho("1.1")}  # 2² × 0.1, and 3² × 0.1 + 2² × 0.05
    assert list(years) == [2026, 2025]
    assert all(loss.within(spent(weekly)) for loss in years.values())


def test_how_many_more_such_questions_the_tightest_cap_says(weekly: Records) -> None:
    asked = over("0.1", *WEEKS[:2])
    with weekly.reading() as view:
        assert ledger.questions_left(ledger.limits(view, asked), asked) == 2  # the windows: 0.25 / 0.1
        dear = over("0.01", *(f"{year}-01-01/year" for year in range(2000, 2015)))
        assert ledger.questions_left(ledger.limits(view, dear), dear) == 1  # the account: 4 / 2.25
    spend(weekly, asked)
    with weekly.reading() as view:
        assert ledger.questions_left(ledger.limits(view, asked), asked) == 1
        price = spending.last_price(view, "customers", "ad-targeting", "aiko")
        assert spending.last_price(view, "customers", "ad-targeting", "emi") is None
        assert spending.windows_spent(view, "customers") == (WEEKS[1], WEEKS[0])
    assert price == spending.Price(rho("0.4"), WEEKS[:2], rho("0.1"), ("sessions",))


# Many askers


@pytest.mark.parametrize("stated", [{"account": "1"}, {"window": "1"}, {"sessions": "1"}], ids=str)
def test_64_threads_with_budget_for_ten_get_exactly_ten(custody: tuple[Home, Keys], stated: dict[str, str]) -> None:
    first, second = Records.of(*custody), Records.of(*custody)
    declare(first, population(**{"account": "100", "purpose": "100", "analyst": "100", "window": "100", **stated}))
    start = threading.Barrier(64)

    def ask(number: int) -> bool:
        start.wait()
        try:
            with (first, second)[number % 2].writing(event()) as tx:
                ledger.charge(tx, over("0.1", "2026-10-01/month", question=f"q{number}"))
        except BudgetRefused:
            return False
        return True

    with ThreadPoolExecutor(64) as pool:
        assert sum(pool.map(ask, range(64))) == 10
    assert first.verify().spent == {"customers": rho("1")}


def test_64_askers_in_processes_with_budget_for_ten_get_exactly_ten(custody: tuple[Home, Keys]) -> None:
    home, _ = custody
    records = Records.of(*custody)
    declare(records, population(account="1"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ASKER), str(home.root)]
    askers = [
        subprocess.Popen([*command, f"asker-{number}", "ask", "8"], stdout=subprocess.PIPE, env=environment)
        for number in range(8)
    ]
    granted = [int(asker.communicate(timeout=60)[0]) for asker in askers]
    assert sum(granted) == 10
    assert records.verify().charges == 10
    assert spent(records) == rho("1")
