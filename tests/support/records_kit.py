"""What the tests of the records share: a real home with real keys, a population, events and charges."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from kaianalytics.custody.home import Home
from kaianalytics.custody.keys import Keys
from kaianalytics.policy.purpose import Allowance, Population
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.records import caps, ledger
from kaianalytics.records.audit import AuditEvent
from kaianalytics.records.database import Records

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)  # a Monday
COST = PrivacyLoss.of("0.1")
CHARGE = ledger.Charge("customers", "ad-targeting", "aiko", "sessions", "q1", "build-1/0", COST)


def allowance(rho: str, delta: str = "0") -> Allowance:
    """An allowance as contracts state it."""
    return Allowance(Decimal(rho), Decimal(delta))


def population(
    name: str = "customers",
    *,
    account: str = "10",
    purpose: str = "5",
    analyst: str = "3",
    window: str = "",
    **products: str,
) -> Population:
    """A population with two purposes under one account; `window` caps each window, further names are products'."""
    purposes = {"ad-targeting": allowance(purpose), "campaign-analysis": allowance(purpose)}
    stated = Population(name, "customers", "customer_id", allowance(account), purposes, allowance(analyst))
    named = {product: allowance(cap) for product, cap in products.items()}
    return replace(stated, product_caps=named, window_cap=allowance(window) if window else None)


def event(kind: str = "test", *, at: datetime = NOON, **body: Any) -> AuditEvent:
    """An event of the test."""
    return AuditEvent(at, "aiko", kind, "subject", body)


def make_home(folder: Path) -> tuple[Home, Keys]:
    """A new home with its keys."""
    home = Home.create(folder / "home", folder / "contracts", folder / "sources")
    return home, Keys.create(home)


def declare(records: Records, *populations: Population) -> tuple[caps.Difference, ...]:
    """Declares populations in an event of their own."""
    with records.writing(event("ledger.declared")) as tx:
        return caps.declare(tx, populations)


def charge(records: Records, number: int = 0, **changed: Any) -> int:
    """One charge in an event of its own; `number` makes the question another one."""
    asked = replace(CHARGE, question=f"q{number}", **changed)
    with records.writing(event("statistics.charged", at=NOON + timedelta(seconds=number))) as tx:
        return ledger.charge(tx, asked)


def over(each: str, *windows: str, **changed: Any) -> ledger.Charge:
    """A charge of `each` ρ on each window."""
    loss = PrivacyLoss.of(each)
    squared = PrivacyLoss(len(windows) ** 2 * loss.rho_units)
    return replace(CHARGE, loss=squared, windows=windows, window_loss=loss, **changed)


SPANNING = over("0.1", "2026-10-01/month", "2026-11-01/month")


def limits(records: Records, purpose: str = "ad-targeting", analyst: str = "aiko", **more: Any) -> dict[str, Any]:
    """The caps that bind such questions, by kind; a window's or product's by its name."""
    with records.reading() as view:
        found = ledger.standing(view, "customers", purpose, analyst, **more)
    return {each.key if each.kind in ("window", "product") else each.kind: each for each in found}


def spent(records: Records) -> PrivacyLoss:
    """What the account of the customers has spent."""
    with records.reading() as view:
        account = ledger.limit(view, ("customers", "account", ""))
    assert account is not None
    return account.spent


def tamper(home: Home, statement: str, *values: Any) -> None:
    """Changes the records' file from outside, as someone with a copy of SQLite would."""
    with closing(sqlite3.connect(home.records)) as connection, connection:
        assert connection.execute(statement, values).rowcount > 0
