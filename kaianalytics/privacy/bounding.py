"""From a question to bounded whole numbers: the SQL to run, the cells to answer, how far one unit can move them.

Laws: a unit's part in the answer depends on its own rows alone, lies within `linf` steps in each cell and touches at
most n = min(groups, cells) cells, so adding or removing it moves the vector of one aggregate by at most l2 = ⌈linf·√n⌉;
2³¹ units stay below 2⁶², proved here before anything is read; the figures are integers from end to end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Context, Decimal, Inexact
from math import isqrt
from typing import Any, Literal

from kaianalytics.errors import Fault
from kaianalytics.privacy.cells import Cell, cells_of, remaining
from kaianalytics.privacy.query import Aggregate, Key, StatisticsQuery
from kaianalytics.privacy.refusals import unsupported
from kaianalytics.privacy.statement import TOTAL_LIMIT, bounded_statement, sum_limits
from kaianalytics.privacy.unit import KeyValue, StatisticsView, ValueBounds

MAX_UNITS = 2**31

_EXACT = Context(prec=200, traps=[Inexact])


@dataclass(frozen=True)
class BoundedColumn:
    """One aggregate: `cells` whole numbers of `step`, moved by one unit by at most `l2` (L2, in steps)."""

    name: str
    role: Literal["count", "sum"]
    l2: int
    step: Decimal
    cells: int
    sentence: str

    def __post_init__(self) -> None:
        if self.l2 < 1 or self.step <= 0 or self.cells < 1:
            raise ValueError("a bounded column has l2 >= 1, step > 0 and at least one cell")

    @property
    def whole(self) -> bool:
        """Whether every value of the column is a whole number."""
        return self.step == self.step.to_integral_value()


@dataclass(frozen=True)
class BoundedAggregate:
    """The bounded form of one question.

    `sql` gives the keys and an integer per aggregate for the cells present; `keys` are all cells of the answer;
    `columns` describe the aggregates in the order of the SELECT, `select` all of it; `bounding` says what is left out.
    """

    sql: str
    select: tuple[Key | Aggregate, ...]
    keys: tuple[Cell, ...]
    columns: tuple[BoundedColumn, ...]
    bounding: tuple[str, ...]

    def assemble(self, rows: Iterable[Sequence[Any]]) -> list[list[int]]:
        """The rows of `sql` as one vector of integers per aggregate, over all cells in their order, absent ones 0.

        Raises Fault BOUNDED_ROWS for rows that the statement can't have given.
        """
        width = len(self.select) - len(self.columns)
        found: dict[Cell, tuple[int, ...]] = {}
        cells = frozenset(self.keys)
        for row in rows:
            cell, figures = tuple(row[:width]), tuple(row[width:])
            if cell not in cells or cell in found or not _are_figures(figures, len(self.columns)):
                raise _not_ours()
            found[cell] = figures
        zeros = (0,) * len(self.columns)
        answered = [found.get(cell, zeros) for cell in self.keys]
        return [list(vector) for vector in zip(*answered, strict=True)]

    def table(self, vectors: Sequence[Sequence[int]]) -> tuple[tuple[KeyValue | Decimal, ...], ...]:
        """Noisy vectors as rows in the order of the SELECT: keys, and figures in the units of their columns, exactly.

        A figure is an int where its column's step is whole, else a Decimal.
        """
        scaled = [
            [_in_units(value, column) for value in vector] for column, vector in zip(self.columns, vectors, strict=True)
        ]
        return tuple(
            self._row(cell, figures) for cell, figures in zip(self.keys, zip(*scaled, strict=True), strict=True)
        )

    def _row(self, cell: Cell, figures: Sequence[int | Decimal]) -> tuple[KeyValue | Decimal, ...]:
        keys, numbers = iter(cell), iter(figures)
        return tuple(next(keys) if isinstance(item, Key) else next(numbers) for item in self.select)


def compile_query(query: StatisticsQuery, view: StatisticsView) -> BoundedAggregate:
    """The bounded form of the question under the view's bounds; QueryUnsupported when it can't be proved within them.

    The question is checked again against `view`, whose bounds are the ones that hold.
    """
    query = replace(query, view=view)
    cells = cells_of(query)
    touched = min(view.contribution.groups, len(cells))
    columns = tuple(_column(view, aggregate, touched, len(cells)) for aggregate in query.aggregates)
    values = [remaining(cells, position) for position in range(len(query.keys))]
    sql = bounded_statement(query, values, cap_cells=touched < len(cells))
    sentences = (*_unit_sentences(view, len(cells)), *(column.sentence for column in columns))
    return BoundedAggregate(sql, query.select, cells, columns, sentences)


def _column(view: StatisticsView, aggregate: Aggregate, touched: int, cells: int) -> BoundedColumn:
    rows, bounds = view.contribution.rows_per_group, _bounds(view.columns, aggregate)
    low, high = (0, rows) if bounds is None else sum_limits(bounds, rows)
    linf = max(-low, high)
    if MAX_UNITS * linf >= TOTAL_LIMIT:
        raise unsupported("BOUNDS_TOO_WIDE", name=aggregate.name)
    step = Decimal(1) if bounds is None else bounds.step
    sentence = _sentence(view, aggregate, bounds)
    return BoundedColumn(
        aggregate.name, aggregate.function, _rounded_up_root(linf * linf * touched), step, cells, sentence
    )


def _bounds(columns: Mapping[str, Any], aggregate: Aggregate) -> ValueBounds | None:
    bounds: ValueBounds | None = None if aggregate.column is None else columns[aggregate.column].bounds
    return bounds


def _rounded_up_root(square: int) -> int:
    root = isqrt(square)
    return root if root * root == square else root + 1


def _unit_sentences(view: StatisticsView, cells: int) -> tuple[str, ...]:
    unit, groups = view.unit.column, view.contribution.groups
    sentences = [f"Rows without {unit} are left out."] if _may_miss_unit(view) else []
    if groups < cells:
        sentences.append(
            f"Each {unit} counts in at most {groups} of the {cells} groups; further ones are left out, by a fixed hash."
        )
    return tuple(sentences)


def _may_miss_unit(view: StatisticsView) -> bool:
    return view.unit.column not in view.columns or view.columns[view.unit.column].nullable


def _sentence(view: StatisticsView, aggregate: Aggregate, bounds: ValueBounds | None) -> str:
    unit, rows = view.unit.column, view.contribution.rows_per_group
    if bounds is None:
        counted = "1 row is" if rows == 1 else f"{rows} rows are"
        return f"{aggregate.name}: at most {counted} counted per {unit} and group; further ones are left out."
    low, high = (_EXACT.multiply(limit, bounds.step) for limit in sum_limits(bounds, rows))
    return (
        f"{aggregate.name}: values are limited to {bounds.lower:f} … {bounds.upper:f} in steps of {bounds.step:f}, "
        f"and their sum per {unit} and group to {low:f} … {high:f}; missing values are left out."
    )


def _are_figures(figures: tuple[Any, ...], count: int) -> bool:
    return len(figures) == count and all(type(figure) is int and abs(figure) <= TOTAL_LIMIT for figure in figures)


def _in_units(value: int, column: BoundedColumn) -> int | Decimal:
    return value * int(column.step) if column.whole else _EXACT.multiply(value, column.step)


def _not_ours() -> Fault:
    return Fault(
        "BOUNDED_ROWS",
        "The engine answered a statistic with rows that its statement can't give.",
        rule="an answer has each declared group at most once, with whole numbers below 2⁶²",
        hint="tell the custodian: nothing was released",
    )
