"""Reading contract files as plain data with places: every fault is noted with its line, and reading goes on.

Laws: an unknown field is a fault, for a misspelt rule must not silently permit or deny; a number of the ledger is
written as text, for a float is not the number that was written; nothing read from a document with a fault is ever used,
so the stand-ins that the readers below return after a fault leave this package in no value.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import TypeVar

from kaianalytics.errors import ContractFault

Path = tuple[str | int, ...]
Word = TypeVar("Word", bound=str)
Value = TypeVar("Value")
_STAND_IN_DAY = date(1970, 1, 1)


@dataclass(frozen=True)
class Document:
    """One file as plain data (mappings, lists, text, int, Decimal, bool, None) and the line of each of its parts."""

    file: str
    data: object
    lines: Mapping[Path, int]

    def line(self, path: Path) -> int:
        """The line of the part at `path`, or of the nearest part that holds it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


class Faults:
    """The faults noted so far."""

    def __init__(self) -> None:
        self.noted: list[ContractFault] = []

    def __len__(self) -> int:
        return len(self.noted)

    def note(self, document: Document, path: Path, message: str, hint: str = "") -> None:
        """Note one fault at its place in a document."""
        self.add(ContractFault(document.file, document.line(path), message, hint))

    def add(self, fault: ContractFault) -> None:
        """Note one fault; the same fault at the same line is noted once."""
        if fault not in self.noted:
            self.noted.append(fault)


class Part:
    """One mapping of a document, read field by field; what is missing or of a wrong type becomes a fault."""

    def __init__(self, document: Document, path: Path, faults: Faults) -> None:
        self.document = document
        self.path = path
        self.faults = faults
        value = _at(document.data, path)
        self._values: Mapping[str, object] = value if isinstance(value, dict) else {}
        if not isinstance(value, dict):
            self.fault("here stands a mapping (`key: value`)" if path else "the file is a mapping (`key: value`)")

    def fault(self, message: str, hint: str = "", at: str | int | None = None) -> None:
        """Note a fault of this part, or of its field `at`."""
        self.faults.note(self.document, self.path if at is None else self.place(at), message, hint)

    def place(self, key: str | int) -> Path:
        """Where in the document the field stands."""
        return (*self.path, key)

    def only(self, *known: str) -> None:
        """Note every field that is not one of `known`."""
        for key in self._values:
            if key not in known:
                self.fault(f"unknown field `{key}`", f"known here: {', '.join(known)}", at=key)

    def has(self, key: str) -> bool:
        """Whether the field is there and not null."""
        return self._values.get(key) is not None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its fields, as written."""
        return tuple(map(str, self._values))

    def raw(self, key: str) -> object:
        """The field as it was written, or None."""
        return self._values.get(key)

    def text(self, key: str, default: str | None = None) -> str:
        """A field of text that is not empty; required unless a default is given."""
        if not self.has(key):
            return self._missing(key, "") if default is None else default
        value = self._values[key]
        if isinstance(value, str) and value.strip():
            return value
        self.fault(f"`{key}` is a text that is not empty", _quote_hint(value), at=key)
        return ""

    def choice(self, key: str, known: Collection[Word]) -> Word:
        """A field of text that is one of `known`."""
        return next(iter(self._known(key, [self.text(key)], known)), next(iter(known)))

    def choices(self, key: str, known: Collection[Word]) -> tuple[Word, ...]:
        """A list of text, each one of `known`, and not empty."""
        return self._known(key, list(self.texts(key)), known)

    def flag(self, key: str, default: bool | None = None) -> bool:
        """A field that is true or false; required unless a default is given."""
        if not self.has(key):
            return self._missing(key, False) if default is None else default
        value = self._values[key]
        if not isinstance(value, bool):
            self.fault(f"`{key}` is true or false", at=key)
        return value is True

    def whole(self, key: str, least: int = 1) -> int:
        """A whole number from `least` upwards."""
        if not self.has(key):
            return self._missing(key, least)
        value = self._values[key]
        if isinstance(value, int) and not isinstance(value, bool) and value >= least:
            return value
        self.fault(f"`{key}` is a whole number from {least} upwards", at=key)
        return least

    def amount(self, key: str) -> Decimal:
        """A plain number from 0 upwards, whole or with a fraction."""
        value = self._values.get(key)
        if isinstance(value, (int, Decimal)) and not isinstance(value, bool) and value >= 0:
            return Decimal(value)
        self.fault(f"`{key}` is a number from 0 upwards", at=key)
        return Decimal(0)

    def decimal(self, key: str) -> Decimal:
        """A decimal number above zero, written as text so that it is exactly what was written."""
        if not self.has(key):
            return self._missing(key, Decimal(1))
        value = self._values[key]
        number = _decimal(value) if isinstance(value, str) else None
        if number is not None and number > 0:
            return number
        self.fault(f"`{key}` is a decimal number above zero, written in quotes", 'for instance "0.4"', at=key)
        return Decimal(1)

    def day(self, key: str) -> date:
        """An ISO date."""
        if not self.has(key):
            return self._missing(key, _STAND_IN_DAY)
        value = self._values[key]
        try:
            return date.fromisoformat(value) if isinstance(value, str) else self._no_day(key)
        except ValueError:
            return self._no_day(key)

    def texts(self, key: str, required: bool = True) -> tuple[str, ...]:
        """A list of texts; not empty when it is required."""
        value = self._values.get(key)
        if isinstance(value, list) and (value or not required) and all(isinstance(v, str) and v for v in value):
            return tuple(value)
        if value is not None or required:
            self.fault(f"`{key}` is a list of texts" + (" that is not empty" if required else ""), at=key)
        return ()

    def part(self, key: str) -> Part | None:
        """The mapping under the field; None, with a fault, where there is none."""
        if isinstance(self._values.get(key), dict):
            return Part(self.document, self.place(key), self.faults)
        self.fault(f"`{key}` is missing" if not self.has(key) else f"`{key}` is a mapping", at=key)
        return None

    def named(self, key: str, required: bool = True) -> dict[str, Part]:
        """The mappings under the field by their names; not empty when it is required."""
        value = self._values.get(key)
        if isinstance(value, dict) and (value or not required):
            return {str(name): Part(self.document, (*self.place(key), name), self.faults) for name in value}
        if value is not None or required:
            self.fault(f"`{key}` is a mapping of names" + (" that is not empty" if required else ""), at=key)
        return {}

    def parts(self, key: str, required: bool = True) -> list[Part]:
        """The mappings listed under the field; not empty when it is required."""
        value = self._values.get(key)
        if isinstance(value, list) and (value or not required):
            return [Part(self.document, (*self.place(key), index), self.faults) for index in range(len(value))]
        if value is not None or required:
            self.fault(f"`{key}` is a list of mappings" + (" that is not empty" if required else ""), at=key)
        return []

    def _known(self, key: str, words: list[str], known: Collection[Word]) -> tuple[Word, ...]:
        by_text: dict[str, Word] = {str(word): word for word in known}
        for word in words:
            if word and word not in by_text:
                self.fault(f"`{word}` is not known to `{key}`", f"known: {', '.join(known)}", at=key)
        return tuple(by_text[word] for word in words if word in by_text)

    def _missing(self, key: str, stand_in: Value) -> Value:
        self.fault(f"`{key}` is missing")
        return stand_in

    def _no_day(self, key: str) -> date:
        self.fault(f"`{key}` is a date such as 2026-11-01", at=key)
        return _STAND_IN_DAY


class Properties(Part):
    """The customProperties of an ODCS part, read as one mapping of property to value."""

    def __init__(self, owner: Part) -> None:
        super().__init__(owner.document, owner.path, owner.faults)
        self._places: dict[str, Path] = {}
        values: dict[str, object] = {}
        for part in owner.parts("customProperties", required=False):
            name = part.text("property")
            if name in values:
                part.fault(f"property `{name}` is stated twice", at="property")
            values[name] = part.raw("value")
            self._places[name] = (*part.path, "value")
        self._values = values

    def place(self, key: str | int) -> Path:
        """Where the property's value stands."""
        return self._places.get(str(key), super().place(key))

    def only(self, *known: str) -> None:
        """Note every property of ours that is not one of `known`; other people's properties are their own."""
        for name in self._values:
            if name.startswith("kai.") and name not in known:
                self.fault(f"unknown property `{name}`", f"known here: {', '.join(known)}", at=name)


def canonical_json(value: object) -> str:
    """One text for one value: sorted keys, no spaces, decimals and dates as text, sets sorted."""
    return json.dumps(_plain(value), sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def canonical_digest(value: object) -> str:
    """SHA-256, in hex, of the canonical JSON of a value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # with the class's name, for two classes of the same fields may mean opposite things
        fields = {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {type(value).__name__: fields}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (frozenset, set)):
        return sorted((_plain(item) for item in value), key=str)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (Decimal, date)):
        return str(value)
    if value is None or isinstance(value, (str, int, bool)):
        return value
    raise TypeError(f"no canonical JSON for {type(value).__name__}")


def _at(data: object, path: Path) -> object:
    for step in path:
        if isinstance(data, dict):
            data = data.get(step)
        else:
            data = data[step] if isinstance(data, list) and isinstance(step, int) else None
    return data


def _decimal(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _quote_hint(value: object) -> str:
    return "write it in quotes" if isinstance(value, (int, Decimal, bool)) else ""
