"""Canaries: values that are nowhere in the world but where they were planted, and the search for them in answers.

Laws:
1. Each canary is known by the place it was planted in. A canary may be seen where the contracts show its column as
   rows, and nowhere else.
2. A column of any type holds one where its type can: a word, a whole number, an amount, a day, a moment. A truth value
   can't: it has two values, and both are everywhere.
3. What comes back is searched twice: as values, decoded, and as the bytes that came, in which a number stands as the
   engine stores it, also beneath a NULL and behind the end of a column.
4. What an attacker writes comes back in their own text: a canary that a request names is not found in its answer.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from random import Random

from kaianalytics.policy.rules import DatePart, first_day
from kaianalytics.privacy.unit import ColumnType

Value = str | int | float | date | datetime
_EPOCH = datetime(1970, 1, 1)
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_WORD = "canary"
_OF_NOBODY, _OF_SOMEBODY = range(1610, 1690), range(1710, 1790)  # the years of canaries: no data is as old
_ALTERED = 3
_PARTS: tuple[DatePart, ...] = ("week", "month", "year", "decade")
_NUMBER = re.compile(r"\d{7,}(?:\.\d+)?")
_DAY = re.compile(r"1[67]\d\d-\d\d-\d\d(?:[T ]\d\d:\d\d:\d\d)?")


@dataclass(frozen=True)
class Place:
    """Where a canary was planted: a column of a product in the rows of some person, or a file, a key, a variable."""

    what: str  # "a dropped column", "who opted out", …, or the name of a place that is no data
    product: str = ""
    column: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.product}.{self.column}" if self.product else self.what


@dataclass
class Canaries:
    """The canaries of one world, each with its place."""

    random: Random = field(default_factory=Random)
    _words: dict[str, Place] = field(default_factory=dict)
    _numbers: dict[str, Place] = field(default_factory=dict)
    _days: dict[str, Place] = field(default_factory=dict)
    _bytes: dict[bytes, Place] = field(default_factory=dict)
    _secrets: dict[str, Place] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.mark = _WORD + self._letters(4)
        self._pattern = re.compile(f"(?=({self.mark}[a-z]{{8}}))", re.IGNORECASE)  # one may begin within another

    def word(self, place: Place) -> str:
        """A new word, of letters alone."""
        made = self.mark + self._letters(8)
        self._words[made] = place
        return made

    def value(self, kind: ColumnType, place: Place, *, of_nobody: bool = False) -> Value | None:
        """A new value of that type; None for a truth value.

        A day `of_nobody` who may be there counts as found in every generalised form, too.
        """
        if kind == "string":
            return self.word(place)
        if kind == "integer":
            return self._whole(place)
        if kind == "number":
            return self._amount(place)
        if kind in ("date", "timestamp"):
            return self._day(place, moment=kind == "timestamp", of_nobody=of_nobody)
        return None

    @property
    def secrets(self) -> int:
        """How many secrets are looked for."""
        return len(self._secrets)

    def secret(self, text: str, place: Place) -> None:
        """A secret that is there anyway, such as a key: it is looked for as if it had been planted."""
        self._secrets[text] = place

    def found(self, data: bytes | str, said: str = "") -> frozenset[Place]:
        """The places of the canaries in what came back, but for those that the request `said` itself."""
        text, whole = (data, True) if isinstance(data, str) else _as_text(data)
        own = {value for value, _ in self._in_text(said)}
        found = {place for value, place in self._in_text(text, altered=whole) if value not in own}
        if isinstance(data, bytes):
            found |= {place for pattern, place in self._bytes.items() if pattern in data}
        return frozenset(found)

    def _in_text(self, text: str, *, altered: bool = True) -> Iterator[tuple[str, Place]]:
        """Each canary with its place; altered ones too, but in bytes where the end of a value runs into the next."""
        for match in self._pattern.finditer(text):
            word = match[1].lower()
            if word in self._words or altered:
                yield word, self._words.get(word) or self._most_like(word)
        yield from ((value, self._numbers[value]) for value in _NUMBER.findall(text) if value in self._numbers)
        for moment in map(_spaced, _DAY.findall(text)):
            yield from ((value, self._days[value]) for value in {moment, moment[:10]} if value in self._days)
        yield from ((secret, place) for secret, place in self._secrets.items() if secret in text)

    def _most_like(self, word: str) -> Place:
        """The place of the word that this one was made of, by what changes a letter or two."""
        planted = min(list(self._words), key=lambda other: _differing(word, other), default="")
        return self._words[planted] if _differing(word, planted) <= _ALTERED else Place("an altered canary")

    def _letters(self, count: int) -> str:
        return "".join(self.random.choice(_LETTERS) for _ in range(count))

    def _whole(self, place: Place) -> int:
        number = self.random.randrange(700_000_000, 799_999_999)
        self._numbers[str(number)] = self._numbers[f"{number}.0"] = place
        self._bytes |= {struct.pack("<q", number): place, struct.pack("<d", float(number)): place}
        return number

    def _amount(self, place: Place) -> float:
        number = (10 * self.random.randrange(71_000_000, 79_999_999) + self.random.randrange(1, 10)) / 100
        self._numbers[str(number)] = place
        self._bytes[struct.pack("<d", number)] = place
        return number

    def _day(self, place: Place, *, moment: bool, of_nobody: bool) -> date | datetime:
        """A Wednesday in the middle of a month, which is the first day of nothing."""
        years = _OF_NOBODY if of_nobody else _OF_SOMEBODY
        near = date(self.random.choice(years), self.random.randrange(1, 13), 11)
        day = near + timedelta(days=(2 - near.weekday()) % 7)
        if of_nobody:
            self._days |= {first_day(day, part).isoformat(): place for part in _PARTS}
        if of_nobody or not moment:
            self._days[day.isoformat()] = place
        if not moment:
            return day
        at = datetime(day.year, day.month, day.day, 17, 23, self.random.randrange(60))
        self._days[str(at)] = place
        self._bytes[struct.pack("<q", round((at - _EPOCH).total_seconds()) * 1_000_000)] = place
        return at


def _as_text(data: bytes) -> tuple[str, bool]:
    """The bytes as text, and whether they are one."""
    try:
        return data.decode(), True
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace"), False


def _spaced(text: str) -> str:
    return text.replace("T", " ")


def _differing(one: str, other: str) -> int:
    return sum(a != b for a, b in zip(one, other, strict=False)) + abs(len(one) - len(other))
