"""Which windows a question reads, proved from its own text before any data is read.

Laws: the windows are those that the literal bounds on the event time leave, among the declared ones; what isn't
understood bounds nothing, so that more windows are charged rather than fewer; and the SQL reads rows of exactly these
windows (`rows.source_of`), by the window that the builder stored, so that the proof needs no faith in the bounds.

A unit is one customer in one window. So a row may rest on rows of one window alone: views with windows are joined
within a window, and none of them may be missing from a joined row whose window it would name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from kaianalytics.privacy.expression import Call, ColumnOf, Expression, Literal, columns_of, conjuncts
from kaianalytics.privacy.expressions.evaluation import evaluate
from kaianalytics.privacy.query import Source, StatisticsQuery
from kaianalytics.privacy.refusals import unsupported
from kaianalytics.privacy.unit import Windows, WindowSpan

_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "="}
_FLOORS = frozenset({"to_date", "to_timestamp", "date_trunc"})  # of a time: no later than it
_LONGEST: Mapping[str, int] = {"week": 6, "month": 30, "quarter": 91, "year": 365}  # days after the first
_TICK = timedelta(microseconds=1)
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class WindowsRead:
    """The first days of the windows read, without a gap, and the relations whose rows lie in them."""

    days: tuple[date, ...]
    relations: tuple[int, ...]

    @property
    def many(self) -> bool:
        """Whether one customer may be several units."""
        return len(self.days) > 1


def windows_read(query: StatisticsQuery) -> WindowsRead | None:
    """The windows that the question reads, or None where its units are whole customers.

    Raises QueryUnsupported: WINDOWS_NONE, WINDOWS_DIFFER, WINDOWS_OPTIONAL.
    """
    relations = windowed(query.source)
    if not relations:
        return None
    windows = _windows(query.source, relations[0])
    _check_joins(query.source, relations)
    first, last = windows.first, windows.last
    for relation in relations:  # they agree on the window, so a bound on one's event time bounds it for all
        own = _windows(query.source, relation)
        earliest, latest = _bounded(query.where, relation, own.column)
        first, last = max(first, own.first, earliest), min(last, own.last, latest)
    days = tuple(_days(first, last, windows.span)) if first <= last else ()
    if not days:
        raise unsupported("WINDOWS_NONE", first=windows.first.isoformat(), last=windows.last.isoformat())
    return WindowsRead(days, relations)


def windowed(source: Source) -> tuple[int, ...]:
    """The places of the relations that have windows."""
    return tuple(place for place, relation in enumerate(source.relations) if relation.view.windows)


def start_of(day: date, span: WindowSpan) -> date:
    """The first day of the window of this span that the day lies in."""
    match span:
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
        case "quarter":
            return day.replace(month=day.month - (day.month - 1) % 3, day=1)
        case "year":
            return day.replace(month=1, day=1)


def _windows(source: Source, relation: int) -> Windows:
    windows = source.relations[relation].view.windows
    assert windows is not None  # chosen for having them
    return windows


def _check_joins(source: Source, relations: tuple[int, ...]) -> None:
    if len({_windows(source, relation).span for relation in relations}) > 1:
        raise unsupported("WINDOWS_DIFFER")
    for place in relations:
        kind = "inner" if place == 0 else source.joins[place - 1].kind
        # Where the row that names the window is missing, the joined row would belong to none, and rest on all; and a
        # row that is kept for meeting another, or none, in any window would rest on those windows.
        if kind in ("semi", "anti") or (kind == "left" and place == relations[0]):
            raise unsupported("WINDOWS_OPTIONAL", view=source.relations[place].view.name)


def _days(first: date, last: date, span: WindowSpan) -> Iterator[date]:
    """The first days of all windows from that of `first` to that of `last`."""
    day = start_of(first, span)
    while day <= last:
        yield day
        if day.year == date.max.year and day.month >= 10:
            return
        day = start_of(day + timedelta(days=_LONGEST[span] + 1), span)


# --- bounds on the event time


def _bounded(where: Expression | None, relation: int, column: str) -> tuple[date, date]:
    """Between which days the conditions that must all hold keep the event time."""
    first, last = date.min, date.max
    for part in conjuncts(where):
        for compare, value, time in _comparisons(part):
            reach = _reach(value, relation, column)
            if reach is not None:
                low, high = _ends(compare, time, reach, days=value.type == "date")
                first, last = max(first, low), min(last, high)
    return first, last


def _comparisons(part: Expression) -> Iterator[tuple[str, Expression, datetime]]:
    """The condition as comparisons of something with a literal time, all of which it implies."""
    if not isinstance(part, Call):
        return
    times = [_literal(argument) for argument in part.arguments]
    if part.operation in _MIRRORED:
        one, two = times
        if two is not None:
            yield part.operation, part.arguments[0], two
        elif one is not None:
            yield _MIRRORED[part.operation], part.arguments[1], one
    elif part.operation == "in":
        listed = [time for time in times[1:] if time is not None]
        if len(listed) == len(times) - 1:
            yield ">=", part.arguments[0], min(listed)
            yield "<=", part.arguments[0], max(listed)


def _literal(expression: Expression) -> datetime | None:
    """The time that a literal names, also where it is cast between a date and a time."""
    if columns_of(expression) or expression.type not in ("date", "timestamp"):
        return None
    value = evaluate(expression, lambda column: None)
    if isinstance(value, datetime):
        return value
    return datetime.combine(value, datetime.min.time()) if isinstance(value, date) else None


def _reach(expression: Expression, relation: int, column: str) -> timedelta | None:
    """How many days the event time may be later than this expression of it; None where it is no such expression."""
    reach = timedelta(0)
    while isinstance(expression, Call) and expression.operation in _FLOORS:
        part = expression.arguments[0]
        if expression.operation == "date_trunc" and isinstance(part, Literal):
            reach += timedelta(days=_LONGEST.get(str(part.value), 0))
        expression = expression.arguments[-1]
    ours = isinstance(expression, ColumnOf) and (expression.relation, expression.name) == (relation, column)
    return reach if ours else None


def _ends(compare: str, time: datetime, reach: timedelta, *, days: bool) -> tuple[date, date]:
    """Between which days the event time lies whose value, rounded down by up to `reach`, compares so with `time`."""
    low = time.date() if compare in ("=", ">", ">=") else date.min
    if compare in (">", ">="):
        later = days and compare == ">" and low < date.max  # a day after this one; a time may be later in the day
        return low + _DAY if later else low, date.max
    latest = (time - _TICK).date() if compare == "<" and time > datetime.min else time.date()
    return low, latest + reach if date.max - latest > reach else date.max
