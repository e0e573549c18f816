"""Functions of texts and dates in Python, letter for letter and day for day what the engine makes of them.

Laws: they take present values within the calendar, and are total; where DuckDB 2.0 has its own way (one letter for one
letter in upper and lower case, weeks as sevens of days), it is this way. A property test compares them with the engine.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta

from kaianalytics.privacy.expressions.signatures import shift_range

# --- texts


def lower(text: str) -> str:
    """Lower case, one letter for one letter as DuckDB does; Python's own makes two of some."""
    return "".join("i" if letter == "İ" else letter.lower() for letter in text)


def upper(text: str) -> str:
    """Upper case, one letter for one letter as DuckDB does."""
    return "".join(_SHARP.get(letter) or _one(letter.upper()) or _one(letter.title()) or letter for letter in text)


_SHARP = {"ß": "ẞ"}


def _one(letters: str) -> str:
    return letters if len(letters) == 1 else ""


def trim(text: str) -> str:
    """The text without the blanks around it."""
    blanks = "".join({letter for letter in text if unicodedata.category(letter) == "Zs"})
    return text.strip(blanks) if blanks else text


def left(text: str, count: int) -> str:
    """The first letters, or all but the last if negative."""
    return text[:count]


def right(text: str, count: int) -> str:
    """The last letters, or all but the first if negative."""
    if count >= 0:
        return text[max(len(text) - count, 0) :]
    return text[-count:]


def substr(text: str, place: int, count: int | None = None) -> str:
    """Letters from a place on, which counts from 1, or from the end if negative."""
    # What lies outside the text is counted off and not given.
    start = place - 1 if place >= 0 else len(text) + place
    if count is None:
        return text[max(start, 0) :]
    return text[max(min(start, start + count), 0) : max(start, start + count, 0)]


def like(pattern: str, text: str) -> bool:
    """Whether a text matches a LIKE pattern: greedy with one step back, so never longer than pattern × text."""
    at, star, resume, here = 0, -1, 0, 0
    while here < len(text):
        if at < len(pattern) and pattern[at] == "%":
            star, resume, at = at, here, at + 1
        elif at < len(pattern) and pattern[at] in ("_", text[here]):
            at, here = at + 1, here + 1
        elif star >= 0:
            at, resume = star + 1, resume + 1
            here = resume
        else:
            return False
    return not pattern[at:].strip("%")


# --- dates


def timed(value: date) -> datetime:
    """A date as the midnight that it begins with."""
    return value if isinstance(value, datetime) else datetime.combine(value, time())


def date_trunc(part: str, value: date) -> date:
    """The beginning of the part of the calendar that a date or a time lies in."""
    at = timed(value)
    floors: Mapping[str, Callable[[], datetime]] = {
        "year": lambda: datetime(at.year, 1, 1),
        "quarter": lambda: datetime(at.year, at.month - (at.month - 1) % 3, 1),
        "month": lambda: datetime(at.year, at.month, 1),
        "week": lambda: datetime(at.year, at.month, at.day) - timedelta(days=at.weekday()),
        "day": lambda: datetime(at.year, at.month, at.day),
        "hour": lambda: at.replace(minute=0, second=0, microsecond=0),
        "minute": lambda: at.replace(second=0, microsecond=0),
        "second": lambda: at.replace(microsecond=0),
    }
    floor = floors[part]()
    return floor if isinstance(value, datetime) else floor.date()


def date_part(part: str, value: date) -> int:
    """A part of a date or a time, as a whole number."""
    at = timed(value)
    parts: Mapping[str, int] = {
        "quarter": (at.month + 2) // 3,
        "week": at.isocalendar().week,
        "dayofweek": at.isoweekday() % 7,
        "isodow": at.isoweekday(),
        "dayofyear": at.timetuple().tm_yday,
    }
    return parts[part] if part in parts else int(getattr(at, part))


def date_diff(part: str, one: date, two: date) -> int:
    """How many boundaries of a part lie between two dates; of weeks, how many sevens of days."""
    if part == "week":
        return int(date_diff("day", one, two) / 7)
    first, last = date_trunc(part, timed(one)), date_trunc(part, timed(two))
    months = {"year": 12, "quarter": 3, "month": 1}.get(part)
    if months is not None:
        return ((last.year - first.year) * 12 + last.month - first.month) // months
    return (timed(last) - timed(first)) // timedelta(**{f"{part}s": 1})


def date_add(value: date, months: int, days: int, microseconds: int) -> date | None:
    """A date or a time moved by a shift; missing near the ends of the calendar, as the SQL has it."""
    at = timed(value)
    first, last = shift_range(months, days, microseconds)
    if not first <= at <= last:
        return None
    place = at.year * 12 + at.month - 1 + months
    year, month = divmod(place, 12)
    shifted = at.replace(year=year, month=month + 1, day=min(at.day, _days_in(year, month + 1)))
    shifted += timedelta(days=days, microseconds=microseconds)
    return shifted if isinstance(value, datetime) or microseconds else shifted.date()


def _days_in(year: int, month: int) -> int:
    return 31 if month == 12 else (date(year, month + 1, 1) - timedelta(days=1)).day
