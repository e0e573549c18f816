"""The records opened: the one place where a write and its audit event become one transaction (law 6).

A write, in its order:
    1. take the write lock: one writer at a time, over all threads and processes of this machine
    2. begin, and compare the chain with its signed head; a difference is a fault, unless a crash explains it
    3. the room writes its rows; each is noted in the event
    4. the event, now complete, is appended to the chain
    5. commit, synced to the disk
    6. advance the signed head
    7. release the lock
An exception in 2 to 5 leaves nothing behind, the event included. A crash between 5 and 6 leaves the chain ahead by
one event, which the next write or the next start repairs; `repaired` says so, and the next event carries it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import URL, make_url

from kaianalytics.custody.home import Home
from kaianalytics.custody.keys import Keys
from kaianalytics.records import audit, verification
from kaianalytics.records.audit import AuditEvent, EventDraft, Link
from kaianalytics.records.engine import begun, claim_file, demand_schema, engine_for
from kaianalytics.records.head import HeadFile, behind
from kaianalytics.records.lock import WriteLock
from kaianalytics.records.transaction import Reading, Transaction
from kaianalytics.records.verification import Verified


class Records:
    """The records of one home; safe to share between threads, never across a fork.

    `repaired` is the number of the event to which the head was advanced after a crash, or None.
    """

    def __init__(self, url: str | URL, head: HeadFile, lock: WriteLock, keys: Keys) -> None:
        """Compares chain and head before anything starts; RecordsFault with a code of `head` where they disagree."""
        self._url = make_url(url)
        self._engine = engine_for(self._url)
        self._head = head
        self._lock = lock
        self._keys = keys
        self.repaired: int | None = None
        self._untold: int | None = None
        self._start()

    @classmethod
    def open(cls, url: str | URL, head_path: Path, keys: Keys) -> Records:
        """The records at `url`, made if absent; RecordsFault unless they and their signed head agree."""
        return cls(url, HeadFile(head_path, keys), WriteLock(head_path.with_suffix(".lock")), keys)

    @classmethod
    def of(cls, home: Home, keys: Keys) -> Records:
        """The home's own records, in SQLite."""
        return cls.open(URL.create("sqlite", database=str(home.records)), home.head, keys)

    def close(self) -> None:
        """Closes the database's connections."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Reading]:
        """A consistent view for reading; it holds up no writer."""
        with begun(self._engine, writing=False) as connection:
            yield Reading(connection)

    @contextmanager
    def writing(self, event: AuditEvent) -> Iterator[Transaction]:
        """One transaction for the event and everything written inside; an exception leaves nothing of either.

        RecordsFault RECORDS_BUSY if no turn came in time; the codes of `head` if chain and head disagree.
        """
        draft = EventDraft(event)
        with self._lock.held():
            with begun(self._engine, writing=True) as connection:
                before = self._agree(Reading(connection))
                if self._untold is not None:
                    draft.note(head_repaired=self._untold)
                tx = Transaction(connection, before.sequence + 1, draft, self._keys)
                yield tx
                sealed = draft.sealed(before)
                tx.append(sealed)
            self._untold = None
            self._head.write(sealed.link)

    def append(self, event: AuditEvent) -> int:
        """Adds an event that writes nothing else, such as a refusal; its number in the chain."""
        with self.writing(event) as tx:
            return tx.sequence

    def rotate(self, replace: Callable[[int], Keys]) -> Keys:
        """Go on with the keys that `replace` puts in place, the last event being that number; the head is theirs."""
        with self._lock.held():
            with begun(self._engine, writing=False) as connection:
                link = self._agree(Reading(connection))
            self._keys = replace(link.sequence)
            self._head = self._head.signed_by(self._keys)
            self._head.write(link)
            return self._keys

    def verify(self) -> Verified:
        """Walks the whole chain, replays it, and compares every table and the head with it.

        RecordsFault CHAIN_BROKEN, RECORDS_CHANGED, LEDGER_OVER_CAP or CAP_UNSIGNED names the event; the codes of
        `head` as at the start. Writers go on meanwhile.
        """
        with begun(self._engine, writing=False) as connection:
            view = Reading(connection)
            with self._lock.held():  # no write lies between commit and head when both are read
                last = audit.tip(view)  # the first read fixes the view
                behind(self._head.read(), last)
            return verification.verify(view, self._keys)

    def _start(self) -> None:
        with self._lock.held():
            claim_file(self._url)
            with begun(self._engine, writing=True) as connection:
                demand_schema(connection)
                self._agree(Reading(connection))

    def _agree(self, view: Reading) -> Link:
        """The chain's last link, once the head says the same; repairs what a crash explains."""
        self._keys.demand_current()
        last = audit.tip(view)
        link = audit.GENESIS if last is None else last.link
        if behind(self._head.read(), last):
            self._head.write(link)
            if last is not None:
                self.repaired = self._untold = link.sequence
        return link
