"""The records checked against their own chain: nothing is believed that the chain does not say.

    1. every event follows the one before                              CHAIN_BROKEN
    2. every charge kept within the caps of its moment                 LEDGER_OVER_CAP
    3. every change of a cap carries the steward's act, signed         CAP_UNSIGNED
    4. every row of every table is as the events left it, and no
       row is there, or gone, without an event                         RECORDS_CHANGED
Each fault names the event. The arithmetic is written again here, apart from the ledger's, so that a slip in the one is
seen by the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table, select

from kaianalytics.custody.keys import Keys
from kaianalytics.errors import RecordsFault
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.records import audit, caps
from kaianalytics.records.audit import StoredEvent
from kaianalytics.records.tables import REMEMBERED, accounts, charges
from kaianalytics.records.tables import caps as caps_table
from kaianalytics.records.transaction import Reading, as_noted

Key = tuple[Any, ...]
Change = Mapping[str, Any]
_KEEP = "the records were changed from outside, or by a fault: keep them as they are and compare with a backup"


@dataclass(frozen=True)
class Verified:
    """What a walk of the whole chain found in order: how many events and charges, and what each account has spent."""

    events: int
    charges: int
    spent: Mapping[str, PrivacyLoss]


def verify(view: Reading, keys: Keys) -> Verified:
    """The facts of a chain and tables that agree; RecordsFault names the event of the first difference."""
    tables, ledger = _Tables(), _Ledger(keys)
    count = 0
    for event in audit.walk(view):
        count = event.sequence
        for change in event.facts().get(audit.CHANGES, ()):
            ledger.check(event, change)
            tables.apply(event, change)
    for table in REMEMBERED:
        tables.compare(view, table)
    return Verified(count, ledger.charges, ledger.accounts())


class _Tables:
    """The tables as the events left them."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[Key, dict[str, Any]]] = {table.name: {} for table in REMEMBERED}
        self._columns = {table.name: dict.fromkeys(table.c.keys()) for table in REMEMBERED}
        self._keys = {table.name: tuple(column.name for column in table.primary_key) for table in REMEMBERED}

    def apply(self, event: StoredEvent, change: Change) -> None:
        """Writes one change as the transaction did."""
        name, key = change["table"], tuple(change["key"])
        rows = self._rows[name]
        if "insert" in change:
            named = dict(zip(self._keys[name], key, strict=True))
            rows[key] = {**self._columns[name], **named, **change["insert"], "seq": event.sequence}
        elif key in rows:
            rows[key].update(change["update"], seq=event.sequence)
        else:
            raise _changed(name, event.sequence, "held a row that no event wrote when it was changed by")

    def compare(self, view: Reading, table: Table) -> None:
        """Compares the table, row by row, with what the events left."""
        expected = dict(self._rows[table.name])
        for key, row in _stored_rows(view, table, self._keys[table.name]):
            if (known := expected.pop(key, None)) is None:
                raise _changed(table.name, row["seq"], "holds a row that no event wrote; it claims")
            if known != row:
                raise _changed(table.name, known["seq"], "is not as it was left by")
        for lost in expected.values():
            raise _changed(table.name, lost["seq"], "has lost a row written by")


def _stored_rows(view: Reading, table: Table, key: tuple[str, ...]) -> Iterator[tuple[Key, dict[str, Any]]]:
    for row in view.stream(select(table)):
        values = dict(row._mapping)
        yield tuple(values[name] for name in key), as_noted(table, values)


class _Ledger:
    """The ledger's laws, replayed in plain integers."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._caps: dict[Key, tuple[int, int]] = {}
        self._spent: dict[Key, tuple[int, int]] = defaultdict(lambda: (0, 0))
        self._opened: dict[str, int] = {}
        self.charges = 0

    def check(self, event: StoredEvent, change: Change) -> None:
        """Counts one change, and faults what the ledger's laws forbid."""
        if change["table"] == accounts.name:
            self._opened[change["key"][0]] = event.sequence
        elif change["table"] == caps_table.name:
            self._cap(event, change)
        elif change["table"] == charges.name and "insert" in change:
            self._charge(event, change["insert"])

    def accounts(self) -> dict[str, PrivacyLoss]:
        """What each account has spent."""
        return {population: PrivacyLoss(*self._spent[population, caps.ACCOUNT, ""]) for population in self._opened}

    def _cap(self, event: StoredEvent, change: Change) -> None:
        key = tuple(change["key"])
        rho, delta = self._caps.get(key, (0, 0))
        values = change.get("insert") or change["update"]
        cap = (values.get("rho_units", rho), values.get("delta_units", delta))
        if self._needs_a_steward(event, key, change) and not caps.steward_signed(event, key, cap, self._keys):
            raise RecordsFault(
                "CAP_UNSIGNED",
                f"Event {event.sequence} changed a cap without a steward's signed act.",
                rule="a cap changes by a steward's signed, audited act alone (law 8)",
                hint=_KEEP,
            )
        self._caps[key] = cap

    def _needs_a_steward(self, event: StoredEvent, key: Key, change: Change) -> bool:
        """A first cap is declared freely, unless it would open another account, or a wider cap for one analyst."""
        if "update" in change:
            return True
        _, kind, name = key
        if kind == caps.ACCOUNT:
            return min(self._opened.values()) < event.sequence
        return bool(kind == caps.ANALYST and name != caps.EVERY_ANALYST)

    def _charge(self, event: StoredEvent, charge: Mapping[str, Any]) -> None:
        self.charges += 1
        for key in caps.keys_of(charge["population"], charge["purpose"], charge["analyst"], charge["approval"]):
            rho, delta = self._spent[key]
            self._spent[key] = rho + charge["rho_units"], delta + charge["delta_units"]
            if (cap := self._cap_for(key)) is None:
                continue
            if self._spent[key][0] > cap[0] or self._spent[key][1] > cap[1]:
                raise RecordsFault(
                    "LEDGER_OVER_CAP",
                    f"Event {event.sequence} charged more than the {key[1]} cap of its moment.",
                    rule="a charge keeps within every cap (law 4)",
                    hint=_KEEP,
                )

    def _cap_for(self, key: Key) -> tuple[int, int] | None:
        """The cap in force; an approval without one is unbounded, anything else without one has nothing."""
        population, kind, _ = key
        if kind == caps.ANALYST:
            return self._caps.get(key) or self._caps.get((population, kind, caps.EVERY_ANALYST), (0, 0))
        return self._caps.get(key, None if kind == caps.APPROVAL else (0, 0))


def _changed(table: str, sequence: int, what: str) -> RecordsFault:
    return RecordsFault(
        "RECORDS_CHANGED",
        f"The table {table!r} {what} event {sequence}.",
        rule="every write carries its audit event (law 6)",
        hint=_KEEP,
    )
