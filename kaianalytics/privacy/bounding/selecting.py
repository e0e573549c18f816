"""Which share of rows a filter is expected to let through: guessed from public facts, as a query optimiser does.

Laws: a guess steers which bound is chosen and nothing of what it guarantees; it is made from the filter's text,
declared keys and declared bounds alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal

from kaianalytics.privacy.expression import Call, ColumnOf, Expression, Literal
from kaianalytics.privacy.query import Source, StatisticsQuery
from kaianalytics.privacy.unit import StatisticsColumn

UNKNOWN = 1 / 3
_LEAST = 1e-4
_BELOW = {"<", "<="}
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


def selected(query: StatisticsQuery, where: Expression | None = None) -> float:
    """The share of rows that the question's filter and another one are expected to let through."""
    parts = [part for part in (query.where, where) if part is not None]
    share = 1.0
    for part in parts:
        share *= _share(part, query.source)
    return max(share, _LEAST)


def _share(condition: Expression, source: Source) -> float:
    if isinstance(condition, Literal):
        return 1.0 if condition.value is True else 0.0
    if isinstance(condition, ColumnOf):
        return 0.5
    known = _SHARES.get(condition.operation)
    return UNKNOWN if known is None else known(condition, source)


def _all(call: Call, source: Source) -> float:
    share = 1.0
    for part in call.arguments:
        share *= _share(part, source)
    return share


def _any(call: Call, source: Source) -> float:
    missed = 1.0
    for part in call.arguments:
        missed *= 1 - _share(part, source)
    return 1 - missed


def _not(call: Call, source: Source) -> float:
    return 1 - _share(call.arguments[0], source)


def _equal(call: Call, source: Source) -> float:
    column = _column(call.arguments, source)
    return 1 / _distinct(column) if column else 0.1


def _member(call: Call, source: Source) -> float:
    column = _column(call.arguments[:1], source)
    count = len(call.arguments) - 1
    return min(count / _distinct(column), 1.0) if column else UNKNOWN


def _compared(call: Call, source: Source) -> float:
    one, two = call.arguments
    if isinstance(one, Literal):
        one, two, operation = two, one, _MIRRORED[call.operation]
    else:
        operation = call.operation
    column = _column((one,), source)
    below = None if column is None or not isinstance(two, Literal) else _below(column, two)
    if below is None:
        return UNKNOWN
    return below if operation in _BELOW else 1 - below


def _below(column: StatisticsColumn, limit: Literal) -> float | None:
    """The share of the column's declared range that lies below the limit."""
    ends = _range(column)
    at = _place(limit.value)
    if ends is None or at is None or ends[0] >= ends[1]:
        return None
    return min(max((at - ends[0]) / (ends[1] - ends[0]), 0.0), 1.0)


def _range(column: StatisticsColumn) -> tuple[float, float] | None:
    if column.bounds is not None:
        return float(column.bounds.lower), float(column.bounds.upper)
    ends = None if column.domain is None else [_place(value) for value in column.domain.ends]
    return (ends[0], ends[1]) if ends and ends[0] is not None and ends[1] is not None else None


def _place(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float | Decimal):
        return float(value)
    if isinstance(value, datetime):
        return value.toordinal() + value.hour / 24
    return float(value.toordinal()) if isinstance(value, date) else None


def _column(arguments: Sequence[Expression], source: Source) -> StatisticsColumn | None:
    found = next((argument for argument in arguments if isinstance(argument, ColumnOf)), None)
    return None if found is None else source.relations[found.relation].view.columns.get(found.name)


def _distinct(column: StatisticsColumn) -> int:
    if column.type == "boolean":
        return 2
    return len(column.domain.values) if column.domain else 10


_SHARES: dict[str, Callable[[Call, Source], float]] = {
    "and": _all,
    "or": _any,
    "not": _not,
    "=": _equal,
    "is not distinct from": _equal,
    "<>": lambda call, source: 1 - _equal(call, source),
    "is distinct from": lambda call, source: 1 - _equal(call, source),
    "in": _member,
    "like": lambda call, source: 0.25,
    "ilike": lambda call, source: 0.25,
    "is_null": lambda call, source: 0.1,
    "present": lambda call, source: 0.9,
    **dict.fromkeys(("<", "<=", ">", ">="), _compared),
}
