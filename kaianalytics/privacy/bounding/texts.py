"""Pieces of SQL text: constants and names that can't be anything else, and the few formulas that bounding is made of.

Laws: a literal is written by sqlglot from its value and type, or made of digits; a name is always quoted; every
formula is total.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal

from sqlglot import exp

from kaianalytics.privacy.expressions.writing import literal_of
from kaianalytics.privacy.unit import ColumnType, KeyValue

SAFETY = 1 - 2.0**-40  # more than what the rounding of doubles can add: see `forms`


def quoted(name: str) -> str:
    """A name as an identifier."""
    return exp.to_identifier(name, quoted=True).sql(dialect="duckdb")


def literal(value: KeyValue | Decimal, kind: ColumnType) -> str:
    """A constant of one type."""
    return literal_of(value, kind).sql(dialect="duckdb", copy=False)


def literals(values: Iterable[KeyValue | Decimal], kind: ColumnType) -> str:
    """Constants of one type in a row, written at once: there may be many."""
    if kind == "date":  # a day of each year is soon some thousands, which sqlglot takes as many hundredths for
        return ", ".join(f"CAST('{value.isoformat()}' AS DATE)" for value in values if isinstance(value, date))
    return exp.Tuple(expressions=[literal_of(value, kind) for value in values]).sql(dialect="duckdb", copy=False)[1:-1]


def day(value: date) -> str:
    """A constant day."""
    return literal(value, "date")


def double(value: float) -> str:
    """A constant double, exactly: read from text, for a plain number would be a DECIMAL on its way."""
    return f"CAST('{value!r}' AS DOUBLE)"


def listed(*lists: Sequence[str]) -> str:
    """Columns in a row."""
    return ", ".join(column for columns in lists for column in columns)


def grouped(columns: Sequence[str]) -> str:
    """GROUP BY, where there is something to group by."""
    return f" GROUP BY {', '.join(columns)}" if columns else ""


def times(scale: int, value: str) -> str:
    """A whole number of times the value."""
    return value if scale == 1 else f"{scale} * {value}"


def limited(value: str, low: int, high: int) -> str:
    """A whole number between two, which a whole number of any size can be made."""
    return f"CAST(GREATEST(LEAST({value}, {high}), {low}) AS BIGINT)"


def whole_number(value: str) -> str:
    """A double as the nearest whole number; missing where it is too large for one, which its writer excludes."""
    return f"TRY_CAST({value} AS BIGINT)"


def shrunk(value: str, most: int, size: str) -> str:
    """The whole part of the value times most/size, where that quotient is below one."""
    return whole_number(f"TRUNC(CAST({value} AS DOUBLE) * ({double(most * SAFETY)} / ({size})))")


def hashed(columns: Sequence[str]) -> str:
    """A fixed, evenly spread order, made of what one unit's own rows hold."""
    text = " || '|' || ".join(f"COALESCE('=' || CAST({column} AS VARCHAR), '')" for column in columns)
    return f"MD5({text})"
