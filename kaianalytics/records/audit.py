"""The audit chain: append-only, hash-chained events that can be checked without trusting who kept them.

Rules:
    1. An event's hash is SHA-256 over the canonical JSON of its number, time, actor, kind, subject, body and the hash
       before it; so a change anywhere changes every hash after it.
    2. Numbers run 1, 2, 3 … without a gap; before the first stands `GENESIS`.
    3. A body holds text, whole numbers, truth values, lists and mappings of them: no floats, so that its canonical
       form is exact; never a data value (law 5).
    4. A body is completed inside the transaction it belongs to, and each note is written once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, select

from kaianalytics.errors import RecordsFault
from kaianalytics.records.tables import audit_events

if TYPE_CHECKING:
    from kaianalytics.records.transaction import Reading

CHANGES = "changes"  # the part of a body that `Transaction` writes: every row of this transaction


@dataclass(frozen=True)
class AuditEvent:
    """What is about to be done: when, by whom, of which kind, to what; `body` holds the facts known beforehand."""

    at: datetime
    actor: str
    kind: str
    subject: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.at.tzinfo is None:
            raise ValueError("an event's time names its time zone")
        if not (self.actor and self.kind) or max(map(len, (self.actor, self.kind, self.subject))) > 200:
            raise ValueError("an event names its actor and its kind, each in at most 200 characters")
        if CHANGES in self.body:
            raise ValueError(f"{CHANGES!r} is written by the transaction alone")
        canonical(self.body)


@dataclass(frozen=True)
class Link:
    """The number and hash of one event: all that the head says of the chain."""

    sequence: int
    hash: str


GENESIS = Link(0, "0" * 64)


@dataclass(frozen=True)
class StoredEvent:
    """One event of the chain as it stands there; `body` is canonical JSON text."""

    sequence: int
    at: str
    actor: str
    kind: str
    subject: str
    body: str
    prev_hash: str
    hash: str

    @property
    def link(self) -> Link:
        """The event's number and hash."""
        return Link(self.sequence, self.hash)

    def row(self) -> dict[str, Any]:
        """The event as a row of its table."""
        columns = asdict(self)
        return {"seq": columns.pop("sequence"), **columns}

    def facts(self) -> dict[str, Any]:
        """The body as values."""
        facts: dict[str, Any] = json.loads(self.body)
        return facts

    def follows(self, before: Link) -> bool:
        """Whether this is the event right after `before`, and says of itself what its hash says."""
        if (self.sequence, self.prev_hash) != (before.sequence + 1, before.hash):
            return False
        return self.hash == _hash(self.sequence, self.at, self.actor, self.kind, self.subject, self.body, before.hash)


class EventDraft:
    """An event inside its transaction: notes may be added until the commit, none may be changed."""

    def __init__(self, event: AuditEvent) -> None:
        self.at = utc(event.at)
        self.actor = event.actor
        self.kind = event.kind
        self.subject = event.subject
        self._body: dict[str, Any] = dict(event.body)
        self._changes: list[Mapping[str, Any]] = []

    def note(self, **facts: Any) -> None:
        """Adds facts to the body; ValueError for a name that is taken or a value without an exact form."""
        if taken := (set(facts) & set(self._body)) | (set(facts) & {CHANGES}):
            raise ValueError(f"already noted: {', '.join(sorted(taken))}")
        canonical(facts)
        self._body.update(facts)

    def note_change(self, change: Mapping[str, Any]) -> None:
        """Adds one written row to the body, as `verification` will replay it."""
        canonical(change)
        self._changes.append(change)

    def sealed(self, before: Link) -> StoredEvent:
        """The finished event that follows `before`."""
        body = canonical({**self._body, CHANGES: self._changes} if self._changes else self._body)
        number = before.sequence + 1
        digest = _hash(number, self.at, self.actor, self.kind, self.subject, body, before.hash)
        return StoredEvent(number, self.at, self.actor, self.kind, self.subject, body, before.hash, digest)


def canonical(value: object) -> str:
    """The one JSON text of `value`: sorted keys, no spaces; ValueError for what has no exact form, as floats."""
    _demand_exact(value)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    text.encode()  # a lone surrogate has no bytes to be hashed: UnicodeEncodeError is a ValueError
    return text


def utc(moment: datetime) -> str:
    """The one text of a moment: UTC to the microsecond, always 27 characters, ordered as the moments are."""
    if moment.tzinfo is None:
        raise ValueError("a moment names its time zone")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def sha256(data: bytes) -> str:
    """The SHA-256 of `data` in hex."""
    return hashlib.sha256(data).hexdigest()


def tip(view: Reading) -> StoredEvent | None:
    """The last event of the chain, or None where it is empty."""
    row = view.one(select(audit_events).order_by(audit_events.c.seq.desc()).limit(1))
    return None if row is None else _stored(row)


def event(view: Reading, sequence: int) -> StoredEvent | None:
    """The event of that number, or None."""
    row = view.one(select(audit_events).where(audit_events.c.seq == sequence))
    return None if row is None else _stored(row)


def events(
    view: Reading, *, after: int = 0, kind: str = "", subject: str = "", since: datetime | None = None
) -> Iterator[StoredEvent]:
    """The events past number `after` in their order, of one kind, subject or time where named; read as asked for."""
    query = select(audit_events).where(audit_events.c.seq > after).order_by(audit_events.c.seq)
    if since is not None:
        query = query.where(audit_events.c.at >= utc(since))
    if kind:
        query = query.where(audit_events.c.kind == kind)
    if subject:
        query = query.where(audit_events.c.subject == subject)
    for row in view.stream(query):
        yield _stored(row)


def walk(view: Reading) -> Iterator[StoredEvent]:
    """Every event, each checked against the one before; RecordsFault CHAIN_BROKEN names the first that is wrong."""
    before = GENESIS
    for found in events(view):
        if not found.follows(before):
            raise RecordsFault(
                "CHAIN_BROKEN",
                f"The audit chain breaks at event {before.sequence + 1}.",
                rule="each event carries the hash of the one before (law 6)",
                hint="the records were changed from outside: keep them as they are and compare with a backup",
            )
        yield found
        before = found.link


def _stored(row: Row[Any]) -> StoredEvent:
    values = dict(row._mapping)
    return StoredEvent(sequence=values.pop("seq"), **values)


def _hash(sequence: int, at: str, actor: str, kind: str, subject: str, body: str, prev_hash: str) -> str:
    parts = {"seq": sequence, "at": at, "actor": actor, "kind": kind, "subject": subject, "body": body}
    return sha256(canonical({**parts, "prev": prev_hash}).encode())


def _demand_exact(value: object) -> None:
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("the keys of a body are text")
        for part in value.values():
            _demand_exact(part)
    elif isinstance(value, list | tuple):
        for part in value:
            _demand_exact(part)
    elif not (value is None or isinstance(value, str | int)):
        raise ValueError("a body holds text, whole numbers, truth values, lists and mappings of them")
