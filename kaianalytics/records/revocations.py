"""Tokens that were ended before they expire: a signed token is believed only if it is not among these.

A token that has expired is refused for that alone, so a revocation matters until then and is kept after as a record.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select

from kaianalytics.records.audit import utc
from kaianalytics.records.tables import revocations
from kaianalytics.records.transaction import Reading, Transaction


def revoke(tx: Transaction, token_id: str, expires_at: datetime) -> bool:
    """Ends a token; whether it was still in force."""
    if is_revoked(tx, token_id):
        return False
    tx.insert(revocations, token_id=token_id, at=tx.at, expires_at=utc(expires_at))
    return True


def is_revoked(view: Reading, token_id: str) -> bool:
    """Whether this token was ended."""
    return view.one(select(revocations.c.seq).where(revocations.c.token_id == token_id)) is not None


def in_force(view: Reading, now: datetime) -> frozenset[str]:
    """The ids of all ended tokens that have not expired at `now`: what a gateway keeps in memory."""
    rows = view.rows(select(revocations.c.token_id).where(revocations.c.expires_at > utc(now)))
    return frozenset(row.token_id for row in rows)
