"""What reviews leave behind: submissions and passports. Storage only; who may do what stands in `review`.

Rules:
    1. A submission's notebook, parameters and request never change; only its state, reviewer and note do.
    2. A state changes only from the state that the one who changes it has seen; otherwise someone else was faster.
    3. A passport is kept with its signed content, byte for byte; it is revoked, never removed. One per review.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select

from kaianalytics.errors import ReviewRefused
from kaianalytics.records.audit import utc
from kaianalytics.records.tables import passports, submissions
from kaianalytics.records.transaction import Reading, Transaction


@dataclass(frozen=True)
class Submission:
    """One notebook handed in for review; `parameters` and `request` are JSON values, times are UTC text."""

    id: int
    at: str
    report: str
    purpose: str
    author: str
    notebook: bytes
    notebook_digest: str
    parameters: Mapping[str, Any]
    kernelspec: str
    request: Mapping[str, Any]
    state: str
    reviewer: str
    note: str
    decided_at: str | None


@dataclass(frozen=True)
class StoredPassport:
    """One signed approval; `content` is its canonical JSON as it was signed, `signature` is hex."""

    id: str
    review_id: int
    content: str
    signature: str
    issued_at: str
    expires_at: str
    revoked_at: str | None


def add_submission(
    tx: Transaction,
    *,
    report: str,
    purpose: str,
    author: str,
    notebook: bytes,
    notebook_digest: str,
    parameters: Mapping[str, Any],
    kernelspec: str,
    request: Mapping[str, Any],
    state: str,
) -> int:
    """Stores a submission in its first state; its id."""
    (submission_id,) = tx.insert(
        submissions,
        at=tx.at,
        report=report,
        purpose=purpose,
        author=author,
        notebook=notebook,
        notebook_digest=notebook_digest,
        parameters=json_text(parameters),
        kernelspec=kernelspec,
        request=json_text(request),
        state=state,
        reviewer="",
        note="",
    )
    return int(submission_id)


def get(view: Reading, submission_id: int) -> Submission:
    """The submission; ReviewRefused REVIEW_UNKNOWN."""
    row = view.one(select(submissions).where(submissions.c.id == submission_id))
    if row is None:
        raise ReviewRefused("REVIEW_UNKNOWN", f"There is no review {submission_id}.", hint="see `kai review list`")
    return _submission(row)


def listing(view: Reading, *, state: str = "", author: str = "", report: str = "") -> tuple[Submission, ...]:
    """The submissions, newest first; of one state, author or report where named."""
    query = select(submissions).order_by(submissions.c.id.desc())
    for name, value in (("state", state), ("author", author), ("report", report)):
        if value:
            query = query.where(submissions.c[name] == value)
    return tuple(_submission(row) for row in view.rows(query))


def set_state(
    tx: Transaction, submission_id: int, state: str, *, expect: str, reviewer: str = "", note: str = ""
) -> None:
    """Moves a submission from the state `expect`, and keeps who decided, why and when.

    ReviewRefused REVIEW_MOVED if it is in another state by now.
    """
    decided = {"reviewer": reviewer, "note": note, "decided_at": tx.at}
    if not tx.update(submissions, {"id": submission_id}, {"state": expect}, state=state, **decided):
        now = get(tx, submission_id).state
        raise ReviewRefused(
            "REVIEW_MOVED",
            f"Review {submission_id} is {now} by now, no longer {expect}.",
            rule="a decision rests on the state that its reviewer saw",
            hint=f"look at it again with `kai review show {submission_id}`",
        )


def add_passport(
    tx: Transaction, *, passport_id: str, review_id: int, content: str, signature: str, expires_at: datetime
) -> None:
    """Stores a signed passport; ReviewRefused PASSPORT_EXISTS if its review, or its content, has one already."""
    taken = select(passports.c.id).where((passports.c.review_id == review_id) | (passports.c.id == passport_id))
    if tx.one(taken) is not None:
        raise ReviewRefused(
            "PASSPORT_EXISTS",
            f"Review {review_id} has its passport already.",
            rule="one passport per review",
            hint="submit the notebook again for another approval",
        )
    get(tx, review_id)
    signed = {"content": content, "signature": signature}
    expiry = utc(expires_at)
    tx.insert(passports, id=passport_id, review_id=review_id, issued_at=tx.at, expires_at=expiry, **signed)


def passport(view: Reading, passport_id: str) -> StoredPassport | None:
    """The passport of that id, revoked or not, or None."""
    row = view.one(select(passports).where(passports.c.id == passport_id))
    return None if row is None else _passport(row)


def passport_of(view: Reading, review_id: int) -> StoredPassport | None:
    """The passport that a review ended in, or None."""
    row = view.one(select(passports).where(passports.c.review_id == review_id))
    return None if row is None else _passport(row)


def passport_for(view: Reading, report: str, notebook_digest: str) -> StoredPassport | None:
    """The newest passport of exactly this notebook for this report, or None.

    Expired and revoked ones too, so that a refusal can say which it is: whoever runs by it checks both.
    """
    return _newest(view, report, notebook_digest)


def latest_passport(view: Reading, report: str) -> StoredPassport | None:
    """The newest passport of the report, whatever its notebook: what a changed notebook is compared with; or None."""
    return _newest(view, report, "")


def demand_unrevoked(view: Reading, passport_id: str) -> None:
    """ReviewRefused PASSPORT_REVOKED unless the passport is there and was not revoked."""
    found = passport(view, passport_id)
    if found is None or found.revoked_at is not None:
        raise ReviewRefused(
            "PASSPORT_REVOKED",
            "The approval that this run rests on was revoked.",
            rule="an approval is verified at every run, and at each of its questions",
            hint="submit the notebook again with `kai submit`",
        )


def revoke_passport(tx: Transaction, passport_id: str) -> None:
    """Ends a passport; ReviewRefused PASSPORT_UNKNOWN or PASSPORT_REVOKED."""
    found = passport(tx, passport_id)
    if found is None:
        raise ReviewRefused("PASSPORT_UNKNOWN", "There is no such passport.", hint="see `kai review list`")
    if found.revoked_at is not None:
        raise ReviewRefused("PASSPORT_REVOKED", f"This passport was revoked at {found.revoked_at}.")
    tx.update(passports, {"id": passport_id}, {}, revoked_at=tx.at)


def json_text(value: Mapping[str, Any]) -> str:
    """JSON values as one text with sorted keys; ValueError for NaN and infinities, TypeError for no JSON value."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)


def _newest(view: Reading, report: str, notebook_digest: str) -> StoredPassport | None:
    query = select(passports).join(submissions).where(submissions.c.report == report)
    if notebook_digest:
        query = query.where(submissions.c.notebook_digest == notebook_digest)
    row = view.one(query.order_by(passports.c.issued_at.desc(), passports.c.review_id.desc()))
    return None if row is None else _passport(row)


def _submission(row: Row[Any]) -> Submission:
    values = dict(row._mapping)
    del values["seq"]
    values |= {"parameters": json.loads(row.parameters), "request": json.loads(row.request)}
    return Submission(**values)


def _passport(row: Row[Any]) -> StoredPassport:
    values = dict(row._mapping)
    del values["seq"]
    return StoredPassport(**values)
