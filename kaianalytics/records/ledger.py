"""The ledger of privacy loss: a privacy filter that no charge passes unless every cap covers it.

Rules (laws 4, 7 and 8):
    1. A charge is checked and written in one transaction, under the write lock; it precedes the read it pays for.
    2. Nothing refunds a charge: there is no function that lowers what is spent.
    3. A charge is checked against the account, the purpose's cap and the analyst's; against its approval's and those
       of the products it reads, where there are any; and against each window it reads. Sums are whole units of the
       rows themselves, no running total can drift from them.
    4. Windows are sub-ledgers of the account: a question that reads w windows costs each of them ρ and the account
       w²·ρ, for one customer may be in all of them. A new window brings a new allowance of its own, and nothing else.
    5. A charge whose release was never recorded may be redeemed once, by the identical charge.

      charge ──▶ charged ──releases.record──▶ released
                    └──redeem──▶ redeemed ──releases.record──▶ released
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import ColumnElement, and_, func, select

from kaianalytics.errors import BudgetRefused
from kaianalytics.privacy.loss import DELTA_UNITS, PrivacyLoss
from kaianalytics.records.caps import (
    ACCOUNT,
    ANALYST,
    APPROVAL,
    EVERY,
    NAMED_ONLY,
    PRODUCT,
    PURPOSE,
    WINDOW,
    CapKey,
    demand_account,
    in_force,
    keys_of,
    windows_in_force,
)
from kaianalytics.records.tables import charge_products, charge_windows, charges
from kaianalytics.records.transaction import Reading, Transaction

CHARGED, REDEEMED, RELEASED = "charged", "redeemed", "released"
_SPENT_CODES = {
    ACCOUNT: "ACCOUNT_SPENT",
    PURPOSE: "PURPOSE_CAP",
    PRODUCT: "PRODUCT_CAP",
    ANALYST: "ANALYST_CAP",
    APPROVAL: "APPROVAL_CAP",
    WINDOW: "WINDOW_CAP",
}
_NOTHING = PrivacyLoss(0)


@dataclass(frozen=True)
class Charge:
    """What one question costs whom: `question` and `snapshot` are digests, `approval` a passport's id or ''.

    `product` is the one whose unit and bounds hold, `joined` are the others it reads. `loss` is the account's: where
    `windows` are read, each is charged `window_loss`, and the account w² times its ρ.
    """

    population: str
    purpose: str
    analyst: str
    product: str
    question: str
    snapshot: str
    loss: PrivacyLoss
    approval: str = ""
    report: str = ""
    joined: tuple[str, ...] = ()
    windows: tuple[str, ...] = ()
    window_loss: PrivacyLoss = _NOTHING

    def __post_init__(self) -> None:
        if not all((self.population, self.purpose, self.analyst, self.product, self.question, self.snapshot)):
            raise ValueError("a charge names its population, purpose, analyst, product, question and snapshot")
        if EVERY in (self.analyst, *self.products, *self.windows):
            raise ValueError("a charge belongs to one analyst, to products and to windows by their names")
        if self.loss.rho_units < 1:
            raise ValueError("a question costs something")
        if len(set(self.windows)) != len(self.windows) or not all((*self.windows, *self.joined)):
            raise ValueError("a charge names each window once")
        if self.windows and self.loss.rho_units != len(self.windows) ** 2 * self.window_loss.rho_units:
            raise ValueError("a question over w windows costs the account w² times what it costs each")
        if self.window_loss.delta_units > self.loss.delta_units or not (self.windows or self.window_loss == _NOTHING):
            raise ValueError("what a window is charged, the account is charged too")

    @property
    def products(self) -> tuple[str, ...]:
        """Every product that the question reads, its own first."""
        return tuple(dict.fromkeys((self.product, *self.joined)))

    def against(self, kind: str) -> PrivacyLoss:
        """What the charge takes of a cap of this kind."""
        return self.window_loss if kind == WINDOW else self.loss


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

    def times(self, loss: PrivacyLoss) -> int:
        """How many times what is left covers `loss`, which costs some ρ."""
        by_rho = self.left.rho_units // loss.rho_units
        return min(by_rho, self.left.delta_units // loss.delta_units) if loss.delta_units else by_rho


def charge(tx: Transaction, charge: Charge) -> int:
    """Spends `charge.loss`, and `charge.window_loss` of each window; the charge's id.

    BudgetRefused ACCOUNT_SPENT, PURPOSE_CAP, PRODUCT_CAP, ANALYST_CAP, APPROVAL_CAP or WINDOW_CAP names the allowance,
    the cost and what is left; ACCOUNT_ABSENT where the population has no account. Nothing is written then.
    """
    demand_account(tx, charge.population)
    for cap in limits(tx, charge):
        if not cap.covers(charge.against(cap.kind)):
            raise _spent(charge, cap)
    (charge_id,) = tx.insert(charges, at=tx.at, state=CHARGED, **_as_row(charge))
    for product in charge.products:
        tx.insert(charge_products, charge_id=charge_id, product=product)
    each = {"rho_units": charge.window_loss.rho_units, "delta_units": charge.window_loss.delta_units}
    for window in charge.windows:
        tx.insert(charge_windows, charge_id=charge_id, window=window, population=charge.population, **each)
    return int(charge_id)


def redeemable(view: Reading, charge: Charge) -> int | None:
    """The id of an identical charge whose release was never recorded and that was never redeemed; or None.

    A charge of a question that is being answered this moment looks the same: who asks must know it is not under way.
    """
    row = view.one(
        select(charges.c.id)
        .where(*(charges.c[name] == value for name, value in _as_row(charge).items()), charges.c.state == CHARGED)
        .order_by(charges.c.id)
    )
    return None if row is None else int(row.id)


def redeem(tx: Transaction, charge: Charge) -> int | None:
    """Takes up the identical charge that `redeemable` finds, once and for ever; its id, or None."""
    charge_id = redeemable(tx, charge)
    if charge_id is not None:
        tx.update(charges, {"id": charge_id}, {"state": CHARGED}, state=REDEEMED)
    return charge_id


def limits(view: Reading, charge: Charge) -> tuple[Limit, ...]:
    """Every cap that binds a charge, widest first, with what is spent of it so far."""
    whose = (charge.population, charge.purpose, charge.analyst)
    return standing(view, *whose, products=charge.products, approval=charge.approval, windows=charge.windows)


def standing(
    view: Reading,
    population: str,
    purpose: str,
    analyst: str,
    *,
    products: Iterable[str] = (),
    approval: str = "",
    windows: Collection[str] = (),
) -> tuple[Limit, ...]:
    """The caps that bind such questions; one that is absent allows nothing, but of a product or an approval."""
    keys = keys_of(population, purpose, analyst, products, approval)
    bound = [found for key in keys if (found := limit(view, key)) is not None]
    return (*bound, *_windows(view, population, windows))


def tightest(limits: Iterable[Limit], charge: Charge) -> Limit:
    """The cap that covers the fewest further questions such as `charge`."""
    return min(limits, key=lambda cap: cap.times(charge.against(cap.kind)))


def questions_left(limits: Iterable[Limit], charge: Charge) -> int:
    """How many more questions such as `charge` these caps cover."""
    cap = tightest(limits, charge)
    return cap.times(charge.against(cap.kind))


def limit(view: Reading, key: CapKey) -> Limit | None:
    """The cap for `key` and what is spent of it; None for a product or an approval without a cap of its own."""
    population, kind, name = key
    allowance = in_force(view, key)
    if allowance is None and kind in NAMED_ONLY:
        return None
    return Limit(kind, name, allowance or _NOTHING, _spent_of(view, population, kind, name))


def _windows(view: Reading, population: str, windows: Collection[str]) -> list[Limit]:
    """The caps of windows, all in two statements: a question may read many."""
    if not windows:
        return []
    allowances = windows_in_force(view, population, windows)
    rows = view.rows(
        select(charge_windows.c.window, func.sum(charge_windows.c.rho_units), func.sum(charge_windows.c.delta_units))
        .where(charge_windows.c.population == population, charge_windows.c.window.in_(windows))
        .group_by(charge_windows.c.window)
    )
    spent = {window: _loss(rho, delta) for window, rho, delta in rows}
    return [Limit(WINDOW, window, allowances[window], spent.get(window, _NOTHING)) for window in windows]


def _spent_of(view: Reading, population: str, kind: str, name: str) -> PrivacyLoss:
    table = charge_windows if kind == WINDOW else charges
    counted = and_(table.c.population == population, *_counted(kind, name))
    row = view.one(select(func.sum(table.c.rho_units), func.sum(table.c.delta_units)).where(counted))
    return _loss(*(row or (0, 0)))


def _counted(kind: str, name: str) -> list[ColumnElement[bool]]:
    """Which charges of a population count towards a cap of this kind and name."""
    if kind == ACCOUNT:
        return []
    if kind == PRODUCT:
        reads = select(charge_products.c.charge_id).where(charge_products.c.product == name)
        return [charges.c.id.in_(reads)]
    return [charge_windows.c.window == name if kind == WINDOW else charges.c[kind] == name]


def _loss(rho: int | Decimal | None, delta: int | Decimal | None) -> PrivacyLoss:
    """A sum as the database has it: nothing is None, and PostgreSQL adds integers to a decimal."""
    return PrivacyLoss(int(rho or 0), min(int(delta or 0), DELTA_UNITS))


def _as_row(charge: Charge) -> dict[str, str | int]:
    names = ("population", "purpose", "analyst", "product", "question", "snapshot", "approval", "report")
    loss = {"rho_units": charge.loss.rho_units, "delta_units": charge.loss.delta_units}
    return {name: getattr(charge, name) for name in names} | loss


def _spent(charge: Charge, limit: Limit) -> BudgetRefused:
    whose = {
        ACCOUNT: f"the account of the population {charge.population!r}",
        PURPOSE: f"the cap of the purpose {charge.purpose!r}",
        PRODUCT: f"the cap of the product {limit.key!r}",
        ANALYST: f"the cap of the analyst {charge.analyst!r}",
        APPROVAL: "the cap of this approval",
        WINDOW: f"the window {limit.key!r}",
    }[limit.kind]
    cost = told(charge.against(limit.kind))
    squared = f" for {len(charge.windows)} windows" if len(charge.windows) > 1 and limit.kind != WINDOW else ""
    return BudgetRefused(
        _SPENT_CODES[limit.kind],
        f"This costs {cost}{squared}, and {whose} has {told(limit.left)} left of {told(limit.allowance)}.",
        rule=f"privacy loss keeps within {whose} (laws 4 and 8)",
        hint="ask for less with a smaller rho"
        + (" or fewer windows" if charge.windows else "")
        + ", repeat an earlier question on this snapshot (free), or ask a steward to raise the cap",
    )


def told(loss: PrivacyLoss) -> str:
    """A loss for people: ρ, and δ where there is any."""
    return f"ρ {_plain(loss.rho)}" + (f" and δ {_plain(loss.delta)}" if loss.delta_units else "")


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"
