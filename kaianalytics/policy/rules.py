"""What a column rule does to a value: its type afterwards, and every key it can show.

    keep         the value itself
    pseudonym    32 hex digits, keyed per purpose                                 → string
    mask         `***` where there is a value                                     → string
    drop         nothing: the column is absent
    generalise   decade | year | month | week | day   of a date or a timestamp    → date, its first day (weeks: Monday)
                 hour                                 of a timestamp              → timestamp, the full hour
                 bands:20,30,40                       of an integer or a number   → string, one of the labels below
                 prefix:3                             of a text                   → string, its first characters

Bands are half open and leave no value out: `bands:20,30` labels everything below 20 "under 20", whole numbers from 20
to 29 "20 to 29" (numbers with a fraction "20 to under 30"), and the rest "30 and over". A NULL stays NULL. The builder
and the key domains of `policy.views` both take their labels from here, so that they can't differ.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from typing import Literal, get_args

from kaianalytics.policy.contract import Column, ColumnRule
from kaianalytics.privacy.unit import ColumnType, KeyValue

DatePart = Literal["decade", "year", "month", "week", "day", "hour"]
DATE_PARTS: tuple[DatePart, ...] = get_args(DatePart)
MASK = "***"
MAX_KEYS = 10_000  # of one column: no answer may have more cells
MAX_WHOLE_KEYS = 366  # of an integer column grouped as it is: a longer range is a quantity, not a key


@dataclass(frozen=True)
class Band:
    """One band of numbers, `lower` included and `upper` not; None is open."""

    label: str
    lower: Decimal | None
    upper: Decimal | None


@dataclass(frozen=True)
class Bands:
    """Every band of a number, lowest first; together they leave no number out."""

    bands: tuple[Band, ...]


@dataclass(frozen=True)
class Prefix:
    """The first `length` characters."""

    length: int


@dataclass(frozen=True)
class Truncation:
    """The first moment of the decade, year, month, week, day or hour."""

    part: DatePart


Generalisation = Bands | Prefix | Truncation


def generalisation(how: str, source: ColumnType) -> Generalisation:
    """What `how` means for a column of that type; ValueError with a sentence where it means nothing."""
    kind, _, argument = how.partition(":")
    if kind in DATE_PARTS and not argument:
        return _truncation(kind, source)
    if kind == "bands":
        return _bands(argument, source)
    if kind == "prefix":
        return _prefix(argument, source)
    raise ValueError(f"`{how}` is no generalisation: {', '.join(DATE_PARTS)}, bands:20,30 or prefix:3")


def type_after(rule: ColumnRule, source: ColumnType) -> ColumnType:
    """The type of a column after its rule; a dropped column has none, and asking for it is a ValueError."""
    if rule.action == "drop":
        raise ValueError("a dropped column has no type")
    if rule.action == "keep":
        return source
    if rule.action == "generalise":
        meaning = generalisation(rule.how, source)
        if isinstance(meaning, Truncation):
            return "timestamp" if meaning.part == "hour" else "date"
    return "string"


def keys_after(column: Column, rule: ColumnRule) -> tuple[KeyValue, ...]:
    """Every value that the column can show after its rule, as its contract declares; empty where it declares none."""
    if rule.action == "keep":
        return _kept_keys(column)
    if rule.action == "generalise":
        return _generalised_keys(column, generalisation(rule.how, column.type))
    return ()


def first_day(day: date, part: DatePart) -> date:
    """The first day of the decade, year, month, week or day that holds `day`."""
    if part == "decade":
        return date(day.year - day.year % 10 or 1, 1, 1)
    if part == "year":
        return day.replace(month=1, day=1)
    if part == "month":
        return day.replace(day=1)
    return day - timedelta(days=day.weekday()) if part == "week" else day


def _truncation(part: DatePart | str, source: ColumnType) -> Truncation:
    if source not in ("date", "timestamp") or (part == "hour" and source == "date"):
        raise ValueError(f"`{part}` generalises {'timestamps' if part == 'hour' else 'dates and timestamps'} alone")
    return Truncation(next(known for known in DATE_PARTS if known == part))


def _prefix(argument: str, source: ColumnType) -> Prefix:
    if source != "string":
        raise ValueError("`prefix` generalises texts alone")
    if not argument.isascii() or not argument.isdigit() or int(argument) < 1:
        raise ValueError("`prefix` needs a whole number of characters from 1 upwards, such as prefix:3")
    return Prefix(int(argument))


def _bands(argument: str, source: ColumnType) -> Bands:
    if source not in ("integer", "number"):
        raise ValueError("`bands` generalises integers and numbers alone")
    edges = [_edge(text, source) for text in argument.split(",")]
    if any(low >= high for low, high in itertools.pairwise(edges)):
        raise ValueError("the edges of bands rise from left to right")
    inner = (
        Band(_label(low, high, source), low, high)  # of numbers from `low` to below `high`
        for low, high in itertools.pairwise(edges)
    )
    lowest, highest = Band(f"under {edges[0]}", None, edges[0]), Band(f"{edges[-1]} and over", edges[-1], None)
    return Bands((lowest, *inner, highest))


def _edge(text: str, source: ColumnType) -> Decimal:
    try:
        edge = Decimal(text.strip())
    except InvalidOperation:
        raise ValueError("`bands` needs numbers with commas between them, such as bands:20,30,40") from None
    if not edge.is_finite() or (source == "integer" and edge != edge.to_integral_value()):
        raise ValueError("the edges of bands are finite numbers, and whole ones for an integer column")
    return edge


def _label(low: Decimal, high: Decimal, source: ColumnType) -> str:
    if source == "number":
        return f"{low} to under {high}"
    return str(low) if high - low == 1 else f"{low} to {high - 1}"


def _kept_keys(column: Column) -> tuple[KeyValue, ...]:
    if column.type == "boolean":
        return (False, True)
    if column.enum:
        return tuple(int(value) for value in column.enum) if column.type == "integer" else column.enum
    if column.minimum is None or column.maximum is None:
        return ()
    if column.type == "date":
        return _dates(column, "day")
    return _whole_keys(column) if column.type == "integer" else ()


def _whole_keys(column: Column) -> tuple[KeyValue, ...]:
    step = int(column.step or 1)
    keys = range(int(column.minimum or 0), int(column.maximum or 0) + 1, step)
    return tuple(keys) if len(keys) <= MAX_WHOLE_KEYS else ()


def _generalised_keys(column: Column, meaning: Generalisation) -> tuple[KeyValue, ...]:
    if isinstance(meaning, Bands):
        return tuple(band.label for band in meaning.bands if _reaches(column, band))
    if isinstance(meaning, Prefix):
        return tuple(dict.fromkeys(value[: meaning.length] for value in column.enum))
    if meaning.part == "hour" or column.minimum is None or column.maximum is None:
        return ()
    return _dates(column, meaning.part)


def _reaches(column: Column, band: Band) -> bool:
    """Whether a value inside the column's declared range can lie in the band."""
    above = column.minimum is None or band.upper is None or Decimal(column.minimum) < band.upper
    below = column.maximum is None or band.lower is None or Decimal(column.maximum) >= band.lower
    return above and below


def _dates(column: Column, part: DatePart) -> tuple[KeyValue, ...]:
    first, last = day_of(column.minimum or ""), day_of(column.maximum or "")
    keys: list[KeyValue] = []
    for day in _steps(first_day(first, part), last, part):
        keys.append(day)
        if len(keys) > MAX_KEYS:
            return ()
    return tuple(keys)


def _steps(day: date, last: date, part: DatePart) -> Iterator[date]:
    # 31 days, 366 days and 3,660 days always lead into the next month, year and decade, and never past it.
    stride = {"day": 1, "week": 7, "month": 31, "year": 366, "decade": 3660}[part]
    while day <= last:
        yield day
        day = first_day(day + timedelta(days=stride), part)


def day_of(text: str) -> date:
    """The day of a date or timestamp as a contract writes it; ValueError where it is neither."""
    return date.fromisoformat(text[:10]) if len(text) > 10 else date.fromisoformat(text)
