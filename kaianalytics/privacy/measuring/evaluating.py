"""What is made of noisy measures after the noise: the `After` of a figure, evaluated for all cells at once.

Laws: it reads noisy measures and keys and nothing else, so that it costs nothing; it raises for no value of them; NULL
is SQL's: unknown in a comparison, skipped by LEAST, GREATEST and COALESCE, infectious elsewhere.

A column of numbers is `Estimates`, which know their error; one of texts, dates or truth values is a plain list, with
None for what is missing. A comparison of noisy numbers is decided as they stand.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from kaianalytics.privacy.measuring import propagation as error
from kaianalytics.privacy.measuring.propagation import Estimates, settled
from kaianalytics.privacy.query import After, Apply, Constant, KeyOf, Number, Of, QuantileOf, TopOf

Plain = list[Any]
Column = Estimates | Plain

_COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Cells(Protocol):
    """Where the noisy measures and the keys of the cells come from."""

    @property
    def count(self) -> int:
        """How many cells there are."""

    def measure(self, of: Of) -> Estimates:
        """A measure's number in each cell."""

    def quantile(self, of: QuantileOf) -> Estimates:
        """A quantile in each cell."""

    def top(self, of: TopOf) -> Plain:
        """The value at a rank in each cell."""

    def key(self, of: KeyOf) -> Plain:
        """A key in each cell."""


Source = TypeVar("Source", bound=Cells)


@dataclass(frozen=True)
class Evaluation(Generic[Source]):
    """The columns of one answer; each part that several figures share is computed once."""

    cells: Source
    _known: dict[After, Column] = field(default_factory=dict)

    def column(self, after: After) -> Column:
        """The value in every cell."""
        if after not in self._known:
            with np.errstate(all="ignore"):
                column = self._leaf(after) if not isinstance(after, Apply) else self._applied(after)
            self._known[after] = settled(column) if isinstance(column, Estimates) else column
        return self._known[after]

    def _leaf(self, after: After) -> Column:
        if isinstance(after, Number):
            return self._constant(float(after.value))
        if isinstance(after, Constant):
            return [after.value] * self.cells.count
        if isinstance(after, KeyOf):
            return self.cells.key(after)
        if isinstance(after, TopOf):
            return self.cells.top(after)
        return self.cells.quantile(after) if isinstance(after, QuantileOf) else self.cells.measure(after)  # type: ignore[arg-type]

    def _constant(self, value: float) -> Estimates:
        return Estimates(np.full(self.cells.count, value))

    def _applied(self, after: Apply) -> Column:
        columns = [self.column(argument) for argument in after.arguments]
        if after.operation in _COMPARE:
            return _compared(_COMPARE[after.operation], *columns)
        if after.operation in _LOGIC:
            return _LOGIC[after.operation](*map(_plain, columns))
        if after.operation in ("coalesce", "nullif", "case"):
            return _CHOICES[after.operation](columns)
        numbers = [_numbers(column) for column in columns]
        return _ARITHMETIC[after.operation](numbers)


# --- arithmetic


_ARITHMETIC: Mapping[str, Callable[[Sequence[Estimates]], Estimates]] = {
    "+": lambda n: error.plus(n[0], n[1]),
    "-": lambda n: error.plus(n[0], n[1], -1.0) if len(n) > 1 else error.negated(n[0]),
    "*": lambda n: error.times(n[0], n[1]),
    "/": lambda n: error.over(n[0], n[1]),
    "negate": lambda n: error.negated(n[0]),
    "abs": lambda n: error.absolute(n[0]),
    "sqrt": lambda n: error.root(n[0]),
    "round": lambda n: error.rounded(n[0], "round", _places(n[1:])),
    "floor": lambda n: error.rounded(n[0], "floor"),
    "ceil": lambda n: error.rounded(n[0], "ceil"),
    "least": lambda n: error.extreme(n, "least"),
    "greatest": lambda n: error.extreme(n, "greatest"),
}


def _places(numbers: Sequence[Estimates]) -> int:
    """The second argument of ROUND, a constant: beyond 30 places either way a number has none."""
    places = numbers[0].values[:1] if numbers else np.zeros(1)
    return int(np.clip(np.nan_to_num(places), -30, 30).sum())


# --- truth


def _compared(holds: Callable[[Any, Any], Any], one: Column, two: Column) -> Plain:
    return [
        None if a is None or b is None else _holds(holds, a, b) for a, b in zip(_plain(one), _plain(two), strict=True)
    ]


def _holds(holds: Callable[[Any, Any], Any], a: Any, b: Any) -> bool | None:
    try:
        return bool(holds(a, b))
    except TypeError:  # of two types that have no order: unknown, whatever the values
        return None


def _and(*columns: Plain) -> Plain:
    return [False if False in row else None if None in row else True for row in zip(*columns, strict=True)]


def _or(*columns: Plain) -> Plain:
    return [True if True in row else None if None in row else False for row in zip(*columns, strict=True)]


_LOGIC: Mapping[str, Callable[..., Plain]] = {
    "and": _and,
    "or": _or,
    "not": lambda column: [None if value is None else not value for value in column],
    "is_null": lambda column: [value is None for value in column],
}


# --- choices


def _coalesce(columns: Sequence[Column]) -> Column:
    result = columns[0]
    for column in columns[1:]:
        result = _chosen([value is not None for value in _plain(result)], result, column)
    return result


def _nullif(columns: Sequence[Column]) -> Column:
    equal = [value is True for value in _compared(operator.eq, columns[0], columns[1])]
    return _chosen(equal, [None] * len(equal), columns[0])


def _case(columns: Sequence[Column]) -> Column:
    *pairs, result = columns if len(columns) % 2 else (*columns, [None] * len(_plain(columns[0])))
    for condition, value in reversed(list(zip(pairs[::2], pairs[1::2], strict=True))):
        result = _chosen([truth is True for truth in _plain(condition)], value, result)
    return result


_CHOICES: Mapping[str, Callable[[Sequence[Column]], Column]] = {
    "coalesce": _coalesce,
    "nullif": _nullif,
    "case": _case,
}


def _chosen(where: Sequence[bool], one: Column, two: Column) -> Column:
    if _is_numeric(one) and _is_numeric(two):
        return error.chosen(np.array(where, dtype=bool), _numbers(one), _numbers(two))
    return [a if here else b for here, a, b in zip(where, _plain(one), _plain(two), strict=True)]


# --- from one kind of column to the other


def _is_numeric(column: Column) -> bool:
    return isinstance(column, Estimates) or all(value is None for value in column)


def _numbers(column: Column) -> Estimates:
    """A plain column as numbers without error: whole-number keys and truth values are, all else is missing."""
    if isinstance(column, Estimates):
        return column
    return Estimates(np.array([float(v) if isinstance(v, int) else np.nan for v in column], dtype=np.float64))


def _plain(column: Column) -> Plain:
    if isinstance(column, Estimates):
        return [None if value != value else value for value in column.values.tolist()]
    return column
