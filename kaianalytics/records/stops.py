"""Stop requests taken after a build: whom the stores already published must leave out from now on (clause 7).

Rules:
    1. No raw customer id is kept: a person is named by their pseudonym under each purpose, and by nothing else. The
       audit chain, which is kept for ever, holds only a digest of them.
    2. A stop is never taken back and never expires here; a later build without the person makes it idle, not wrong.
    3. The epoch grows with each stop: it is part of every snapshot, so that no answer from before is repeated after.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, or_, select

from kaianalytics.records.audit import canonical
from kaianalytics.records.tables import stops
from kaianalytics.records.transaction import Reading, Transaction

ALL_PURPOSES = "all"
_PSEUDONYM = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Stop:
    """One person's stop request; `scope` is a purpose or `all`, `pseudonyms` names them under each purpose stopped."""

    scope: str
    population: str
    pseudonyms: Mapping[str, str]

    def __post_init__(self) -> None:
        if not (self.scope and self.population and self.pseudonyms):
            raise ValueError("a stop names its scope, its population, and the person under each purpose")
        if self.scope != ALL_PURPOSES and set(self.pseudonyms) != {self.scope}:
            raise ValueError("a stop for one purpose names the person under that purpose alone")
        if not all(_PSEUDONYM.fullmatch(pseudonym) for pseudonym in self.pseudonyms.values()):
            raise ValueError("a stop names a person by pseudonyms of 32 hex digits")


def record(tx: Transaction, stop: Stop) -> int:
    """Keeps a stop request; the epoch that begins with it."""
    tx.insert(
        stops, at=tx.at, scope=stop.scope, population=stop.population, pseudonyms=canonical(dict(stop.pseudonyms))
    )
    return epoch(tx)


def epoch(view: Reading) -> int:
    """How many stops were ever taken: it grows with each."""
    row = view.one(select(func.count()).select_from(stops))
    return int(row[0]) if row else 0


def recorded(view: Reading) -> tuple[Stop, ...]:
    """Every stop that was ever taken, in order."""
    rows = view.rows(select(stops).order_by(stops.c.seq))
    return tuple(Stop(row.scope, row.population, json.loads(row.pseudonyms)) for row in rows)


def pending(view: Reading, purpose: str) -> tuple[str, ...]:
    """The pseudonyms, under this purpose, of everyone whose use for it must stop; each once, in order."""
    query = select(stops.c.pseudonyms).where(or_(stops.c.scope == ALL_PURPOSES, stops.c.scope == purpose))
    named = (json.loads(row.pseudonyms).get(purpose) for row in view.rows(query))
    return tuple(sorted({pseudonym for pseudonym in named if pseudonym}))


def latest(view: Reading, purpose: str) -> str:
    """When the last stop was taken that touches a purpose, as the records write a time; empty where there is none."""
    touching = or_(stops.c.scope == ALL_PURPOSES, stops.c.scope == purpose)
    row = view.one(select(func.max(stops.c.at)).where(touching))
    return str(row[0]) if row and row[0] else ""
