"""The answer: figures computed from noisy measures, with error bars, supports, and notes of what a reader should know.

Laws: everything here is computed from the plan and from released numbers, and so costs nothing and fails for no value;
a figure that is a measure itself is exact to its last digit; HAVING, ORDER BY and LIMIT see noisy figures only; a
figure that noise could have made anything is None, and a note says so; what was held back is said, not how much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from kaianalytics.privacy.measuring.evaluating import Column, Evaluation, Plain
from kaianalytics.privacy.measuring.measurement import Bar, Measurement
from kaianalytics.privacy.measuring.propagation import Estimates
from kaianalytics.privacy.measuring.quantiles import Z95, Leaves, consistent
from kaianalytics.privacy.plan import Noisy, Plan
from kaianalytics.privacy.query import Figure, KeyColumn, KeyOf, Of, Ordering, QuantileOf, TopOf
from kaianalytics.privacy.unit import KeyValue

AnswerValue = KeyValue | Decimal | float
T = TypeVar("T")
_EXACT = Context(prec=100)


@dataclass(frozen=True)
class AnswerTable:
    """Rows in the order of the SELECT; for each value its half-width at 95% and the rows it rests on, or None.

    `types` names each column's: that of the key, or "integer", "decimal" (exact), "number", or "any" for what is no
    number.
    """

    rows: tuple[tuple[AnswerValue, ...], ...]
    margins: tuple[tuple[float | None, ...], ...]
    supports: tuple[tuple[float | None, ...], ...]
    notes: tuple[str, ...]
    types: tuple[str, ...]


@dataclass(frozen=True)
class NoisyCells:
    """The noisy measures of a plan, as columns over its cells."""

    plan: Plan
    measurement: Measurement
    noisy: Noisy

    @property
    def count(self) -> int:
        """How many cells there are."""
        return len(self.noisy.cells)

    def measure(self, of: Of) -> Estimates:
        """A measure's number in each cell, in its own units."""
        place = self.place(of.measure)
        vector = self.plan.vectors[place]
        if vector.kind == "tree":
            leaves = self._leaves(place)
            deviations = np.array([cell.total_deviation for cell in leaves])
            return Estimates(np.array([cell.total for cell in leaves]), {("tree", of.measure, "total"): deviations})
        numbers = np.array(self.noisy.vectors[place][of.item :: vector.width], dtype=np.float64)
        pull = self.measurement.noises[place].bar.pull
        return Estimates(numbers * float(vector.step), {("noise", place, of.item): np.full(self.count, pull)})

    def quantile(self, of: QuantileOf) -> Estimates:
        """A quantile in each cell, missing where the noise could hide it anywhere."""
        found = [leaves.quantile(float(of.fraction)) for leaves in self._leaves(self.place(of.measure))]
        values = [np.nan if one is None else one.value for one in found]
        pulls = [0.0 if one is None else one.half_width / Z95 for one in found]
        return Estimates(np.array(values), {("tree", of.measure, of.fraction): np.array(pulls)})

    def top(self, of: TopOf) -> Plain:
        """The value at a rank in each cell."""
        domain, place = self.plan.query.measures[of.measure].domain, self.place(of.measure)
        size = len(self.noisy.vectors[place]) // self.count if self.count else 0
        if of.rank >= size:
            return [None] * self.count
        return [domain[chosen] for chosen in self.noisy.vectors[place][of.rank :: size]]

    def key(self, of: KeyOf) -> Plain:
        """A key in each cell."""
        return [cell[of.key] for cell in self.noisy.cells]

    def exact(self, of: Of) -> list[Decimal]:
        """A measure's number in each cell, to the last digit."""
        vector, place = self.plan.vectors[self.place(of.measure)], self.place(of.measure)
        numbers = self.noisy.vectors[place][of.item :: vector.width]
        return [_EXACT.multiply(Decimal(number), vector.step) for number in numbers]

    def whole(self, of: Of) -> list[int]:
        """A measure's number in each cell, to the nearest whole one."""
        vector, place = self.plan.vectors[self.place(of.measure)], self.place(of.measure)
        if vector.step == 1:
            return list(self.noisy.vectors[place][of.item :: vector.width])
        return [int(number.to_integral_value(rounding=ROUND_HALF_EVEN)) for number in self.exact(of)]

    def place(self, measure: int) -> int:
        """Where the measure's vector stands."""
        return self._places[measure]

    @cached_property
    def _places(self) -> dict[int, int]:
        return {vector.measure: place for place, vector in enumerate(self.plan.vectors)}

    @cached_property
    def _trees(self) -> dict[int, list[Leaves]]:
        return {}

    def _leaves(self, place: int) -> list[Leaves]:
        if place not in self._trees:
            vector, deviation = self.plan.vectors[place], self.measurement.noises[place].bar.deviation
            assert vector.tree is not None  # the kind says so
            counts = np.array(self.noisy.vectors[place], dtype=np.float64) * float(vector.step)
            rows = counts.reshape(self.count, vector.width)
            self._trees[place] = [consistent(vector.tree, row, deviation) for row in rows]
        return self._trees[place]


def answer(plan: Plan, measurement: Measurement, noisy: Noisy) -> AnswerTable:
    """The answer to the plan's question from its noisy figures: computed, filtered, ordered and cut."""
    cells = NoisyCells(plan, measurement, noisy)
    evaluation = Evaluation(cells)
    shown = _shown(evaluation, plan)
    columns = [_column(item, evaluation, cells) for item in plan.query.select]
    rows = _rows_of([column.values for column in columns], shown)
    margins = _rows_of([column.margins for column in columns], shown)
    supports = _rows_of([column.supports for column in columns], shown)
    notes = (*_held_back(measurement), *_doubtful(plan, rows), *_selected(plan))
    return AnswerTable(rows, margins, supports, notes, tuple(column.type for column in columns))


def _rows_of(columns: Sequence[Sequence[T]], shown: Sequence[int]) -> tuple[tuple[T, ...], ...]:
    return tuple(zip(*(map(column.__getitem__, shown) for column in columns), strict=True))


# --- columns


@dataclass(frozen=True)
class _Shown:
    """A column of the answer over all cells."""

    type: str
    values: Sequence[AnswerValue]
    margins: Sequence[float | None]
    supports: Sequence[float | None]


def _column(item: KeyColumn | Figure, evaluation: Evaluation[NoisyCells], cells: NoisyCells) -> _Shown:
    nothing = [None] * cells.count
    if isinstance(item, KeyColumn):
        return _Shown(cells.plan.query.keys[item.key].expression.type, cells.key(KeyOf(item.key)), nothing, nothing)
    supports = nothing if item.support is None else _floats(cells.measure(Of(item.support)).values)
    column = evaluation.column(item.value)
    if not isinstance(column, Estimates):
        return _Shown(_type(item, cells.plan), column, nothing, supports)
    if isinstance(item.value, Of) and cells.plan.vectors[cells.place(item.value.measure)].kind != "tree":
        return _measure(item, item.value, cells, supports)
    values, margins = _floats(column.values), _floats(column.half_width + (0.5 if item.whole else 0.0))
    margins = [None if value is None else margin for value, margin in zip(values, margins, strict=True)]
    if item.whole:
        return _Shown("integer", [None if value is None else round(value) for value in values], margins, supports)
    return _Shown("number", values, margins, supports)


def _type(item: Figure, plan: Plan) -> str:
    """The type of a figure that is no number; that of a top measure's values is known."""
    expression = plan.query.measures[item.value.measure].expression if isinstance(item.value, TopOf) else None
    return "any" if expression is None else expression.type


def _measure(item: Figure, of: Of, cells: NoisyCells, supports: Sequence[float | None]) -> _Shown:
    """A figure that is a measure itself: exact, with the exact half-width of its noise."""
    noise = cells.measurement.noises[cells.place(of.measure)]
    margins = [bar_of_measure(item, noise.bar)] * cells.count
    if item.whole or noise.bar.step.is_integer():
        return _Shown("integer", cells.whole(of), margins, supports)
    return _Shown("decimal", cells.exact(of), margins, supports)


def bar_of_measure(item: Figure, bar: Bar) -> float:
    """The half-width of a figure that is a measure itself: the same in every cell, and known before data is read."""
    return bar.half_width + (0.5 if item.whole and not bar.step.is_integer() else 0.0)


def _floats(values: Any) -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]


# --- which rows, in which order


def _shown(evaluation: Evaluation[NoisyCells], plan: Plan) -> list[int]:
    query, rows = plan.query, list(range(evaluation.cells.count))
    if query.having is not None:
        passed = evaluation.column(query.having)
        rows = [row for row in rows if not isinstance(passed, Estimates) and passed[row] is True]
    for term in reversed(query.order):
        rows = _ordered(rows, _values(evaluation.column(term.value)), term)
    return rows[query.offset :][: query.limit]


def _ordered(rows: list[int], values: Sequence[Any], term: Ordering) -> list[int]:
    missing = [row for row in rows if values[row] is None]
    present = [row for row in rows if values[row] is not None]
    # One term may give values of several types, which have no order among them: then each type for itself.
    present.sort(key=lambda row: (type(values[row]).__name__, values[row]), reverse=term.descending)
    return missing + present if term.nulls_first else present + missing


def _values(column: Column) -> Sequence[Any]:
    return _floats(column.values) if isinstance(column, Estimates) else column


# --- notes


def _held_back(measurement: Measurement) -> tuple[str, ...]:
    place = measurement.plan.threshold
    if place is None:
        return ()
    least = measurement.noises[place].threshold
    unit = measurement.plan.query.source.privacy_unit.column
    return (
        f"Groups are shown only where the noisy number of distinct {unit} is {least} or more; "
        "smaller ones are held back, and how many they are is not told.",
    )


def _doubtful(plan: Plan, rows: Sequence[Sequence[AnswerValue]]) -> tuple[str, ...]:
    notes = []
    for place, item in enumerate(plan.query.select):
        if not isinstance(item, Figure) or item.role == "top":
            continue
        figures = [row[place] for row in rows]
        if lost := sum(figure is None for figure in figures):
            notes.append(f"{item.name}: no figure in {_rows(lost)}, where too little lies behind it to tell.")
        if not item.negative and (below := sum(_is_negative(figure) for figure in figures)):
            notes.append(f"{item.name}: below zero in {_rows(below)}. That is noise about a small number, and is kept.")
    return tuple(notes)


def _selected(plan: Plan) -> tuple[str, ...]:
    query = plan.query
    if query.having is None and not (query.order and query.limit is not None):
        return ()
    return ("Rows were chosen by their noisy figures: those near the line may be on either side of it by chance.",)


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _is_negative(figure: AnswerValue) -> bool:
    return isinstance(figure, int | float | Decimal) and figure < 0
