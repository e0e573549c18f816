"""The records checked against their own chain: nothing is believed that the chain does not say.

    1. every event follows the one before                              CHAIN_BROKEN
    2. every charge kept within the caps of its moment                 LEDGER_OVER_CAP
    3. every charge of w windows cost its account w² times what it
       cost each                                                       LEDGER_WINDOWS
    4. every change of a cap carries the steward's act, signed         CAP_UNSIGNED
    5. every row of every table is as the events left it, and no
       row is there, or gone, without an event                         RECORDS_CHANGED
Each fault names the event. The arithmetic is written again here, apart from the ledger's, so that a slip in the one is
seen by the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table, select

from kaianalytics.custody.keys import Keys
from kaianalytics.errors import RecordsFault
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.records import audit, caps
from kaianalytics.records.audit import StoredEvent
from kaianalytics.records.tables import REMEMBERED, accounts, charge_products, charge_windows, charges
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
        changes = event.facts().get(audit.CHANGES, ())
        ledger.check(event, changes)
        for change in changes:
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

    def check(self, event: StoredEvent, changes: Sequence[Change]) -> None:
        """Counts an event's changes, and faults what the ledger's laws forbid."""
        for change in changes:
            if change["table"] == accounts.name:
                self._opened[change["key"][0]] = event.sequence
            elif change["table"] == caps_table.name:
                self._cap(event, change)
            elif change["table"] == charges.name and "insert" in change:
                self._charge(event, change, changes)

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
        """A first cap is declared freely, unless it opens another account, or is wider for one analyst or window."""
        if "update" in change:
            return True
        _, kind, name = key
        if kind == caps.ACCOUNT:
            return min(self._opened.values()) < event.sequence
        return bool(kind in caps.FOR_EVERY and name != caps.EVERY)

    def _charge(self, event: StoredEvent, change: Change, changes: Sequence[Change]) -> None:
        self.charges += 1
        charge = change["insert"]
        windows = _beside(change, changes, charge_windows)
        products = [row["product"] for row in _beside(change, changes, charge_products)]
        _demand_squared(event, charge, windows)
        named = (charge["population"], charge["purpose"], charge["analyst"], products, charge["approval"])
        for key in caps.keys_of(*named):
            self._spend(event, key, charge)
        for window in windows:
            self._spend(event, (window["population"], caps.WINDOW, window["window"]), window)

    def _spend(self, event: StoredEvent, key: Key, loss: Mapping[str, Any]) -> None:
        rho, delta = self._spent[key]
        self._spent[key] = rho + loss["rho_units"], delta + loss["delta_units"]
        cap = self._cap_for(key)
        if cap is not None and (self._spent[key][0] > cap[0] or self._spent[key][1] > cap[1]):
            raise RecordsFault(
                "LEDGER_OVER_CAP",
                f"Event {event.sequence} charged more than the {key[1]} cap of its moment.",
                rule="a charge keeps within every cap (law 4)",
                hint=_KEEP,
            )

    def _cap_for(self, key: Key) -> tuple[int, int] | None:
        """The cap in force; a product or an approval without one is unbounded, anything else has nothing."""
        population, kind, _ = key
        if kind in caps.FOR_EVERY:
            return self._caps.get(key) or self._caps.get((population, kind, caps.EVERY), (0, 0))
        return self._caps.get(key, None if kind in caps.NAMED_ONLY else (0, 0))


def _beside(change: Change, changes: Sequence[Change], table: Table) -> list[dict[str, Any]]:
    """The rows of a table that an event wrote for the same charge."""
    (charge_id,) = change["key"]
    keys = tuple(column.name for column in table.primary_key)
    written = [each for each in changes if each["table"] == table.name and each["key"][0] == charge_id]
    return [dict(zip(keys, each["key"], strict=True)) | dict(each["insert"]) for each in written]


def _demand_squared(event: StoredEvent, charge: Mapping[str, Any], windows: Sequence[Mapping[str, Any]]) -> None:
    if any(window["rho_units"] * len(windows) ** 2 != charge["rho_units"] for window in windows):
        raise RecordsFault(
            "LEDGER_WINDOWS",
            f"Event {event.sequence} charged an account other than w² times what each of w windows was charged.",
            rule="one customer may be in every window that a question reads (law 8)",
            hint=_KEEP,
        )


def _changed(table: str, sequence: int, what: str) -> RecordsFault:
    return RecordsFault(
        "RECORDS_CHANGED",
        f"The table {table!r} {what} event {sequence}.",
        rule="every write carries its audit event (law 6)",
        hint=_KEEP,
    )
