"""How exact an answer will be, before it is asked: from the plan and its noise, without data.

Laws: a half-width that depends on the answer itself is told as unknown. For a mean or a variance of a stated number of
rows it is that of the worst values within their bounds, so that the answer's own is hardly ever longer; for a quantile
it is that of values spread evenly over their range, which is a forecast and no promise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from kaianalytics.privacy.measuring.answer import bar_of_measure
from kaianalytics.privacy.measuring.evaluating import Evaluation, Plain
from kaianalytics.privacy.measuring.measurement import Bar, Measurement
from kaianalytics.privacy.measuring.propagation import Estimates
from kaianalytics.privacy.measuring.quantiles import Z95, expected_half_width
from kaianalytics.privacy.plan import Plan
from kaianalytics.privacy.query import After, Apply, Figure, KeyOf, Number, Of, QuantileOf, TopOf
from kaianalytics.protocol import FigurePlan

SIZED = ("mean", "variance", "quantile")  # the roles whose error follows from the number of rows behind them
_CHOICES = ("case", "nullif")
_SLOPES_OF_ONE = ("+", "-", "negate", "abs", "round", "floor", "ceil", "least", "greatest", "coalesce")


def half_widths(plan: Plan, measurement: Measurement, size: Decimal | None = None) -> tuple[FigurePlan, ...]:
    """Each figure's half-width at 95%; `size` is the number of rows behind a mean, a variance or a quantile."""
    figures, bars = plan.query.figures, [noise.bar for noise in measurement.noises]
    widths = expected(plan, figures, bars, size)
    return tuple(FigurePlan(one.name, one.role, width) for one, width in zip(figures, widths, strict=True))


def expected(plan: Plan, figures: Sequence[Figure], bars: Sequence[Bar], size: Decimal | None) -> list[float | None]:
    """The half-widths of the figures where the plan's vectors have these bars; None for what can't be foreseen."""
    evaluation = Evaluation(SupposedCells(plan, [bar.pull for bar in bars], size))
    return [_half_width(figure, bars, evaluation) for figure in figures]


def _half_width(figure: Figure, bars: Sequence[Bar], evaluation: Evaluation[SupposedCells]) -> float | None:
    plan, size = evaluation.cells.plan, evaluation.cells.size
    if isinstance(figure.value, Of):
        place = place_of(plan, figure.value.measure)
        if plan.vectors[place].kind != "tree":
            return bar_of_measure(figure, bars[place])
    column = evaluation.column(figure.value) if is_foreseeable(figure, size) else None
    if not isinstance(column, Estimates) or np.isnan(column.values[0]):
        return None
    return float(column.half_width[0]) + (0.5 if figure.whole else 0.0)


def is_foreseeable(figure: Figure, size: Decimal | None) -> bool:
    """Whether the error follows from public facts, and from the size where one was stated."""
    return is_steady(figure.value) or (size is not None and figure.role in SIZED and not _decides(figure.value))


def _decides(after: After) -> bool:
    """Whether what is computed depends on a noisy condition."""
    return isinstance(after, Apply) and (after.operation in _CHOICES or any(map(_decides, after.arguments)))


def is_steady(after: After) -> bool:
    """Whether the error of the value is the same whatever the answer is: it is linear in measures, or errs no more."""
    if isinstance(after, Of | Number):
        return True
    if not isinstance(after, Apply):
        return False
    if after.operation == "*":
        return all(map(is_steady, after.arguments)) and any(map(_is_constant, after.arguments))
    if after.operation == "/":
        return is_steady(after.arguments[0]) and _is_constant(after.arguments[1])
    return after.operation in _SLOPES_OF_ONE and all(map(is_steady, after.arguments))


def _is_constant(after: After) -> bool:
    return isinstance(after, Number) or (isinstance(after, Apply) and all(map(_is_constant, after.arguments)))


def place_of(plan: Plan, measure: int) -> int:
    """Where the vector of a measure stands."""
    return next(place for place, vector in enumerate(plan.vectors) if vector.measure == measure)


@dataclass(frozen=True)
class SupposedCells:
    """One cell as it might be: `size` rows, whose values all lie at the farther end of their bounds."""

    plan: Plan
    pulls: Sequence[float]
    size: Decimal | None
    count: int = 1

    def measure(self, of: Of) -> Estimates:
        """As many rows as supposed, each with the most extreme value."""
        place, measure = place_of(self.plan, of.measure), self.plan.query.measures[of.measure]
        each = Decimal(1)
        if measure.kind == "sum" and measure.bounds is not None:
            each = max(measure.bounds.upper - measure.centre, measure.bounds.lower - measure.centre, key=abs)
        value = np.array([self._rows * float(each)])
        return Estimates(value, {("noise", place, of.item): np.array([self.pulls[place]])})

    def quantile(self, of: QuantileOf) -> Estimates:
        """The quantile of values spread evenly; what the width of a leaf adds is certain."""
        place = place_of(self.plan, of.measure)
        shape, fraction = self.plan.vectors[place].tree, float(of.fraction)
        assert shape is not None  # a tree measure has a tree
        certain, in_all = (expected_half_width(shape, fraction, d, self._rows) for d in (0.0, self.pulls[place]))
        value = float(shape.lower) + float(shape.upper - shape.lower) * fraction
        pull = np.array([(in_all - certain) / Z95])
        return Estimates(np.array([value]), {("tree", of.measure, of.fraction): pull}, certain)

    def top(self, of: TopOf) -> Plain:
        """No number."""
        return [None]

    def key(self, of: KeyOf) -> Plain:
        """Not known."""
        return [None]

    @property
    def _rows(self) -> float:
        return 1e9 if self.size is None else float(self.size)  # without a size no figure that is told depends on it
