"""What is left of each allowance, told for people: before a question, beside its answer, and by whom more is given.

Rules: everything here is the ledger's own sums and the register's names, no data; ρ is told exactly, ε rounded up; how
many more questions there are is counted at a price that was named, or that the last question cost, never at a default.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from kaianalytics.gateway.context import Context
from kaianalytics.gateway.serving import Serving
from kaianalytics.gateway.tokens import Session
from kaianalytics.policy.handlers import stewards
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.privacy.refusals import unsupported
from kaianalytics.protocol import Budget, BudgetLine, YearLoss
from kaianalytics.records import ledger, spending
from kaianalytics.records.caps import ACCOUNT, ANALYST, APPROVAL, PURPOSE, WINDOW
from kaianalytics.records.ledger import Charge, Limit
from kaianalytics.records.spending import Price
from kaianalytics.records.transaction import Reading

WINDOWS_SHOWN = 6  # the newest ones that anything was charged to


def budget(context: Context, serving: Serving, session: Session, rho: str = "", about: str = "") -> Budget:
    """What is left of each allowance of the population that questions are `about`, and how far it goes at a price."""
    population = serving.contracts.purposes.populations[serving.population(session.purpose, about)]
    views = serving.statistics_views(session.purpose).values()
    products = [view.name for view in views if view.unit and view.unit.population == population.name]
    whose = (population.name, session.purpose, session.user)
    with context.records.reading() as view:
        price = _stated(rho, population.name) if rho else spending.last_price(view, *whose)
        newest = serving.newest_windows(session.purpose)
        windows = tuple(dict.fromkeys((*newest, *spending.windows_spent(view, population.name)[:WINDOWS_SHOWN])))
        limits = ledger.standing(view, *whose, products=products, approval=session.approval, windows=windows)
        left, note = _how_many_more(view, session, population.name, price)
        years = spending.customer_years(view, population.name)
    return Budget(
        population.name,
        session.purpose,
        tuple(line(limit) for limit in limits),
        note=note,
        price=plain(_per_window(price).rho) if price else "",
        questions_left=left,
        years=_years(years, population.reporting_delta),
        others=tuple(name for name in serving.populations(session.purpose) if name != population.name),
        ask=f"{stewards(context.roles())} may raise an allowance, with a reason: `kai budget raise`.",
    )


def line(limit: Limit) -> BudgetLine:
    """One allowance as a budget shows it."""
    allowed, spent, left = limit.allowance, limit.spent, limit.left
    return BudgetLine(name_of(limit), plain(allowed.rho), plain(spent.rho), plain(left.rho), plain(left.delta))


def name_of(limit: Limit) -> str:
    """What a budget calls an allowance."""
    return limit.kind if limit.kind in (ACCOUNT, PURPOSE, ANALYST, APPROVAL) else f"{limit.kind} {limit.key}"


def remaining(limits: Iterable[Limit]) -> dict[str, str]:
    """The ρ left of each allowance, by its name."""
    return {name_of(limit): plain(limit.left.rho) for limit in limits}


def lost(view: Reading, charge: Charge, limits: Iterable[Limit]) -> dict[str, str]:
    """The ρ that one customer has lost by now in each window that a question reads, and in each year of them."""
    windows = {name_of(limit): plain(limit.spent.rho) for limit in limits if limit.kind == WINDOW}
    if not windows:
        return {}
    read = {int(window[:4]) for window in charge.windows}
    years = spending.customer_years(view, charge.population)
    return windows | {f"customer-year {year}": plain(loss.rho) for year, loss in years.items() if year in read}


def plain(value: Decimal) -> str:
    """A decimal in plain digits."""
    return f"{value.normalize():f}"


def _stated(rho: str, population: str) -> Price:
    """The price of a question about whole customers, or about one window, at this ρ."""
    try:
        loss = PrivacyLoss.of(rho)
    except ValueError:
        loss = PrivacyLoss(0)
    if loss.rho_units < 1:
        raise unsupported("RHO")
    return Price(loss, (), PrivacyLoss(0), (population,))


def _how_many_more(view: Reading, session: Session, population: str, price: Price | None) -> tuple[int | None, str]:
    """How many more questions the caps cover at a price, and a sentence that says which of them is the tightest."""
    if price is None:
        return None, 'Name a price to see how many questions are left: `kai.budget(rho="…")`.'
    charge = _such(session, population, price)
    limits = ledger.limits(view, charge)
    left, tightest = ledger.questions_left(limits, charge), ledger.tightest(limits, charge)
    over = f" over {len(price.windows)} windows" if len(price.windows) > 1 else ""
    cost = plain(_per_window(price).rho)
    return left, f"At ρ {cost} a question{over}: {left} more. The tightest allowance: {name_of(tightest)}."


def _such(session: Session, population: str, price: Price) -> Charge:
    """A charge at this price, which nothing writes."""
    product, *joined = price.products
    whose = (population, session.purpose, session.user, product, "none", "none")
    return Charge(
        *whose,
        loss=price.loss,
        approval=session.approval,
        joined=tuple(joined),
        windows=price.windows,
        window_loss=price.window_loss,
    )


def _per_window(price: Price) -> PrivacyLoss:
    return price.window_loss if price.windows else price.loss


def _years(years: Mapping[int, PrivacyLoss], delta: Decimal) -> tuple[YearLoss, ...]:
    return tuple(
        YearLoss(year, plain(loss.rho), f"{loss.epsilon(delta):g}", plain(delta)) for year, loss in years.items()
    )
