"""What was spent, told for people: by report and week, by window, and by customer-year.

Windows bound what is learnt of one customer in one window. A customer lives through many, so what one may lose in a
year is told as well: a question q that reads w of the year's windows moves with all w rows of one customer at once,
which costs w²·ρ by group privacy (Bun and Steinke 2016, proposition 1.9), and losses of questions add up:

    loss of a customer-year = Σ over questions q of w_q² · ρ_q,   w_q = how many of its windows lie in that year

Each term is at most the account's own w²·ρ, so no year is told more than the account has spent. Questions about
products without windows are about the whole customer: the account alone counts them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import func, select

from kaianalytics.privacy.loss import DELTA_UNITS, PrivacyLoss
from kaianalytics.records.tables import charge_products, charge_windows, charges
from kaianalytics.records.transaction import Reading


@dataclass(frozen=True)
class Spending:
    """What one report, purpose and analyst spent in one week; `week` is its Monday (UTC), no report: exploration."""

    report: str
    purpose: str
    analyst: str
    week: date
    charges: int
    loss: PrivacyLoss


@dataclass(frozen=True)
class Price:
    """What one charge cost: its account, each window it read, and the products it read."""

    loss: PrivacyLoss
    windows: tuple[str, ...]
    window_loss: PrivacyLoss
    products: tuple[str, ...]


def spending(view: Reading, population: str) -> tuple[Spending, ...]:
    """What a population's account was spent on, by report, purpose, analyst and week, oldest week first."""
    sums: dict[tuple[date, str, str, str], list[PrivacyLoss]] = defaultdict(list)
    for row in view.stream(select(charges).where(charges.c.population == population)):
        sums[_week(row.at), row.report, row.purpose, row.analyst].append(PrivacyLoss(row.rho_units, row.delta_units))
    return tuple(
        Spending(report, purpose, analyst, week, len(losses), sum(losses, PrivacyLoss(0)))
        for (week, report, purpose, analyst), losses in sorted(sums.items(), key=lambda item: item[0])
    )


def customer_years(view: Reading, population: str) -> Mapping[int, PrivacyLoss]:
    """What one customer may have lost in all windows of each year, the newest year first.

    δ adds up in the same way: a year's part of a question loses at most the δ that its account was charged.
    """
    year = func.substr(charge_windows.c.window, 1, 4)
    read = (
        select(charge_windows.c.charge_id, year.label("year"), func.count().label("windows"))
        .where(charge_windows.c.population == population)
        .group_by(charge_windows.c.charge_id, year)
        .subquery()
    )
    each = select(charge_windows.c.charge_id, func.max(charge_windows.c.rho_units).label("rho")).group_by(
        charge_windows.c.charge_id
    )
    price = each.subquery()
    rows = view.rows(
        select(
            read.c.year,
            func.sum(read.c.windows * read.c.windows * price.c.rho).label("rho"),
            func.sum(charges.c.delta_units).label("delta"),
        )
        .join(price, price.c.charge_id == read.c.charge_id)
        .join(charges, charges.c.id == read.c.charge_id)
        .group_by(read.c.year)
        .order_by(read.c.year.desc())
    )
    return {int(row.year): PrivacyLoss(int(row.rho), min(int(row.delta), DELTA_UNITS)) for row in rows}


def windows_spent(view: Reading, population: str) -> tuple[str, ...]:
    """The windows that anything was charged to, the newest first."""
    query = select(charge_windows.c.window).distinct().where(charge_windows.c.population == population)
    return tuple(row.window for row in view.rows(query.order_by(charge_windows.c.window.desc())))


def last_price(view: Reading, population: str, purpose: str, analyst: str) -> Price | None:
    """What the analyst's last charged question for this purpose cost; None before the first."""
    whose = {"population": population, "purpose": purpose, "analyst": analyst}
    row = view.one(
        select(charges)
        .where(*(charges.c[name] == value for name, value in whose.items()))
        .order_by(charges.c.id.desc())
    )
    if row is None:
        return None
    products = view.rows(select(charge_products.c.product).where(charge_products.c.charge_id == row.id))
    windows = view.rows(select(charge_windows).where(charge_windows.c.charge_id == row.id))
    each = PrivacyLoss(windows[0].rho_units, windows[0].delta_units) if windows else PrivacyLoss(0)
    return Price(
        PrivacyLoss(row.rho_units, row.delta_units),
        tuple(window.window for window in windows),
        each,
        tuple(product.product for product in products),
    )


def _week(at: str) -> date:
    day = datetime.fromisoformat(at).date()
    return day - timedelta(days=day.weekday())
