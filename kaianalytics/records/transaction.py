"""What a room of the records reads and writes through.

Rules:
    1. Rows are written by `Transaction.insert` and `Transaction.update` alone; both note the row in the audit event, so
       that the chain can be replayed and compared with the tables (law 6).
    2. Nothing is deleted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Executable, Row, Table, insert, update

from kaianalytics.custody.keys import Keys
from kaianalytics.records.audit import EventDraft, StoredEvent, sha256
from kaianalytics.records.tables import WITHHELD, audit_events


class Reading:
    """A consistent view of the records; the functions of `ledger`, `reviews` and the others read through one."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def one(self, statement: Executable) -> Row[*tuple[Any, ...]] | None:
        """The first row, or None."""
        return self._connection.execute(statement).first()

    def rows(self, statement: Executable) -> Sequence[Row[*tuple[Any, ...]]]:
        """Every row."""
        return self._connection.execute(statement).all()

    def stream(self, statement: Executable) -> Iterator[Row[*tuple[Any, ...]]]:
        """The rows, a thousand at a time."""
        yield from self._connection.execute(statement, execution_options={"yield_per": 1000})


class Transaction(Reading):
    """A write that is under way: reads see it, `event` may still be noted on, and all of it commits or none."""

    def __init__(self, connection: Connection, sequence: int, event: EventDraft, keys: Keys) -> None:
        super().__init__(connection)
        self.sequence = sequence
        self.event = event
        self._keys = keys

    @property
    def at(self) -> str:
        """The event's time, as every row of this transaction carries it."""
        return self.event.at

    def sign(self, data: bytes) -> bytes:
        """The custodian's signature over `data`."""
        return self._keys.sign(data)

    def insert(self, table: Table, **values: Any) -> tuple[Any, ...]:
        """Adds one row and notes it in the event; its primary key."""
        result = self._connection.execute(insert(table).values(**values, seq=self.sequence))
        key = tuple(result.inserted_primary_key or ())
        self.event.note_change({"table": table.name, "key": key, "insert": as_noted(table, values)})
        return key

    def update(self, table: Table, key: Mapping[str, Any], expect: Mapping[str, Any], **values: Any) -> bool:
        """Changes the row of this primary key, if it is as expected, and notes it in the event; whether it was."""
        whole_key = tuple(key[column.name] for column in table.primary_key)
        condition = [table.c[name] == value for name, value in {**expect, **key}.items()]
        result = self._connection.execute(update(table).where(*condition).values(**values, seq=self.sequence))
        if result.rowcount != 1:
            return False
        self.event.note_change({"table": table.name, "key": whole_key, "update": as_noted(table, values)})
        return True

    def append(self, event: StoredEvent) -> None:
        """Puts the finished event at the end of the chain; `Records.writing` does, as a transaction's last step."""
        self._connection.execute(insert(audit_events).values(event.row()))


def as_noted(table: Table, values: Mapping[str, Any]) -> dict[str, Any]:
    """A row's values as the audit chain keeps them: withheld columns by their digest."""
    return {name: _digest(value) if table.c[name].info == WITHHELD else value for name, value in values.items()}


def _digest(value: str | bytes) -> dict[str, str]:
    return {"sha256": sha256(value if isinstance(value, bytes) else value.encode())}
