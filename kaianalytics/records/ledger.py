"""The ledger of privacy loss: a privacy filter that no charge passes unless every cap covers it.

Rules (laws 4, 7 and 8):
    1. A charge is checked and written in one transaction, under the write lock; it precedes the read it pays for.
    2. Nothing refunds a charge: there is no function that lowers what is spent.
    3. A charge is checked against the account, the purpose's cap, the analyst's cap, and its approval's where there is
       one; sums are whole units of the rows themselves, no running total can drift from them.
    4. A release is recorded, exactly as it will be sent, before it is sent; one per charge.
    5. The same question on the same snapshot is answered by the recorded release, free. A charge whose release was
       never recorded may be redeemed once, by the identical charge.

      charge ──▶ charged ──record_release──▶ released
                    └──redeem──▶ redeemed ──record_release──▶ released
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from decimal import Decimal

from sqlalchemy import ColumnElement, and_, func, select

from kaianalytics.errors import BudgetRefused, RecordsFault
from kaianalytics.privacy.loss import DELTA_UNITS, PrivacyLoss
from kaianalytics.records.audit import sha256
from kaianalytics.records.caps import (
    ACCOUNT,
    ANALYST,
    APPROVAL,
    EVERY_ANALYST,
    PURPOSE,
    CapKey,
    Difference,
    cap_approval,
    declare,
    demand_account,
    differences,
    held,
    in_force,
    keys_of,
    open_account,
    raise_cap,
)
from kaianalytics.records.tables import charges, releases
from kaianalytics.records.transaction import Reading, Transaction

__all__ = [
    "ACCOUNT",
    "ANALYST",
    "APPROVAL",
    "EVERY_ANALYST",
    "PURPOSE",
    "Balance",
    "CapKey",
    "Charge",
    "Difference",
    "Limit",
    "Spending",
    "StoredRelease",
    "balance",
    "cap_approval",
    "charge",
    "declare",
    "differences",
    "find_release",
    "held",
    "limit",
    "open_account",
    "raise_cap",
    "record_release",
    "redeem",
    "redeemable",
    "spending",
]

CHARGED, REDEEMED, RELEASED = "charged", "redeemed", "released"
_SPENT_CODES = {ACCOUNT: "ACCOUNT_SPENT", PURPOSE: "PURPOSE_CAP", ANALYST: "ANALYST_CAP", APPROVAL: "APPROVAL_CAP"}


@dataclass(frozen=True)
class Charge:
    """What one question costs whom: `question` and `snapshot` are digests, `approval` a passport's id or ''."""

    population: str
    purpose: str
    analyst: str
    product: str
    question: str
    snapshot: str
    loss: PrivacyLoss
    approval: str = ""
    report: str = ""

    def __post_init__(self) -> None:
        if not all((self.population, self.purpose, self.analyst, self.product, self.question, self.snapshot)):
            raise ValueError("a charge names its population, purpose, analyst, product, question and snapshot")
        if self.analyst == EVERY_ANALYST:
            raise ValueError("a charge belongs to one analyst")
        if self.loss.rho_units < 1:
            raise ValueError("a question costs something")


@dataclass(frozen=True)
class Limit:
    """One cap, and what is spent of it."""

    kind: str
    key: str
    allowance: PrivacyLoss
    spent: PrivacyLoss

    @property
    def left(self) -> PrivacyLoss:
        """What is left of the allowance; never negative."""
        rho = max(self.allowance.rho_units - self.spent.rho_units, 0)
        return PrivacyLoss(rho, max(self.allowance.delta_units - self.spent.delta_units, 0))

    def covers(self, loss: PrivacyLoss) -> bool:
        """Whether `loss` may still be spent, in ρ and in δ; compared unit by unit, for `+` would stop at δ = 1."""
        return (
            self.spent.rho_units + loss.rho_units <= self.allowance.rho_units
            and self.spent.delta_units + loss.delta_units <= self.allowance.delta_units
        )


@dataclass(frozen=True)
class Balance:
    """The caps that bind one analyst's questions for one purpose."""

    account: Limit
    purpose: Limit
    analyst: Limit


@dataclass(frozen=True)
class StoredRelease:
    """A recorded release: `payload` is byte for byte what was sent."""

    charge_id: int
    payload: bytes
    digest: str
    at: str


@dataclass(frozen=True)
class Spending:
    """What one report, purpose and analyst spent in one week; `week` is its Monday (UTC), no report: exploration."""

    report: str
    purpose: str
    analyst: str
    week: date
    charges: int
    loss: PrivacyLoss


def charge(tx: Transaction, charge: Charge) -> int:
    """Spends `charge.loss`; the charge's id.

    BudgetRefused ACCOUNT_SPENT, PURPOSE_CAP, ANALYST_CAP or APPROVAL_CAP names the allowance, the cost and what is
    left; ACCOUNT_ABSENT where the population has no account. Nothing is written then.
    """
    demand_account(tx, charge.population)
    for key in keys_of(charge.population, charge.purpose, charge.analyst, charge.approval):
        cap = limit(tx, key)
        if cap is not None and not cap.covers(charge.loss):
            raise _spent(charge, cap)
    (charge_id,) = tx.insert(charges, at=tx.at, state=CHARGED, **_as_row(charge))
    return int(charge_id)


def find_release(view: Reading, charge: Charge) -> StoredRelease | None:
    """The recorded answer to the same question at the same price on the same snapshot, whoever asked it; or None.

    The purpose must be the same: what was released for one is not shown for another.
    """
    row = view.one(
        select(releases)
        .join(charges)
        .where(*_same(charge, "population", "purpose", "product", "question", "snapshot"))
        .order_by(releases.c.charge_id)
    )
    if row is None:
        return None
    if sha256(row.payload) != row.digest:
        raise RecordsFault(
            "RELEASE_DAMAGED",
            f"The recorded release {row.charge_id} is not the one that was sent.",
            rule="a repeat returns the recorded release, byte for byte (law 4)",
            hint="verify the records, and restore them from a backup",
        )
    return StoredRelease(row.charge_id, row.payload, row.digest, row.at)


def redeemable(view: Reading, charge: Charge) -> int | None:
    """The id of an identical charge whose release was never recorded and that was never redeemed; or None.

    A charge of a question that is being answered this moment looks the same: who asks must know it is not under way.
    """
    names = tuple(field.name for field in fields(Charge) if field.name != "loss")
    row = view.one(
        select(charges.c.id).where(*_same(charge, *names), charges.c.state == CHARGED).order_by(charges.c.id)
    )
    return None if row is None else int(row.id)


def redeem(tx: Transaction, charge: Charge) -> int | None:
    """Takes up the identical charge that `redeemable` finds, once and for ever; its id, or None."""
    charge_id = redeemable(tx, charge)
    if charge_id is not None:
        tx.update(charges, {"id": charge_id}, {"state": CHARGED}, state=REDEEMED)
    return charge_id


def record_release(tx: Transaction, charge_id: int, payload: bytes) -> str:
    """Records the release of a charge, exactly as it will be sent; its SHA-256.

    BudgetRefused RELEASE_RECORDED if another answer to this charge was recorded first: this one must not be sent.
    """
    row = tx.one(select(charges.c.state).where(charges.c.id == charge_id))
    if row is None:
        raise RecordsFault("CHARGE_ABSENT", f"There is no charge {charge_id}.", rule="charge before reading (law 4)")
    if row.state == RELEASED:
        raise BudgetRefused(
            "RELEASE_RECORDED",
            "This question was answered and recorded meanwhile; this second answer is not sent.",
            rule="one release per charge (law 4)",
            hint="ask again: the recorded answer is free",
        )
    tx.update(charges, {"id": charge_id}, {"state": row.state}, state=RELEASED)
    digest = sha256(payload)
    tx.insert(releases, charge_id=charge_id, payload=payload, digest=digest, at=tx.at)
    return digest


def balance(view: Reading, population: str, purpose: str, analyst: str) -> Balance:
    """What is spent and allowed for one analyst and purpose; a cap that does not exist allows nothing."""
    nothing = PrivacyLoss(0)
    limits = [
        limit(view, key) or Limit(key[1], key[2], nothing, nothing) for key in keys_of(population, purpose, analyst)
    ]
    return Balance(*limits)


def spending(view: Reading, population: str) -> tuple[Spending, ...]:
    """What a population's account was spent on, by report, purpose, analyst and week, oldest week first."""
    sums: dict[tuple[date, str, str, str], list[PrivacyLoss]] = defaultdict(list)
    for row in view.stream(select(charges).where(charges.c.population == population)):
        sums[_week(row.at), row.report, row.purpose, row.analyst].append(PrivacyLoss(row.rho_units, row.delta_units))
    return tuple(
        Spending(report, purpose, analyst, week, len(losses), sum(losses, PrivacyLoss(0)))
        for (week, report, purpose, analyst), losses in sorted(sums.items(), key=lambda item: item[0])
    )


def limit(view: Reading, key: CapKey) -> Limit | None:
    """The cap for `key` and what is spent of it; None for an approval without a cap of its own."""
    population, kind, name = key
    allowance = in_force(view, key)
    if allowance is None:
        if kind == APPROVAL:
            return None
        allowance = PrivacyLoss(0)
    return Limit(kind, name, allowance, _spent_of(view, _charged_to(population, kind, name)))


def _charged_to(population: str, kind: str, name: str) -> ColumnElement[bool]:
    """Which charges count towards a cap."""
    everything = charges.c.population == population
    return everything if kind == ACCOUNT else and_(everything, charges.c[kind] == name)


def _spent_of(view: Reading, condition: ColumnElement[bool]) -> PrivacyLoss:
    row = view.one(select(func.sum(charges.c.rho_units), func.sum(charges.c.delta_units)).where(condition))
    rho, delta = tuple(row) if row else (0, 0)
    return PrivacyLoss(int(rho or 0), min(int(delta or 0), DELTA_UNITS))


def _as_row(charge: Charge) -> dict[str, str | int]:
    values = {field.name: getattr(charge, field.name) for field in fields(charge) if field.name != "loss"}
    return {**values, "rho_units": charge.loss.rho_units, "delta_units": charge.loss.delta_units}


def _same(charge: Charge, *names: str) -> list[ColumnElement[bool]]:
    """The conditions of an equal loss and equality in these fields."""
    row = _as_row(charge)
    return [charges.c[name] == row[name] for name in (*names, "rho_units", "delta_units")]


def _week(at: str) -> date:
    day = datetime.fromisoformat(at).date()
    return day - timedelta(days=day.weekday())


def _spent(charge: Charge, limit: Limit) -> BudgetRefused:
    whose = {
        ACCOUNT: f"the account of the population {charge.population!r}",
        PURPOSE: f"the cap of the purpose {charge.purpose!r}",
        ANALYST: f"the cap of the analyst {charge.analyst!r}",
        APPROVAL: "the cap of this approval",
    }[limit.kind]
    return BudgetRefused(
        _SPENT_CODES[limit.kind],
        f"This costs {_told(charge.loss)}, and {whose} has {_told(limit.left)} left of {_told(limit.allowance)}.",
        rule=f"privacy loss keeps within {whose} (laws 4 and 8)",
        hint="ask for less with a smaller rho, repeat an earlier question on this snapshot (free), or ask a steward "
        "to raise the cap",
    )


def _told(loss: PrivacyLoss) -> str:
    return f"ρ {_plain(loss.rho)}" + (f" and δ {_plain(loss.delta)}" if loss.delta_units else "")


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"
