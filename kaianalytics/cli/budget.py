"""`kai budget`: what is left of the privacy budget, when it ends, and a steward's act of raising it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Annotated

import typer

from kaianalytics.cli.terminal import console, for_people, open_home, table
from kaianalytics.custody.contracts import load, load_roles
from kaianalytics.custody.home import Home
from kaianalytics.custody.keys import Keys
from kaianalytics.errors import PolicyRefused, Refused
from kaianalytics.gateway.tokens import utc_now
from kaianalytics.policy.decision import decide_handler
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.records import caps, ledger, reviews, spending
from kaianalytics.records.audit import AuditEvent
from kaianalytics.records.database import Records
from kaianalytics.records.transaction import Reading
from kaianalytics.review.forecast import Pace, end_of, weekly
from kaianalytics.review.passport import Passport
from kaianalytics.warehouse import published

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="The privacy budget: what is left, when it ends, how it is raised."
)
EXPLORED_WEEKS = 4
WINDOWS_SHOWN = 12  # the newest that anything was charged to
_FORECAST = (caps.ACCOUNT, caps.PURPOSE, caps.ANALYST)  # a window is not spent at a pace, nor an approval


@app.command()
@for_people
def show() -> None:
    """Every allowance: how much, how much is spent, how much is left."""
    with _reading() as (home, view):
        for population, delta in _populations(home).items():
            console.print(f"[bold]{population}[/]: one account for all of them, whatever product or purpose")
            rows = [_line(limit, delta) for limit in _limits(view, population)]
            console.print(table(("allowance", "ρ in all ", "spent ", "left ", "δ left ", "spent as ε "), rows))
            if years := spending.customer_years(view, population):
                console.print("\nOne customer, in all windows of a year, may have lost")
                told = [(year, _plain(loss.rho), _epsilon(loss, delta)) for year, loss in years.items()]
                console.print(table(("customer-year", "ρ ", "as ε "), told))


@app.command()
@for_people
def forecast() -> None:
    """When each allowance ends, by report and purpose, at the pace of what is approved and lately explored."""
    with _reading() as (home, view):
        for population in _populations(home):
            paces = [*_approved(view), *_explored(view, population)]
            console.print(f"[bold]{population}[/]: a week costs")
            lines = [(pace.name, pace.purpose, _plain(pace.weekly.rho)) for pace in paces]
            console.print(table(("by", "purpose", "ρ a week "), lines or [("nothing is approved", "", "0")]))
            console.print("\nand so")
            lasting = [limit for limit in _limits(view, population) if limit.kind in _FORECAST]
            ends = [_end(limit, paces) for limit in lasting]
            console.print(table(("allowance", "left ", "ρ a week ", "lasts", "until"), ends))
            console.print(
                "A question repeated on the same snapshot costs nothing, so this is the earliest end.", style="dim"
            )


@app.command("raise")
@for_people
def raise_(
    steward: Annotated[str, typer.Option(help="Who acts: a registered steward.")],
    reason: Annotated[str, typer.Option(help="Why; kept with the act.")],
    rho: Annotated[str, typer.Option(help="The new allowance, a decimal.")],
    population: Annotated[str, typer.Option(help="Whose account.")] = "customers",
    purpose: Annotated[str, typer.Option(help="Raise this purpose's cap.")] = "",
    product: Annotated[str, typer.Option(help="Raise this product's cap.")] = "",
    analyst: Annotated[str, typer.Option(help="Raise this analyst's cap.")] = "",
    window: Annotated[str, typer.Option(help="Raise this window's cap, such as 2026-10-01/month; * for each.")] = "",
    delta: Annotated[str, typer.Option(help="The new allowance of δ, a decimal; without it, as it was.")] = "",
) -> None:
    """Raise the account, or a cap within it: a steward's signed, audited act."""
    home = open_home()
    named = {caps.PURPOSE: purpose, caps.PRODUCT: product, caps.ANALYST: analyst, caps.WINDOW: window}
    key = _key(population, {kind: name for kind, name in named.items() if name})
    _demand_steward(home, steward)
    keys = Keys.load(home)
    records = Records.of(home, keys)
    event = AuditEvent(utc_now(), steward, "budget.raised", ":".join(part for part in key if part))
    with records.writing(event) as tx:
        before = caps.in_force(tx, key)
        units = _loss("0", delta).delta_units if delta else before.delta_units if before else 0
        caps.raise_cap(tx, key, PrivacyLoss(_loss(rho).rho_units, units), steward=steward, reason=reason)
    console.print(f"Raised to ρ {rho}, signed, and recorded as event {tx.sequence}.")


@contextmanager
def _reading() -> Iterator[tuple[Home, Reading]]:
    home = open_home()
    with Records.of(home, Keys.load(home)).reading() as view:
        yield home, view


def _populations(home: Home) -> dict[str, Decimal]:
    contracts = load(published.current(home.stores).contracts_folder)
    return {name: population.reporting_delta for name, population in contracts.purposes.populations.items()}


def _limits(view: Reading, population: str) -> list[ledger.Limit]:
    """Every cap that is held, those of everyone shown for each who spent: analysts by theirs, windows by their own."""
    keys = [key for key, _ in caps.held(view, population)]
    spenders = {line.analyst for line in spending.spending(view, population)}
    windows = spending.windows_spent(view, population)[:WINDOWS_SHOWN]
    keys += [(population, caps.ANALYST, analyst) for analyst in sorted(spenders)]
    keys += [(population, caps.WINDOW, window) for window in windows]
    shown = {caps.ANALYST: bool(spenders), caps.WINDOW: bool(windows)}
    keys = [key for key in dict.fromkeys(keys) if key[2] != caps.EVERY or not shown[key[1]]]
    limits = [ledger.limit(view, key) for key in keys]
    return sorted((limit for limit in limits if limit), key=lambda limit: (caps.KINDS.index(limit.kind), limit.key))


def _line(limit: ledger.Limit, delta: Decimal) -> tuple[str, ...]:
    rho = (_plain(loss.rho) for loss in (limit.allowance, limit.spent, limit.left))
    epsilon = _epsilon(limit.spent, delta) if limit.kind in (caps.ACCOUNT, caps.WINDOW) else ""
    return (_name(limit), *rho, _plain(limit.left.delta), epsilon)


def _epsilon(loss: PrivacyLoss, delta: Decimal) -> str:
    return f"{loss.epsilon(delta):g} at δ {delta:g}"


def _name(limit: ledger.Limit) -> str:
    if limit.kind == caps.ACCOUNT:
        return "the account"
    if limit.key == caps.EVERY:
        return f"each {limit.kind}"
    return f"{limit.kind} {limit.key[:16] if limit.kind == caps.APPROVAL else limit.key}"


def _approved(view: Reading) -> list[Pace]:
    """The pace of every report whose newest passport holds today."""
    now = utc_now()
    names = dict.fromkeys(submission.report for submission in reviews.listing(view, state="approved"))
    paces = []
    for name in names:
        stored = reviews.latest_passport(view, name)
        if stored is None or stored.revoked_at is not None or stored.expires_at <= now.isoformat():
            continue
        passport = Passport.from_content(stored.content.encode())
        cost = weekly(passport.conditions.rho_per_run, passport.conditions.cadence)
        paces.append(Pace(f"report {name}", passport.purpose, cost))
    return paces


def _explored(view: Reading, population: str) -> list[Pace]:
    """The average week of exploration over the last weeks, by purpose, rounded up."""
    since = utc_now().date() - timedelta(weeks=EXPLORED_WEEKS)
    spent: dict[str, int] = {}
    for line in spending.spending(view, population):
        if not line.report and line.week >= since:
            spent[line.purpose] = spent.get(line.purpose, 0) + line.loss.rho_units
    return [Pace("exploration", purpose, PrivacyLoss(-(-units // EXPLORED_WEEKS))) for purpose, units in spent.items()]


def _end(limit: ledger.Limit, paces: list[Pace]) -> tuple[str, ...]:
    if limit.kind == caps.PURPOSE:
        paces = [pace for pace in paces if pace.purpose == limit.key]
    end = end_of(_name(limit), limit.left, paces)
    day = end.day(utc_now().date())
    lasts = "nothing draws on it" if end.weeks is None else f"{end.weeks} weeks"
    return (end.allowance, _plain(end.left.rho), _plain(end.weekly.rho), lasts, day.isoformat() if day else "")


def _key(population: str, named: Mapping[str, str]) -> caps.CapKey:
    if len(named) > 1:
        raise Refused(
            "ONE_CAP",
            "One act raises one cap.",
            hint="name a purpose, a product, an analyst or a window, or none of them for the account",
        )
    for kind, name in named.items():
        return (population, kind, name)
    return (population, caps.ACCOUNT, "")


def _loss(rho: str, delta: str = "0") -> PrivacyLoss:
    try:
        return PrivacyLoss.of(rho, delta)
    except ValueError as error:
        raise Refused("RHO", f"An allowance is a decimal number: {error}.", hint="--rho 1.5") from None


def _demand_steward(home: Home, name: str) -> None:
    roles = load_roles(home.contracts / "roles.yaml")
    if denial := decide_handler(name, roles, utc_now().date()):
        raise denial.refusal()
    if "steward" not in roles.identities[name].roles:
        raise PolicyRefused(
            "ROLE_MISSING", f"`{name}` is no steward.", rule="a cap is raised by a steward", hint="see roles.yaml"
        )


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"
