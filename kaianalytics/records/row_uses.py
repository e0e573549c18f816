"""How much left as rows: counted by day, analyst, purpose and product, in the transaction that records what leaves.

Rules:
    1. An answer is counted in full for each product that it was made from, before it leaves; two answers at one time
       can't both take what is left for one.
    2. An answer that the day of any of its products has no room for is refused, and nothing is counted.
    3. A day is a date of the records: UTC, as the dates of grants and appointments are.
    4. Sums are kept by day, and the chain replays each of them (`verification`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import and_, select

from kaianalytics.errors import PolicyRefused, QueryFailed
from kaianalytics.policy.leaving import RowsCaps, one_answer
from kaianalytics.records.tables import row_uses
from kaianalytics.records.transaction import Reading, Transaction


@dataclass(frozen=True)
class Amount:
    """So many rows, and so many bytes of them."""

    rows: int
    bytes: int

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.rows + other.rows, self.bytes + other.bytes)


@dataclass(frozen=True)
class Asked:
    """Whose answer it is, and what the contracts of the products that it is made from allow."""

    analyst: str
    purpose: str
    caps: Mapping[str, RowsCaps]


def used(view: Reading, day: str, asked: Asked) -> Mapping[str, Amount]:
    """What has left on a day, by product."""
    whose = and_(row_uses.c.analyst == asked.analyst, row_uses.c.purpose == asked.purpose)
    found = view.rows(select(row_uses).where(row_uses.c.day == day, whose, row_uses.c.product.in_(asked.caps)))
    return dict.fromkeys(asked.caps, Amount(0, 0)) | {row.product: Amount(row.rows, row.bytes) for row in found}


def left(view: Reading, day: str, asked: Asked) -> Mapping[str, Amount]:
    """What may still leave on a day, by product; a cap that has since become lower leaves nothing, not less."""
    return {
        product: Amount(max(caps.rows_per_day - gone.rows, 0), max(caps.bytes_per_day - gone.bytes, 0))
        for product, gone in used(view, day, asked).items()
        for caps in (asked.caps[product],)
    }


def demand_room(tx: Transaction, asked: Asked) -> None:
    """PolicyRefused ROWS_OF_TODAY where nothing more may leave today: such a question is not even run."""
    for product, amount in left(tx, _day(tx), asked).items():
        if 0 in (amount.rows, amount.bytes):
            raise _spent(tx, asked, product, amount)


def take(tx: Transaction, asked: Asked, amount: Amount) -> None:
    """Count an answer that is about to leave; QueryFailed RESULT_TOO_LARGE or PolicyRefused ROWS_OF_TODAY."""
    rows, size = one_answer(asked.caps.values())
    if amount.rows > rows or amount.bytes > size:
        raise _too_large(rows, size)
    day, before = _day(tx), used(tx, _day(tx), asked)
    for product, room in left(tx, day, asked).items():
        if amount.rows > room.rows or amount.bytes > room.bytes:
            raise _spent(tx, asked, product, room)
    for product in asked.caps:
        _count(tx, (day, asked.analyst, asked.purpose, product), before[product], amount)


def _count(tx: Transaction, key: tuple[str, str, str, str], before: Amount, amount: Amount) -> None:
    named = dict(zip(("day", "analyst", "purpose", "product"), key, strict=True))
    total = before + amount
    if not tx.update(row_uses, named, {}, rows=total.rows, bytes=total.bytes):
        tx.insert(row_uses, **named, rows=total.rows, bytes=total.bytes)


def _day(tx: Transaction) -> str:
    return tx.at[:10]


def _too_large(rows: int, size: int) -> QueryFailed:
    return QueryFailed(
        "RESULT_TOO_LARGE",
        f"The result has more than {rows:,} rows or {size:,} bytes.",
        rule="contracts cap what leaves as rows with one answer (kai.rowsCaps); of several the least holds",
        hint="aggregate in SQL, choose fewer columns, or add a filter or LIMIT",
    )


def _spent(tx: Transaction, asked: Asked, product: str, room: Amount) -> PolicyRefused:
    caps = asked.caps[product]
    again = date.fromisoformat(_day(tx)) + timedelta(days=1)
    return PolicyRefused(
        "ROWS_OF_TODAY",
        f"The day has no room for this answer: of `{product}`, {room.rows:,} rows and {room.bytes:,} bytes are left.",
        rule=f"of `{product}` {caps.rows_per_day:,} rows and {caps.bytes_per_day:,} bytes leave in one day, "
        f"to one analyst for `{asked.purpose}` (kai.rowsCaps in its contract)",
        hint=f"aggregate in SQL or add a LIMIT; the day's amount renews at {again.isoformat()} 00:00 UTC",
    )
