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
from kaianalytics.records import ledger
from kaianalytics.records.audit import AuditEvent
from kaianalytics.records.database import Records

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)  # a Monday
COST = PrivacyLoss.of("0.1")
CHARGE = ledger.Charge("customers", "ad-targeting", "aiko", "sessions", "q1", "build-1/0", COST)


def allowance(rho: str, delta: str = "0") -> Allowance:
    """An allowance as contracts state it."""
    return Allowance(Decimal(rho), Decimal(delta))


def population(name: str = "customers", *, account: str = "10", purpose: str = "5", analyst: str = "3") -> Population:
    """A population with two purposes under one account."""
    purposes = {"ad-targeting": allowance(purpose), "campaign-analysis": allowance(purpose)}
    return Population(name, "customers", "customer_id", allowance(account), purposes, allowance(analyst))


def event(kind: str = "test", *, at: datetime = NOON, **body: Any) -> AuditEvent:
    """An event of the test."""
    return AuditEvent(at, "aiko", kind, "subject", body)


def make_home(folder: Path) -> tuple[Home, Keys]:
    """A new home with its keys."""
    home = Home.create(folder / "home", folder / "contracts", folder / "sources")
    return home, Keys.create(home)


def declare(records: Records, *populations: Population) -> tuple[ledger.Difference, ...]:
    """Declares populations in an event of their own."""
    with records.writing(event("ledger.declared")) as tx:
        return ledger.declare(tx, populations)


def charge(records: Records, number: int = 0, **changed: Any) -> int:
    """One charge in an event of its own; `number` makes the question another one."""
    asked = replace(CHARGE, question=f"q{number}", **changed)
    with records.writing(event("statistics.charged", at=NOON + timedelta(seconds=number))) as tx:
        return ledger.charge(tx, asked)


def spent(records: Records) -> PrivacyLoss:
    """What the account of the customers has spent."""
    with records.reading() as view:
        return ledger.balance(view, "customers", "ad-targeting", "aiko").account.spent


def tamper(home: Home, statement: str, *values: Any) -> None:
    """Changes the records' file from outside, as someone with a copy of SQLite would."""
    with closing(sqlite3.connect(home.records)) as connection, connection:
        assert connection.execute(statement, values).rowcount > 0
