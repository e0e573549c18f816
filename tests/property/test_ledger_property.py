"""Under any interleaving of charges, raises, crashes and restarts, no cap is ever exceeded and no charge is lost.

The reference is a dictionary: a charge is granted exactly when every cap covers it. Two `Records` on one home take
turns, as two processes would. The same machine, given a charge function that skips the caps, must fail.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from support.records_kit import CHARGE, declare, event, make_home, population

from kaianalytics.errors import BudgetRefused
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.records import ledger
from kaianalytics.records.database import Records
from kaianalytics.records.tables import charges
from kaianalytics.records.transaction import Transaction

PURPOSES, ANALYSTS, APPROVALS = ("ad-targeting", "campaign-analysis"), ("aiko", "emi"), ("", "p1", "p2")
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
        declare(self.records[0], population(account="1.2", purpose="0.8", analyst="0.9"))
        self.caps = {("account", ""): 12, ("purpose", "*"): 8, ("analyst", "*"): 9}
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
        tenths=st.integers(1, 6),
        crash=st.booleans(),
    )
    def charge(self, who: int, purpose: str, analyst: str, approval: str, tenths: int, crash: bool) -> None:
        asked = replace(CHARGE, purpose=purpose, analyst=analyst, approval=approval, loss=PrivacyLoss(tenths * TENTH))
        binding = [("account", ""), ("purpose", purpose), ("analyst", analyst), ("approval", approval)]
        covered = all((cap := self.cap(*key)) is None or self.spent[key] + tenths <= cap for key in binding)
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
            self.spent.update(dict.fromkeys(binding, tenths))
            self.charged += 1

    @rule(
        kind=st.sampled_from(["account", "purpose", "analyst"]),
        key=st.sampled_from(ANALYSTS + PURPOSES),
        by=st.integers(1, 3),
    )
    def raise_cap(self, kind: str, key: str, by: int) -> None:
        key = {"account": "", "purpose": key if key in PURPOSES else PURPOSES[0], "analyst": key}[kind]
        to = (self.cap(kind, key) or 0) + by
        with self.records[0].writing(event("raise")) as tx:
            ledger.raise_cap(tx, ("customers", kind, key), PrivacyLoss(to * TENTH), steward="sora", reason="test")
        self.caps[kind, key] = to

    @precondition(lambda self: ("approval", "p1") not in self.caps)
    @rule(tenths=st.integers(0, 5))
    def cap_approval(self, tenths: int) -> None:
        with self.records[1].writing(event("cap")) as tx:
            ledger.cap_approval(tx, "customers", "p1", PrivacyLoss(tenths * TENTH))
        self.caps["approval", "p1"] = tenths

    @rule(who=st.integers(0, 1))
    def release_one(self, who: int) -> None:
        asked = replace(CHARGE, loss=PrivacyLoss(TENTH))
        with self.records[who].writing(event("release")) as tx:
            charge_id = ledger.redeem(tx, asked)
            if charge_id is not None:
                ledger.record_release(tx, charge_id, b"{}")

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
                    balance = ledger.balance(view, "customers", purpose, analyst)
                    for limit in (balance.account, balance.purpose, balance.analyst):
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


def skips_the_caps(tx: Transaction, charge: ledger.Charge) -> int:
    """The planted fault: a charge that is written and never weighed."""
    row = {field.name: getattr(charge, field.name) for field in fields(charge) if field.name != "loss"}
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


def test_no_interleaving_exceeds_a_cap() -> None:
    run_state_machine_as_test(Ledger, settings=SETTINGS)


@pytest.mark.parametrize("faulty", [Reckless, Forgetful])
def test_the_same_property_catches_a_planted_fault(faulty: type[Ledger]) -> None:
    with pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(faulty, settings=settings(SETTINGS, phases=[Phase.generate]))
