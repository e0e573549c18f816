"""Releases: the noisy numbers that a charge paid for, and the answers that were made of them, as they were sent.

Rules (law 4):
    1. A release is recorded before any answer of it is sent; one per charge, and never another.
    2. The same asking on the same snapshot is answered by the recorded answer, byte for byte, free.
    3. Another asking of the same measures is another answer of the same release: what is made of noisy numbers
       afterwards costs nothing, and no noise is ever drawn twice for one charge.
    4. What was released for one purpose is not shown for another.
    5. A profile that a release found and paid for may choose the bounds of later questions of its purpose.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, func, select

from kaianalytics.errors import BudgetRefused, RecordsFault
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.records.audit import sha256
from kaianalytics.records.ledger import RELEASED, Charge
from kaianalytics.records.tables import answers, charge_products, charges, profiles, releases
from kaianalytics.records.transaction import Reading, Transaction

LISTED, LISTED_BYTES = 200, 16 * 1024 * 1024  # of answers, at most, in one listing


@dataclass(frozen=True)
class StoredRelease:
    """The noisy numbers of one charge, as they were recorded."""

    charge_id: int
    noisy: bytes
    digest: str
    at: str


@dataclass(frozen=True)
class StoredAnswer:
    """One answer: `payload` is byte for byte what was sent, `sql` its question without comments."""

    charge_id: int
    asked: str
    sql: str
    payload: bytes
    digest: str
    at: str


@dataclass(frozen=True)
class ListedAnswer:
    """An answer in a listing: what its charge cost the account, its snapshot, and every product that it reads."""

    answer: StoredAnswer
    loss: PrivacyLoss
    snapshot: str
    products: tuple[str, ...]


def record(tx: Transaction, charge_id: int, noisy: bytes) -> str:
    """Records the noisy numbers of a charge; their SHA-256.

    BudgetRefused RELEASE_RECORDED if this charge has its release already: what was drawn now must not be sent.
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
    digest = sha256(noisy)
    tx.insert(releases, charge_id=charge_id, noisy=noisy, digest=digest, at=tx.at)
    return digest


def record_answer(tx: Transaction, charge_id: int, asked: str, sql: str, payload: bytes) -> str:
    """Records an answer made of a recorded release, exactly as it will be sent; its SHA-256."""
    digest = sha256(payload)
    tx.insert(answers, charge_id=charge_id, asked=asked, sql=sql, payload=payload, digest=digest, at=tx.at)
    return digest


def record_profile(tx: Transaction, charge_id: int, population: str, purpose: str, subject: str, found: str) -> None:
    """Records the profile that a release found of a subject: what is counted of whom, as a digest."""
    whose = {"population": population, "purpose": purpose, "subject": subject}
    tx.insert(profiles, charge_id=charge_id, found=found, **whose)


def find_answer(view: Reading, charge: Charge, asked: str) -> StoredAnswer | None:
    """The recorded answer to the same asking for the same purpose on the same snapshot, whoever asked it; or None."""
    row = view.one(
        select(answers)
        .join(charges, charges.c.id == answers.c.charge_id)
        .where(answers.c.asked == asked, *_on_equal_ground(charge))
        .order_by(answers.c.charge_id)
    )
    return None if row is None else _answer(row)


def find_release(view: Reading, charge: Charge) -> StoredRelease | None:
    """The newest noisy numbers of the same measures at the same price, for the same purpose and snapshot; or None."""
    loss = {"rho_units": charge.loss.rho_units, "delta_units": charge.loss.delta_units}
    same = [charges.c[name] == value for name, value in {"question": charge.question, **loss}.items()]
    row = view.one(select(releases).join(charges).where(*same, *_on_equal_ground(charge)).order_by(charges.c.id.desc()))
    if row is None:
        return None
    _demand_whole(row.charge_id, row.noisy, row.digest)
    return StoredRelease(row.charge_id, row.noisy, row.digest, row.at)


def find_profile(view: Reading, population: str, purpose: str, subject: str) -> str | None:
    """The newest profile found of a subject for this purpose, as it was recorded; or None."""
    whose = {"population": population, "purpose": purpose, "subject": subject}
    same = [profiles.c[name] == value for name, value in whose.items()]
    row = view.one(select(profiles.c.found).where(*same).order_by(profiles.c.charge_id.desc()))
    return None if row is None else str(row.found)


def listing(
    view: Reading,
    *,
    purpose: str = "",
    product: str = "",
    contains: str = "",
    charge_id: int = 0,
    most_bytes: int = LISTED_BYTES,
) -> tuple[ListedAnswer, ...]:
    """The recorded answers, newest first: of a purpose, a product, a text of their SQL, a charge.

    At most `LISTED`, and no further one once they have `most_bytes`.
    """
    size = func.length(answers.c.payload).label("size")
    query = select(answers.c.charge_id, answers.c.asked, size).join(charges, charges.c.id == answers.c.charge_id)
    if purpose:
        query = query.where(charges.c.purpose == purpose)
    if product:
        query = query.where(charges.c.id.in_(_reading(product)))
    if contains:
        query = query.where(answers.c.sql.icontains(contains, autoescape=True))
    if charge_id:
        query = query.where(answers.c.charge_id == charge_id)
    newest = query.order_by(answers.c.at.desc(), answers.c.charge_id.desc(), answers.c.asked).limit(LISTED)
    return tuple(_listed(view, row.charge_id, row.asked) for row in _within(view.rows(newest), most_bytes))


def _within(rows: Iterable[Row[Any]], most_bytes: int) -> Iterator[Row[Any]]:
    """The rows up to the first with which their payloads have this size; none of them is read for it."""
    for row in rows:
        yield row
        most_bytes -= row.size
        if most_bytes <= 0:
            return


def _listed(view: Reading, charge_id: int, asked: str) -> ListedAnswer:
    of_charge = (charges.c.snapshot, charges.c.rho_units, charges.c.delta_units)
    query = select(answers, *of_charge).join(charges, charges.c.id == answers.c.charge_id)
    row = view.one(query.where(answers.c.charge_id == charge_id, answers.c.asked == asked))
    assert row is not None  # it was listed in the same view
    loss = PrivacyLoss(row.rho_units, row.delta_units)
    return ListedAnswer(_answer(row), loss, row.snapshot, _products(view, charge_id))


def _on_equal_ground(charge: Charge) -> list[Any]:
    names = ("population", "purpose", "product", "snapshot")
    return [charges.c[name] == getattr(charge, name) for name in names]


def _reading(product: str) -> Select[tuple[int]]:
    return select(charge_products.c.charge_id).where(charge_products.c.product == product)


def _products(view: Reading, charge_id: int) -> tuple[str, ...]:
    rows = view.rows(select(charge_products.c.product).where(charge_products.c.charge_id == charge_id))
    return tuple(sorted(row.product for row in rows))


def _answer(row: Row[Any]) -> StoredAnswer:
    _demand_whole(row.charge_id, row.payload, row.digest)
    return StoredAnswer(row.charge_id, row.asked, row.sql, row.payload, row.digest, row.at)


def _demand_whole(charge_id: int, content: bytes, digest: str) -> None:
    if sha256(content) != digest:
        raise RecordsFault(
            "RELEASE_DAMAGED",
            f"The recorded release {charge_id} is not the one that was sent.",
            rule="a repeat returns the recorded release, byte for byte (law 4)",
            hint="verify the records, and restore them from a backup",
        )
