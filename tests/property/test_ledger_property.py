"""Under any interleaving of charges, raises, crashes and restarts, no cap is ever exceeded and no charge is lost.

The reference is a dictionary: a charge is granted exactly when every cap covers it; over w windows it costs each of
them its price, and every other cap w² times that. Two `Records` on one home take turns, as two processes would. The
same machine, given a charge function that skips a rule, must fail.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from support.records_kit import CHARGE, declare, event, make_home, population

from kaianalytics.errors import BudgetRefused
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.records import caps, ledger, releases
from kaianalytics.records.database import Records
from kaianalytics.records.tables import charges
from kaianalytics.records.transaction import Transaction

PURPOSES, ANALYSTS, APPROVALS = ("ad-targeting", "campaign-analysis"), ("aiko", "emi"), ("", "p1", "p2")
PRODUCTS, WINDOWS = ("sessions", "orders"), tuple(f"2026-{month:02}-01/month" for month in range(1, 6))
TENTH = 10**11
SETTINGS = settings(
    max_examples=15,
    stateful_step_count=20,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)


class Ledger(RuleBasedStateMachine):
    """The real ledger beside a dictionary of what may still be spent."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="kai-ledger-"))
        self.custody = make_home(self.folder)
        self.records = [Records.of(*self.custody), Records.of(*self.custody)]
        declare(self.records[0], population(account="2.4", purpose="1.6", analyst="1.8", window="0.4", orders="1.2"))
        self.caps = {("account", ""): 24, ("purpose", "*"): 16, ("analyst", "*"): 18}
        self.caps |= {("window", "*"): 4, ("product", "orders"): 12}
        self.spent: Counter[tuple[str, str]] = Counter()
        self.charged = 0
        self.sound = True

    charge_function: ClassVar[Any] = staticmethod(ledger.charge)

    def cap(self, kind: str, key: str) -> int | None:
        return self.caps.get((kind, key), self.caps.get((kind, "*")))

    @rule(
        who=st.integers(0, 1),
        purpose=st.sampled_from(PURPOSES),
        analyst=st.sampled_from(ANALYSTS),
        approval=st.sampled_from(APPROVALS),
        product=st.sampled_from(PRODUCTS),
        windows=st.lists(st.sampled_from(WINDOWS), max_size=3, unique=True),
        tenths=st.integers(1, 5),
        crash=st.booleans(),
    )
    def charge(
        self,
        who: int,
        purpose: str,
        analyst: str,
        approval: str,
        product: str,
        windows: list[str],
        tenths: int,
        crash: bool,
    ) -> None:
        named = {"purpose": purpose, "analyst": analyst, "approval": approval, "product": product}
        each = PrivacyLoss(tenths * TENTH)
        whole = tenths * (len(windows) ** 2 or 1)
        asked = replace(
            CHARGE,
            **named,
            loss=PrivacyLoss(whole * TENTH),
            windows=tuple(windows),
            window_loss=each if windows else PrivacyLoss(0),
        )
        binding = {("account", ""): whole, **dict.fromkeys(named.items(), whole)}
        binding |= {("window", window): tenths for window in windows}
        covered = all(
            (cap := self.cap(*key)) is None or self.spent[key] + taken <= cap for key, taken in binding.items()
        )
        try:
            with self.records[who].writing(event("charge")) as tx:
                type(self).charge_function(tx, asked)
                if crash:
                    raise ZeroDivisionError
        except BudgetRefused:
            assert not covered
        except ZeroDivisionError:
            assert covered
        else:
            self.sound = covered
            assert covered, "a charge went past a cap"
            self.spent.update(binding)
            self.charged += 1

    @rule(
        kind=st.sampled_from(["account", "purpose", "analyst", "window", "product"]),
        key=st.sampled_from(ANALYSTS + PURPOSES),
        by=st.integers(1, 3),
    )
    def raise_cap(self, kind: str, key: str, by: int) -> None:
        purpose = key if key in PURPOSES else PURPOSES[0]
        key = {"account": "", "purpose": purpose, "analyst": key, "window": WINDOWS[0], "product": "orders"}[kind]
        to = (self.cap(kind, key) or 0) + by
        with self.records[0].writing(event("raise")) as tx:
            caps.raise_cap(tx, ("customers", kind, key), PrivacyLoss(to * TENTH), steward="sora", reason="test")
        self.caps[kind, key] = to

    @precondition(lambda self: ("approval", "p1") not in self.caps)
    @rule(tenths=st.integers(0, 5))
    def cap_approval(self, tenths: int) -> None:
        with self.records[1].writing(event("cap")) as tx:
            caps.cap_approval(tx, "customers", "p1", PrivacyLoss(tenths * TENTH))
        self.caps["approval", "p1"] = tenths

    @rule(who=st.integers(0, 1))
    def release_one(self, who: int) -> None:
        asked = replace(CHARGE, loss=PrivacyLoss(TENTH))
        with self.records[who].writing(event("release")) as tx:
            charge_id = ledger.redeem(tx, asked)
            if charge_id is not None:
                releases.record(tx, charge_id, b"{}")

    @rule(who=st.integers(0, 1))
    def restart(self, who: int) -> None:
        self.records[who].close()
        self.records[who] = Records.of(*self.custody)
        assert self.records[who].repaired is None

    @invariant()
    def nothing_is_lost_and_no_sum_is_past_what_was_granted(self) -> None:
        with self.records[0].reading() as view:
            for purpose in PURPOSES:
                for analyst in ANALYSTS:
                    for limit in ledger.standing(
                        view, "customers", purpose, analyst, products=PRODUCTS, windows=WINDOWS
                    ):
                        assert limit.spent.rho_units == self.spent[limit.kind, limit.key] * TENTH
                        assert limit.allowance.rho_units == (self.cap(limit.kind, limit.key) or 0) * TENTH

    def teardown(self) -> None:
        try:
            if self.sound:  # a ledger that went past a cap has failed already
                assert self.records[0].verify().charges == self.charged
        finally:
            for records in self.records:
                records.close()
            shutil.rmtree(self.folder)


def forgets_the_square(tx: Transaction, charge: ledger.Charge) -> int:
    """The planted fault: a question over several windows costs the account no more than one of them."""
    if len(charge.windows) < 2:
        return ledger.charge(tx, charge)
    return ledger.charge(tx, replace(charge, loss=charge.window_loss, windows=charge.windows[:1]))


def skips_the_caps(tx: Transaction, charge: ledger.Charge) -> int:
    """The planted fault: a charge that is written and never weighed."""
    names = ("population", "purpose", "analyst", "product", "approval", "report", "question", "snapshot")
    row = {name: getattr(charge, name) for name in names}
    units = {"rho_units": charge.loss.rho_units, "delta_units": charge.loss.delta_units}
    return int(tx.insert(charges, at=tx.at, state=ledger.CHARGED, **row, **units)[0])


def forgets_the_analyst(tx: Transaction, charge: ledger.Charge) -> int:
    """The planted fault: every charge is weighed against a fresh analyst's cap."""
    ledger.charge(tx, replace(charge, analyst=f"fresh-{tx.sequence}"))
    return 0


class Reckless(Ledger):
    """The same machine with a planted fault."""

    charge_function = staticmethod(skips_the_caps)


class Forgetful(Ledger):
    """The same machine with a subtler one."""

    charge_function = staticmethod(forgets_the_analyst)


class Linear(Ledger):
    """The same machine with one in the arithmetic of windows."""

    charge_function = staticmethod(forgets_the_square)


def test_no_interleaving_exceeds_a_cap() -> None:
    run_state_machine_as_test(Ledger, settings=SETTINGS)


@pytest.mark.parametrize("faulty", [Reckless, Forgetful, Linear])
def test_the_same_property_catches_a_planted_fault(faulty: type[Ledger]) -> None:
    with pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(faulty, settings=settings(SETTINGS, phases=[Phase.generate]))
