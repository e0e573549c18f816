"""How much of a product may leave: as rows with one answer, as rows in one day, and as a file out of a workspace.

Laws: what a contract does not name has the default below, and nothing is without a cap; a day has at least what one
answer may have, or an answer could never leave; of several products the least holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kaianalytics.policy.reading import Part, Properties

MIB = 1024 * 1024
ROWS_PER_QUERY, BYTES_PER_QUERY = 5_000_000, 512 * MIB
BYTES_PER_QUERY_MOST = 2048 * MIB  # an answer is whole in the gateway's memory before it leaves
ANSWERS_PER_DAY = 4  # so many of the largest answers make a day, where a contract does not say
DOWNLOAD_BYTES, DOWNLOAD_BYTES_MOST = MIB, 64 * MIB
_MOST = 10**15  # of any count: the records hold it
_FIELDS = ("rowsPerQuery", "bytesPerQuery", "rowsPerDay", "bytesPerDay")


@dataclass(frozen=True)
class RowsCaps:
    """The most of a product that leaves as rows: with one answer, and to one analyst for one purpose in one day."""

    rows_per_query: int = ROWS_PER_QUERY
    bytes_per_query: int = BYTES_PER_QUERY
    rows_per_day: int = ROWS_PER_QUERY * ANSWERS_PER_DAY
    bytes_per_day: int = BYTES_PER_QUERY * ANSWERS_PER_DAY

    def __post_init__(self) -> None:
        if not (1 <= self.rows_per_query <= self.rows_per_day and 1 <= self.bytes_per_query <= self.bytes_per_day):
            raise ValueError("a cap is above zero, and a day has at least what one answer may have")


DEFAULT_CAPS = RowsCaps()


def one_answer(caps: Iterable[RowsCaps]) -> tuple[int, int]:
    """The rows and the bytes that one answer over all of these may have: the least of each."""
    stated = list(caps)
    return min(each.rows_per_query for each in stated), min(each.bytes_per_query for each in stated)


def read_rows_caps(ours: Properties) -> RowsCaps:
    """The product's `kai.rowsCaps`; of what it leaves out, the default that fits what it says."""
    part = ours.part("kai.rowsCaps") if ours.has("kai.rowsCaps") else None
    if part is None:
        return DEFAULT_CAPS
    part.only(*_FIELDS)
    if not part.names:
        part.fault("no cap is named", f"known here: {', '.join(_FIELDS)}")
    rows = _pair(part, "rowsPerQuery", "rowsPerDay", ROWS_PER_QUERY, _MOST)
    sizes = _pair(part, "bytesPerQuery", "bytesPerDay", BYTES_PER_QUERY, BYTES_PER_QUERY_MOST)
    return RowsCaps(rows[0], sizes[0], rows[1], sizes[1])


def read_download_bytes(ours: Properties) -> int:
    """The product's `kai.downloadBytes`; 0 lets no file out."""
    if not ours.has("kai.downloadBytes"):
        return DOWNLOAD_BYTES
    return _at_most(ours, "kai.downloadBytes", DOWNLOAD_BYTES_MOST, least=0)


def _pair(part: Part, query: str, day: str, default: int, most: int) -> tuple[int, int]:
    """What one answer and what one day may have."""
    of_day = _at_most(part, day, _MOST) if part.has(day) else None
    of_query = _at_most(part, query, most) if part.has(query) else min(default, of_day or default)
    if of_day is None:
        return of_query, of_query * ANSWERS_PER_DAY
    if of_day < of_query:
        part.fault(f"a day has at least what one answer may have: `{day}` is below `{query}`", at=day)
        return of_query, of_query
    return of_query, of_day


def _at_most(part: Part, key: str, most: int, least: int = 1) -> int:
    value = part.whole(key, least)
    if value > most:
        part.fault(f"`{key}` is at most {most:,}", at=key)
        return most
    return value
